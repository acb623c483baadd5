import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs `work` while holding a lock file, so that of several processes one works at a time. A lock whose owner is dead
 * (kill -9, power cut) is taken over.
 *
 * @param onWait told once, with the owner's process number, when another process holds the lock
 */
export async function withLock<T>(
  file: string,
  onWait: (pid: number) => void,
  work: () => Promise<T>,
  pollMilliseconds = 200,
): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  const token = processToken(process.pid) ?? `${process.pid}`;
  let told = false;
  while (!tryCreate(file, token)) {
    const owner = readOwner(file);
    if (owner === undefined) continue; // released just now
    const pid = Number.parseInt(owner, 10);
    if (processToken(pid) !== owner) {
      breakLock(file, owner);
      continue;
    }
    if (!told) onWait(pid);
    told = true;
    await sleep(pollMilliseconds);
  }
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

/**
 * Identifies a living process by its number and, on Linux, its start time: numbers are used again, most of all in
 * containers. Undefined for a dead one.
 */
export function processToken(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return undefined;
  }
  try {
    // The 22nd field, counted after the program's name in parentheses (which may hold spaces).
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
  } catch {
    return `${pid}`;
  }
}

/** Creates the lock with its content in one step, by a link: nobody ever reads an empty one. */
function tryCreate(file: string, token: string): boolean {
  const complete = `${file}.${process.pid}.new`;
  writeFileSync(complete, token);
  try {
    linkSync(complete, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(complete);
  }
}

function readOwner(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** Removes a dead owner's lock, by a rename, so that of two who try one succeeds. */
function breakLock(file: string, owner: string): void {
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch {
    return; // another process was faster
  }
  const stolen = readOwner(aside);
  rmSync(aside, { force: true });
  // Someone broke and took the lock between our reading and renaming it: give it back.
  if (stolen !== owner && stolen !== undefined) tryCreate(file, stolen);
}
