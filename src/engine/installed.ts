import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A file that the engine needs, and how long it was when `ground setup` checked it. */
export interface CheckedFile {
  readonly path: string;
  readonly bytes: number;
}

/** What `ground setup` leaves behind, as `engine.json`. All paths are absolute. */
export interface InstalledEngine {
  /** Of libtensorflow: "2.21.0". */
  readonly version: string;
  /** What the library was built for; a library for GPUs computes on CPUs too. */
  readonly device: 'cpu' | 'gpu';
  /** Where the library came from, in words. */
  readonly source: string;
  /** The main one first. */
  readonly libraries: readonly CheckedFile[];
  /** Holds tensorflow/c/c_api.h. */
  readonly includeDir: string;
  readonly addon: CheckedFile;
  /** The addon that loads the libraries. */
  readonly loader: CheckedFile;
  /** Unix milliseconds; of several engines that would do, the newest is used. */
  readonly created: number;
}

/** The folder of everything `ground` keeps outside its checkout: $XDG_CACHE_HOME/ground, or ~/.cache/ground. */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  const base = env.XDG_CACHE_HOME;
  // The XDG specification says to ignore a relative path.
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), '.cache'), 'ground');
}

/** The addon's C++ sources; the published package carries them beside the compiled program. */
export function nativeSourceDir(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, 'package.json'))) dir = dirname(dir);
  return join(dir, 'src', 'engine', 'native');
}

/** The sources that make a difference to the compiled addon, sorted. */
export function nativeSources(dir = nativeSourceDir()): string[] {
  return readdirSync(dir)
    .filter(name => /\.(cc|h|inc|gyp)$/.test(name))
    .sort();
}

/** Twelve hex digits that change when the addon's sources do. */
export function nativeSourceHash(dir = nativeSourceDir()): string {
  const hash = createHash('sha256');
  for (const name of nativeSources(dir)) hash.update(`${name}\0`).update(readFileSync(join(dir, name)));
  return hash.digest('hex').slice(0, 12);
}

/** Node-API is stable across Node versions: an addon built for 8 loads in every Node that `ground` supports. */
const NAPI_VERSION = 8;

/** The folder name of a built engine; everything that decides whether it can be used is in it. */
export function engineFolder(version: string, device: 'cpu' | 'gpu', sourceHash: string): string {
  return `engine-${version}-${device}${folderEnd(sourceHash)}`;
}

function folderEnd(sourceHash: string): string {
  return `-${process.platform}-${process.arch}-napi${NAPI_VERSION}-${sourceHash}`;
}

/** Engines built from these very addon sources for this machine, newest first. */
export function findInstalled(cache = cacheDir(), sourceHash = nativeSourceHash()): InstalledEngine[] {
  return engineFolders(cache)
    .filter(name => name.endsWith(folderEnd(sourceHash)))
    .flatMap(name => readManifest(join(cache, name)) ?? [])
    .sort((a, b) => b.created - a.created);
}

/** Folders of engines that do not fit this program: built from other sources, or unreadable. */
export function findStale(cache = cacheDir(), sourceHash = nativeSourceHash()): string[] {
  return engineFolders(cache).filter(
    name => !name.endsWith(folderEnd(sourceHash)) || !readManifest(join(cache, name)),
  );
}

function engineFolders(cache: string): string[] {
  return existsSync(cache) ? readdirSync(cache).filter(name => name.startsWith('engine-')) : [];
}

function readManifest(dir: string): InstalledEngine | undefined {
  try {
    return JSON.parse(readFileSync(join(dir, 'engine.json'), 'utf8')) as InstalledEngine;
  } catch {
    return undefined;
  }
}

/**
 * The first file of an installed engine that is gone or has another length than when it was set up, in words. Loading
 * a truncated library does not fail, it kills the process: this has to be looked at before.
 */
export function damageOf(engine: InstalledEngine): string | undefined {
  for (const { path, bytes } of [...engine.libraries, engine.loader, engine.addon]) {
    const found = statSync(path, { throwIfNoEntry: false });
    if (!found) return `${path} is missing`;
    if (found.size !== bytes) return `${path} has ${found.size} bytes instead of ${bytes}`;
  }
  return undefined;
}
