/** Writing a dataset where one may be already: the old one is there until the new one is complete. */
import { existsSync } from 'node:fs';
import { readdir, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { errorCode, ioError, isAlive, writeDirectoryAtomic } from '../atomic.ts';
import { MANIFEST_FILE } from './manifest.ts';
import { checkFolder } from './shards.ts';

/**
 * Calls `write` with the folder to write a dataset to: `dir` itself, or where a dataset is to be replaced a new folder
 * beside it that takes its place in the end. Throws `data` where `dir` holds a dataset and `overwrite` is false, or
 * anything that is no dataset, and whatever `write` throws; then the old dataset is still there.
 */
export async function replaceDataset<T>(
  dir: string,
  overwrite: boolean,
  write: (folder: string) => Promise<T>,
): Promise<T> {
  const out = await realDirectory(resolve(dir));
  await clearLeftovers(out);
  const names = await checkFolder(out, overwrite);
  return names.includes(MANIFEST_FILE) ? writeDirectoryAtomic(out, write) : write(out);
}

/** The nearest folder above `path` that exists: on the file system where `path` will be. */
export function existingParent(path: string): string {
  let folder = dirname(resolve(path));
  while (!existsSync(folder)) folder = dirname(folder);
  return folder;
}

/** Where a link leads: the dataset is replaced, not the link to it. */
async function realDirectory(path: string): Promise<string> {
  return realpath(path).catch(thrown => {
    if (errorCode(thrown) === 'ENOENT') return path;
    throw ioError(thrown, 'look at', path);
  });
}

/** What builds of this dataset left that were killed: a half-written one goes, one that was set aside comes back. */
async function clearLeftovers(dir: string): Promise<void> {
  const [parent, name] = [dirname(dir), basename(dir)];
  const others = await readdir(parent).catch(() => []);
  for (const other of others.sort()) {
    const match = other.startsWith(`${name}.`) ? /^\.(tmp|old)-(\d+)$/.exec(other.slice(name.length)) : null;
    if (!match || isAlive(Number(match[2]))) continue;
    try {
      if (match[1] === 'old' && !existsSync(dir)) await rename(join(parent, other), dir);
      else await rm(join(parent, other), { recursive: true, force: true });
    } catch (thrown) {
      throw ioError(thrown, 'clear', join(parent, other));
    }
  }
}
