import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { GroundError, messageOf } from '../../errors.ts';
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
import { ADDON_FILE, BUILD_PREFIX, buildAddon, LOADER_FILE } from './build.ts';
import { inspectLibrary, type Library } from './library.ts';
import { processToken, withLock } from './lock.ts';
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
  readonly gpu: string;
  readonly seconds: number;
}

/**
 * Makes libtensorflow ready for `startEngine`: finds or fetches it, compiles the addon, tries it, and puts it into the
 * cache by one rename. Safe to run again and to interrupt at any moment.
 *
 * @throws GroundError('engine' | 'io') that says what is missing and what to install
 */
export async function setupEngine(options: SetupOptions): Promise<SetupResult> {
  const started = performance.now();
  const env = options.env ?? process.env;
  const note = options.note ?? (() => {});
  const cache = writableCache(cacheDir(env));
  const seconds = () => (performance.now() - started) / 1000;
  return await withLock(
    join(cache, 'setup.lock'),
    pid => note(`another setup (process ${pid}) is at work; waiting for it`),
    async () => {
      removeLeftovers(cache);
      const ready = options.force ? undefined : findReady(options, cache);
      if (ready) return { engine: ready, changed: false, gpu: '', seconds: seconds() };
      const { engine, gpu } = await build(options, cache, env, note);
      return { engine, changed: true, gpu, seconds: seconds() };
    },
  );
}

/** An undamaged engine for the device, made from the folder given if one was. */
function findReady(options: SetupOptions, cache: string): InstalledEngine | undefined {
  const given =
    options.libtensorflow === undefined ? undefined : locate(options.libtensorflow, options.device);
  return findInstalled(cache).find(engine => {
    if (engine.device !== options.device || damageOf(engine)) return false;
    return given === undefined || engine.source === given.source;
  });
}

async function build(
  options: SetupOptions,
  cache: string,
  env: NodeJS.ProcessEnv,
  note: (text: string) => void,
): Promise<{ engine: InstalledEngine; gpu: string }> {
  const { device } = options;
  const given = options.libtensorflow === undefined ? undefined : locate(options.libtensorflow, device);
  requireBuildTools(env);
  const temp = mkdtempSync(join(cache, 'tmp-'));
  try {
    const library = given ?? (await findOrFetch(options, cache, temp, env, note));
    note(`using ${library.source}`);
    note('compiling the addon');
    const dir = join(temp, 'engine');
    mkdirSync(dir);
    await buildAddon(library, dir, env);
    const probe = await probeAddon(join(dir, ADDON_FILE), device, env);
    const final = join(cache, engineFolder(probe.version, device, nativeSourceHash()));
    const engine: InstalledEngine = {
      version: probe.version,
      device,
      source: library.source,
      libraries: library.files.map(file => checkedFile(join(library.dir, file))),
      includeDir: library.includeDir,
      loader: { path: join(final, LOADER_FILE), bytes: statSync(join(dir, LOADER_FILE)).size },
      addon: { path: join(final, ADDON_FILE), bytes: statSync(join(dir, ADDON_FILE)).size },
      created: Date.now(),
    };
    writeFileSync(join(dir, 'engine.json'), `${JSON.stringify(engine, null, 2)}\n`);
    replaceFolder(dir, final, temp);
    return { engine, gpu: probe.gpu };
  } catch (error) {
    throw explain(error, cache);
  } finally {
    rmSync(temp, { recursive: true, force: true });
  }
}

/** A TensorFlow of Python's, or the wheel, or the C library, in this order. */
async function findOrFetch(
  options: SetupOptions,
  cache: string,
  temp: string,
  env: NodeJS.ProcessEnv,
  note: (text: string) => void,
): Promise<Library> {
  const { device } = options;
  const inPython = await findInPython(device, env);
  if (inPython) return inPython;
  if (options.force) removeLibraries(cache, device);
  requireSpace(cache, device);
  return (await hasPip(env))
    ? await fetchWheel(device, cache, temp, env, note)
    : await fetchArchive(device, cache, temp, env, note);
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

/** Bytes that a download takes at its peak, the archive and what is unpacked from it together. */
const SPACE = { cpu: 1.4e9, gpu: 9e9 };

function requireSpace(cache: string, device: 'cpu' | 'gpu'): void {
  const { bavail, bsize } = statfsSync(cache);
  if (bavail * bsize >= SPACE[device]) return;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  throw new GroundError(
    'io',
    `${cache} has ${gigabytes(bavail * bsize)} free, setup needs ${gigabytes(SPACE[device])}`,
    {
      hint: 'free some space, or set XDG_CACHE_HOME to a folder on another disk',
    },
  );
}

function writableCache(dir: string): string {
  try {
    mkdirSync(dir, { recursive: true });
    accessSync(dir, constants.W_OK);
    return dir;
  } catch (cause) {
    throw new GroundError('io', `cannot write to ${dir}: ${messageOf(cause)}`, {
      hint: 'set XDG_CACHE_HOME to a folder of yours',
      cause,
    });
  }
}

/** What interrupted setups have left. Only called under the lock: nobody else is at work in this cache. */
function removeLeftovers(cache: string): void {
  for (const name of readdirSync(cache)) {
    if (name.startsWith('tmp-')) rmSync(join(cache, name), { recursive: true, force: true });
  }
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(BUILD_PREFIX)
      ? Number.parseInt(name.slice(BUILD_PREFIX.length), 10)
      : Number.NaN;
    if (Number.isInteger(pid) && processToken(pid) === undefined) {
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
    }
  }
}

function removeLibraries(cache: string, device: 'cpu' | 'gpu'): void {
  for (const name of readdirSync(cache)) {
    if (name.startsWith('libtensorflow-') && name.endsWith(`-${device}`)) {
      rmSync(join(cache, name), { recursive: true, force: true });
    }
  }
}

function checkedFile(path: string): CheckedFile {
  return { path, bytes: statSync(path).size };
}

/** Puts `from` in the place of `to`. Between the two renames there is no engine, never half of one. */
function replaceFolder(from: string, to: string, temp: string): void {
  if (existsSync(to)) renameSync(to, join(temp, 'replaced'));
  renameSync(from, to);
}

/** A full disk shows itself in many places; all of them mean this. */
function explain(error: unknown, cache: string): unknown {
  if (error instanceof Error && (error as NodeJS.ErrnoException).code === 'ENOSPC') {
    return new GroundError('io', `no space left in ${cache}`, {
      hint: 'free some space, or set XDG_CACHE_HOME to a folder on another disk',
      cause: error,
    });
  }
  return error;
}
