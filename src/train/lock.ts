/** One writer a run, and one a stage: a `lock` file that names the process, and is recognised as left behind when that process is gone. */
import { readFileSync } from 'node:fs';
import { mkdir, open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errorCode, ioError, isAlive, removeStale } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import { withLock } from '../exclusive.ts';

export interface LockOwner {
  readonly pid: number;
  readonly host: string;
  /** When the process started, in the kernel's own count; null where the system does not tell. */
  readonly started: string | null;
  /** When the lock was taken, for people. */
  readonly since: string;
}

export interface FolderLock {
  /** What a killed process had left half written and is now gone. */
  readonly cleaned: readonly string[];
  release(): Promise<void>;
}

export const LOCK = 'lock';
const HEARTBEAT_MS = 60_000;
/** A lock of another machine, whose processes cannot be seen from here, counts as left behind after this silence. */
const SILENCE_MS = 10 * HEARTBEAT_MS;
/** How often to look whether another process has cleared a lock, which takes it a few calls of the system. */
const CLEARING_MS = 10;

/**
 * Makes this process the only writer of a run's or a stage's folder, which is created when missing, and clears what a killed one left
 * there. Throws GroundError('train') naming the process that has the lock.
 */
export async function lockFolder(stageDir: string): Promise<FolderLock> {
  await mkdir(stageDir, { recursive: true }).catch(thrown => {
    throw ioError(thrown, 'create', stageDir);
  });
  const file = join(stageDir, LOCK);
  const text = `${JSON.stringify({ ...thisProcess(), since: new Date().toISOString() })}\n`;
  while (!(await create(file, text))) await clearIfStale(file, stageDir);
  const heartbeat = setInterval(() => {
    const now = new Date();
    // A failed sign of life matters only to other machines, and the next one may succeed.
    utimes(file, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  return {
    cleaned: await removeStale(stageDir),
    async release() {
      clearInterval(heartbeat);
      if ((await readIfThere(file)) === text) await rm(file, { force: true });
    },
  };
}

/** The process that is writing a stage's folder; null where none is, or only a dead one's lock lies there. */
export async function lockHolder(stageDir: string): Promise<LockOwner | null> {
  const file = join(stageDir, LOCK);
  const text = await readIfThere(file);
  const owner = text === undefined ? undefined : parseOwner(text);
  return owner && isHeld(owner, await silenceOf(file)) ? owner : null;
}

/** Creates the lock unless there is one. The text is short enough to be written in one piece. */
async function create(file: string, text: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx');
    try {
      await handle.write(text);
    } finally {
      await handle.close();
    }
    return true;
  } catch (thrown) {
    if (errorCode(thrown) === 'EEXIST') return false;
    throw ioError(thrown, 'create', file);
  }
}

/**
 * Removes a lock that was left behind; throws when its owner lives. Only one process clears at a time, and looks again before it
 * does: a lock that a faster one has taken meanwhile is never touched.
 */
async function clearIfStale(file: string, stageDir: string): Promise<void> {
  if (!(await isLeftBehind(file, stageDir))) return;
  const clear = async (): Promise<void> => {
    if (await isLeftBehind(file, stageDir)) await rm(file, { force: true });
  };
  await withLock(`${file}.clearing`, () => undefined, clear, CLEARING_MS).catch(thrown => {
    throw thrown instanceof GroundError ? thrown : ioError(thrown, 'delete', file);
  });
}

/** Whether a lock is there whose owner is gone; false where there is none. Throws when its owner lives. */
async function isLeftBehind(file: string, stageDir: string): Promise<boolean> {
  const text = await readIfThere(file);
  if (text === undefined) return false;
  const silence = await silenceOf(file);
  const owner = parseOwner(text);
  if (owner ? isHeld(owner, silence) : silence < HEARTBEAT_MS) {
    const who = owner ? `process ${owner.pid} on ${owner.host} since ${owner.since}` : 'a starting process';
    throw new GroundError('train', `${stageDir} is being written by ${who}`, {
      hint: `wait for it or stop it, or give this run another name (--run); delete ${file} only if it is surely gone`,
    });
  }
  return true;
}

function isHeld(owner: LockOwner, silence: number): boolean {
  if (owner.host !== hostname()) return silence < SILENCE_MS;
  // The number alone may have been given to a new process meanwhile.
  return isAlive(owner.pid) && (owner.started === null || owner.started === startOf(owner.pid));
}

function thisProcess(): Omit<LockOwner, 'since'> {
  return { pid: process.pid, host: hostname(), started: startOf(process.pid) };
}

/** Start time of a process in clock ticks since boot (field 22 of /proc/<pid>/stat); null where there is no /proc. */
function startOf(pid: number): string | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field, the program's name in parentheses, may contain spaces.
    return fields.slice(fields.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function parseOwner(text: string): LockOwner | undefined {
  try {
    const owner = JSON.parse(text);
    return typeof owner?.pid === 'number' && typeof owner?.host === 'string' ? owner : undefined;
  } catch {
    return undefined;
  }
}

async function silenceOf(file: string): Promise<number> {
  const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: 0 }));
  return Date.now() - mtimeMs;
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return undefined;
    throw ioError(thrown, 'read', file);
  }
}
