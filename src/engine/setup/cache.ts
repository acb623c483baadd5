import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GroundError, messageOf } from '../../errors.ts';
import { processToken } from '../../exclusive.ts';
import { BUILD_PREFIX } from './build.ts';

/** The prefix of folders in the cache that are of no use once the setup that made them has ended. */
export const TEMP_PREFIX = 'tmp-';

/** Makes the cache folder. @throws GroundError('io') where it cannot be written */
export function writableCache(dir: string): string {
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

/** Removes what interrupted setups have left. Only called under the lock: nobody else is at work in this cache. */
export function removeLeftovers(cache: string): void {
  for (const name of readdirSync(cache)) {
    if (name.startsWith(TEMP_PREFIX)) rmSync(join(cache, name), { recursive: true, force: true });
  }
  for (const name of readdirSync(tmpdir())) {
    if (isAbandonedBuild(join(tmpdir(), name), name))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** A build folder of this user whose process is dead. Other caches' setups may be building beside it. */
function isAbandonedBuild(path: string, name: string): boolean {
  const pid = name.startsWith(BUILD_PREFIX)
    ? Number.parseInt(name.slice(BUILD_PREFIX.length), 10)
    : Number.NaN;
  if (!Number.isInteger(pid) || processToken(pid) !== undefined) return false;
  return statSync(path, { throwIfNoEntry: false })?.uid === process.getuid?.();
}

/** Removes the downloaded libraries for a device, so that they are fetched again. */
export function removeLibraries(cache: string, device: 'cpu' | 'gpu'): void {
  for (const name of readdirSync(cache)) {
    if (name.startsWith('libtensorflow-') && name.endsWith(`-${device}`)) {
      rmSync(join(cache, name), { recursive: true, force: true });
    }
  }
}

/** Bytes that a download takes at its peak, the archive and what is unpacked from it together. */
export const DOWNLOAD_SPACE = { cpu: 1.4e9, gpu: 9e9 } as const;

/** @throws GroundError('io') where the disk is too full for a download */
export function requireSpace(cache: string, needed: number): void {
  const { bavail, bsize } = statfsSync(cache);
  if (bavail * bsize >= needed) return;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  throw new GroundError(
    'io',
    `${cache} has ${gigabytes(bavail * bsize)} free, setup needs ${gigabytes(needed)}`,
    {
      hint: SPACE_HINT,
    },
  );
}

const SPACE_HINT = 'free some space, or set XDG_CACHE_HOME to a folder on another disk';

/** Puts `from` in the place of `to`. Between the two renames there is no engine, never half of one. */
export function replaceFolder(from: string, to: string, temp: string): void {
  if (existsSync(to)) renameSync(to, join(temp, 'replaced'));
  renameSync(from, to);
}

/** A full disk shows itself in many places; all of them mean this. */
export function explainFullDisk(error: unknown, cache: string): unknown {
  if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') {
    return new GroundError('io', `no space left in ${cache}`, { hint: SPACE_HINT, cause: error });
  }
  return error;
}
