/** How much room a folder of features takes, and how much it may: measured anew whenever half of what was left is used. */
import { readdirSync, rmSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, isAlive } from '../atomic.ts';
import { blocks } from '../data/feature-store.ts';

/** Written into each set's folder: what its features depend on. Its time is that of the set's last use. */
export const SET_FILE = 'set.json';

/** Folders of other names are not ours to count, let alone to delete. */
const SET_FOLDER = /(^|[/\\])(global|local)-[0-9a-f]{32}$/;

/** Of the disk's free room a cache takes at most this share: checkpoints need some. */
const SHARE_OF_FREE = 0.5;

interface MeasuredSet {
  readonly path: string;
  readonly bytes: number;
  readonly usedAt: number;
}

/** Room in `dir`, of `limit` bytes for all sets together, whoever writes them. */
export class FeatureSpace {
  readonly dir: string;
  readonly limit: number;
  #used = 0;
  /** Bytes that may be written before it is measured again. */
  #credit = 0;
  #full = false;

  constructor(dir: string, limit: number) {
    this.dir = dir;
    this.limit = limit;
  }

  /** Bytes in use, as far as is known. */
  get used(): number {
    return this.#used;
  }

  /**
   * Measures the folder and removes what processes that were killed have left. Where `wanted` bytes more do not fit, other
   * sets than `own` go, those unused for longest first. Returns the bytes that `own` have, and the sets that went.
   */
  open(own: readonly string[], wanted: number): { readonly have: number; readonly removed: string[] } {
    const sets = measure(this.dir);
    this.#used = sets.reduce((sum, { bytes }) => sum + bytes, 0);
    const mine = sets.filter(({ path }) => own.includes(path));
    const others = sets.filter(({ path }) => !own.includes(path)).sort((a, b) => a.usedAt - b.usedAt);
    const have = mine.reduce((sum, { bytes }) => sum + bytes, 0);
    const removed: string[] = [];
    for (const { path, bytes } of others) {
      if (this.#used + Math.max(wanted - have, 0) <= this.limit) break;
      rmSync(path, { recursive: true, force: true });
      this.#used -= bytes;
      removed.push(path);
    }
    this.#renew();
    return { have, removed };
  }

  /** Whether `bytes` more fit; counts them if so. Full once, it stays full. */
  take(bytes: number): boolean {
    if (this.#full) return false;
    if (bytes > this.#credit) {
      this.#used = measure(this.dir).reduce((sum, set) => sum + set.bytes, 0);
      this.#renew();
      this.#full = bytes > this.#left();
      if (this.#full) return false;
    }
    this.#credit -= bytes;
    this.#used += bytes;
    return true;
  }

  /** Half of what is left: another process may take the other half before this one looks again. */
  #renew(): void {
    this.#credit = this.#left() / 2;
  }

  #left(): number {
    return Math.max(0, Math.min(this.limit - this.#used, SHARE_OF_FREE * freeBytes(this.dir)));
  }
}

function freeBytes(dir: string): number {
  const { bavail, bsize } = statfsSync(dir);
  return bavail * bsize;
}

/** The sets in a folder. Another process may delete what is being looked at: that counts for nothing. */
function measure(dir: string): MeasuredSet[] {
  return foldersIn(dir).flatMap(path => {
    if (!SET_FOLDER.test(path)) return [];
    let bytes = 0;
    for (const folder of foldersIn(path)) {
      for (const file of namesIn(folder)) bytes += sizeOf(join(folder, file));
    }
    const usedAt = statSync(join(path, SET_FILE), { throwIfNoEntry: false })?.mtimeMs ?? 0;
    return [{ path, bytes, usedAt }];
  });
}

/** Bytes of an entry; 0 for the temporary file of a process that has gone, which is removed. */
function sizeOf(path: string): number {
  const pid = /\.tmp-(\d+)$/.exec(path)?.[1];
  if (pid !== undefined && !isAlive(Number(pid))) {
    rmSync(path, { force: true });
    return 0;
  }
  return blocks(statSync(path, { throwIfNoEntry: false })?.size ?? 0);
}

function foldersIn(dir: string): string[] {
  return entriesOf(dir).flatMap(entry => (entry.isDirectory() ? [join(dir, entry.name)] : []));
}

function namesIn(dir: string): string[] {
  return entriesOf(dir).map(({ name }) => name);
}

function entriesOf(dir: string) {
  try {
    return readdirSync(dir, { withFileTypes: true });
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return [];
    throw thrown;
  }
}
