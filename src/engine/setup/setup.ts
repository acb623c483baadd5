import { mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { GroundError } from '../../errors.ts';
import { withLock } from '../../exclusive.ts';
import {
  type CheckedFile,
  cacheDir,
  damageOf,
  engineFolder,
  findInstalled,
  type InstalledEngine,
  nativeSourceHash,
} from '../installed.ts';
import { fetchArchive } from './archive.ts';
import { ADDON_FILE, buildAddon, LOADER_FILE } from './build.ts';
import {
  DOWNLOAD_SPACE,
  explainFullDisk,
  removeLeftovers,
  removeLibraries,
  replaceFolder,
  requireSpace,
  TEMP_PREFIX,
  writableCache,
} from './cache.ts';
import { inspectLibrary, type Library } from './library.ts';
import { probeAddon } from './probe.ts';
import { findInPython } from './python.ts';
import { hasPip, requireBuildTools } from './tools.ts';
import { fetchWheel } from './wheel.ts';

export interface SetupOptions {
  readonly device: 'cpu' | 'gpu';
  /** A folder that holds libtensorflow and its headers; nothing is downloaded then. */
  readonly libtensorflow?: string;
  /** Builds anew, and downloads anew, whatever is there. */
  readonly force?: boolean;
  readonly env?: NodeJS.ProcessEnv;
  /** Told what is being done, a line at a time. */
  readonly note?: (text: string) => void;
}

export interface SetupResult {
  readonly engine: InstalledEngine;
  /** False when all was there before. */
  readonly changed: boolean;
  /** TensorFlow's name of the GPU it found, if one was looked for. */
  readonly gpu: string;
  readonly seconds: number;
}

/** What the steps of one setup share. */
interface Work {
  readonly device: 'cpu' | 'gpu';
  readonly force: boolean;
  /** The library in the folder that the user named, if one was. */
  readonly given: Library | undefined;
  readonly cache: string;
  readonly env: NodeJS.ProcessEnv;
  readonly note: (text: string) => void;
}

/**
 * Makes libtensorflow ready for `startEngine`: finds or fetches it, compiles the addon, tries it, and puts it into the
 * cache by one rename. Safe to run again and to interrupt at any moment.
 *
 * @throws GroundError('engine' | 'io') that says what is missing and what to install
 */
export async function setupEngine(options: SetupOptions): Promise<SetupResult> {
  const started = performance.now();
  const { device, libtensorflow, force = false, env = process.env, note = () => {} } = options;
  const given = libtensorflow === undefined ? undefined : locate(libtensorflow, device);
  const cache = writableCache(cacheDir(env));
  const work: Work = { device, force, given, cache, env, note };
  return await withLock(
    join(cache, 'setup.lock'),
    pid => note(`another setup (process ${pid}) is at work; waiting for it`),
    async () => {
      removeLeftovers(cache);
      const ready = force ? undefined : findReady(work);
      const { engine, gpu } = ready ? { engine: ready, gpu: '' } : await build(work);
      return { engine, gpu, changed: ready === undefined, seconds: (performance.now() - started) / 1000 };
    },
  );
}

/** The library in a folder that the user named. */
function locate(dir: string, device: 'cpu' | 'gpu'): Library {
  const files = inspectLibrary(resolve(dir));
  if (!files) {
    throw new GroundError('engine', `${dir} holds no libtensorflow with its headers`, {
      hint: 'it must hold libtensorflow_cc.so.2 or libtensorflow.so.2 (or lib/ with it) and include/tensorflow/c',
    });
  }
  return { ...files, device, source: realpathSync(resolve(dir)) };
}

/** An undamaged engine for the device, made from the folder given if one was. */
function findReady({ device, given, cache }: Work): InstalledEngine | undefined {
  return findInstalled(cache).find(engine => {
    if (engine.device !== device || damageOf(engine)) return false;
    return given === undefined || engine.source === given.source;
  });
}

async function build(work: Work): Promise<{ engine: InstalledEngine; gpu: string }> {
  const { device, cache, env, note } = work;
  requireBuildTools(env);
  const temp = mkdtempSync(join(cache, TEMP_PREFIX));
  try {
    const library = work.given ?? (await findOrFetch(work, temp));
    note(`using ${library.source}`);
    note('compiling the addon');
    const dir = join(temp, 'engine');
    mkdirSync(dir);
    await buildAddon(library, dir, env);
    const { version, gpu } = await probeAddon(join(dir, ADDON_FILE), device, env);
    const final = join(cache, engineFolder(version, device, nativeSourceHash()));
    const moved = (file: string) => ({ ...checkedFile(join(dir, file)), path: join(final, file) });
    const engine: InstalledEngine = {
      version,
      device,
      source: library.source,
      libraries: library.files.map(file => checkedFile(join(library.dir, file))),
      includeDir: library.includeDir,
      loader: moved(LOADER_FILE),
      addon: moved(ADDON_FILE),
      created: Date.now(),
    };
    writeFileSync(join(dir, 'engine.json'), `${JSON.stringify(engine, null, 2)}\n`);
    replaceFolder(dir, final, temp);
    return { engine, gpu };
  } catch (error) {
    throw explainFullDisk(error, cache);
  } finally {
    rmSync(temp, { recursive: true, force: true });
  }
}

/** A TensorFlow of Python's, or the wheel, or the C library, in this order. */
async function findOrFetch({ device, force, cache, env, note }: Work, temp: string): Promise<Library> {
  const inPython = await findInPython(device, env);
  if (inPython) return inPython;
  if (force) removeLibraries(cache, device);
  requireSpace(cache, DOWNLOAD_SPACE[device]);
  return (await hasPip(env))
    ? await fetchWheel(device, cache, temp, env, note)
    : await fetchArchive(device, cache, temp, env, note);
}

function checkedFile(path: string): CheckedFile {
  return { path, bytes: statSync(path).size };
}
