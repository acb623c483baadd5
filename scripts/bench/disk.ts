/** Reads that come from the disk and not from memory: how to get them, and how many bytes the disk really gave. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * Lets the system forget the pages of files that have been flushed, and of nothing else: GNU dd hands them back with
 * posix_fadvise, for which Node has no call. Returns why it could not; undefined when it was done.
 */
export function evict(files: readonly string[]): string | undefined {
  for (const file of files) {
    const { error, status, stderr } = spawnSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0'], {
      encoding: 'utf8',
    });
    if (error) return `dd cannot be run (${error.message})`;
    if (status !== 0) return stderr.trim().split('\n')[0] ?? `dd ended with status ${status}`;
  }
  return undefined;
}

/**
 * Bytes that this process had a disk (or a network) fetch so far, as Linux counts them: what lay in memory is not among
 * them. Null where nobody counts.
 */
export function fetchedBytes(): number | null {
  try {
    const found = /^read_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'));
    return found ? Number(found[1]) : null;
  } catch {
    return null;
  }
}
