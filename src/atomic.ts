/**
 * Files and folders that appear whole or not at all: written under a temporary name, flushed to the disk, then renamed.
 * A process killed at any moment leaves the old content, the new content, or a `.tmp-<pid>` leftover; never half a file.
 */
import { existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { GroundError, messageOf } from './errors.ts';
import { reach } from './fault.ts';

/** Size and CRC32C of what was handed to the file system. */
export interface Written {
  readonly bytes: number;
  readonly crc32c: number;
}

/** Takes the next bytes of a file. They are copied out before it resolves, so that the caller may reuse the buffer. */
export type Sink = (bytes: Uint8Array) => Promise<void>;

/** Bytes a single write call gets: its checksum is computed meanwhile, and other files have their turn between two. */
const WRITE_CHUNK = 1 << 23;
const READ_CHUNK = 1 << 22;
/** What comes in smaller pieces than this is written in pieces of at most this size, bytes. */
const GATHER = 1 << 20;
/** After so many bytes the disk is told to begin, while more are on their way to the page cache. */
const FLUSH_EVERY = 1 << 26;

/** Temporary names that this process is using now; a leftover with its pid but not in here is from an earlier life. */
const inUse = new Set<string>();

/** The name under which `path` is prepared: beside it, so that the rename stays inside one file system. */
export function temporaryName(path: string): string {
  return `${path}.tmp-${process.pid}`;
}

/** Wraps a file system failure with what was being done, to which path, and what to do about it. */
export function ioError(thrown: unknown, doing: string, path: string): GroundError {
  if (thrown instanceof GroundError) return thrown;
  const hint = hintFor(errorCode(thrown), path);
  return new GroundError('io', `cannot ${doing} ${path}: ${messageOf(thrown)}`, {
    cause: thrown,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** `ENOENT` and the like, or undefined when `thrown` is not a system error. */
export function errorCode(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string'
    ? thrown.code
    : undefined;
}

function hintFor(code: string | undefined, path: string): string | undefined {
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return `the disk (or your quota on it) is full: free space on the volume of ${dirname(path)}, or write elsewhere`;
    case 'EFBIG':
      return 'the file system, or `ulimit -f`, does not allow files of this size: raise the limit or write elsewhere';
    case 'EACCES':
    case 'EPERM':
      return `this user may not write there: change the owner or mode of ${dirname(path)}, or write elsewhere`;
    case 'EROFS':
      return 'the volume is mounted read-only: write elsewhere';
    case 'ENOENT':
      return existsSync(dirname(path))
        ? 'check the name'
        : `there is no folder ${dirname(path)}: check the path`;
    case 'EISDIR':
      return 'this is a folder: name a file';
    case 'ENOTDIR':
      return 'a file stands where a folder is meant: check the path';
    default:
      return undefined;
  }
}

/**
 * Creates or replaces `path` with what `fill` writes, and flushes it to the disk. Not atomic: for files inside a folder
 * that is itself published by `publishDirectory`. Checksums are of the bytes that were handed over, computed while the
 * system takes them. `readBack` reads the file again and compares, which shows what the page cache has, not the disk.
 * Throws GroundError('io'), or whatever `fill` throws.
 */
export async function writeStream(
  path: string,
  fill: (sink: Sink) => Promise<void>,
  options: { readonly readBack?: boolean } = {},
): Promise<Written> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'w+');
  } catch (thrown) {
    throw ioError(thrown, 'create', path);
  }
  const file = new Outgoing(handle, path);
  let gathered: Uint8Array | undefined;
  let pending = 0;
  const flush = async (): Promise<void> => {
    const bytes = gathered?.subarray(0, pending);
    pending = 0;
    if (bytes) await file.write(bytes);
  };
  try {
    await fill(async chunk => {
      if (pending + chunk.byteLength > GATHER) await flush();
      if (chunk.byteLength >= GATHER) return file.write(chunk);
      gathered ??= new Uint8Array(GATHER);
      gathered.set(chunk, pending);
      pending += chunk.byteLength;
    });
    await flush();
    const { bytes, crc32c: checksum } = file;
    const flushed = file.flush();
    // While the disk is busy.
    const reread = options.readBack === true ? readBack(handle, bytes) : checksum;
    const [found] = await Promise.all([reread, flushed]);
    const { size } = await handle.stat();
    if (size !== bytes || found !== checksum) {
      throw new GroundError('io', `${path} does not read back as it was written`);
    }
    return { bytes, crc32c: checksum };
  } finally {
    await handle.close();
  }
}

/** A file that is being written, one piece after the other. */
class Outgoing implements Written {
  bytes = 0;
  crc32c = 0;
  readonly #handle: FileHandle;
  readonly #path: string;
  #unflushed = 0;
  #flushing: Promise<void> | undefined;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  /** Resolves once the system has all of `chunk`, whose memory is not looked at after that. */
  async write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.byteLength; at += WRITE_CHUNK) {
      const piece = chunk.subarray(at, at + WRITE_CHUNK);
      const written = writeAll(this.#handle, piece).catch(thrown => {
        throw ioError(thrown, 'write', this.#path);
      });
      // While the system takes the bytes.
      this.crc32c = crc32c(piece, this.crc32c);
      await written;
      this.bytes += piece.byteLength;
      this.#begin(piece.byteLength);
    }
  }

  /** Waits until the disk has everything. */
  async flush(): Promise<void> {
    await this.#flushing;
    await syncFile(this.#handle).catch(thrown => {
      throw ioError(thrown, 'flush', this.#path);
    });
  }

  /** Lets the disk work on what is there already, at most one request at a time. */
  #begin(bytes: number): void {
    this.#unflushed += bytes;
    if (this.#unflushed < FLUSH_EVERY || this.#flushing) return;
    this.#unflushed = 0;
    const flushing = this.#handle.datasync().then(
      () => {
        if (this.#flushing === flushing) this.#flushing = undefined;
      },
      thrown => {
        throw ioError(thrown, 'flush', this.#path);
      },
    );
    // Awaited in the end, if the file gets there: until then nobody else hears of its failure, which stays.
    flushing.catch(() => undefined);
    this.#flushing = flushing;
  }
}

/** Checksum of the first `length` bytes of an open file, read in two alternating pieces. */
export async function readBack(handle: FileHandle, length: number): Promise<number> {
  const size = Math.min(READ_CHUNK, length);
  let [buffer, other] = [new Uint8Array(size), new Uint8Array(size)];
  let found = 0;
  let at = 0;
  let reading = handle.read(buffer, 0, size, at);
  while (at < length) {
    const { bytesRead } = await reading;
    if (bytesRead === 0) throw new GroundError('io', `the file ended at byte ${at} while being read`);
    at += bytesRead;
    [buffer, other] = [other, buffer];
    // The next piece is fetched while this one is looked at.
    if (at < length) reading = handle.read(buffer, 0, Math.min(size, length - at), at);
    found = crc32c(other.subarray(0, bytesRead), found);
  }
  return found;
}

/** Waits until the disk has what was written. */
export async function syncFile(handle: FileHandle): Promise<void> {
  reach('fsync');
  await handle.sync();
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  reach('write');
  let at = 0;
  while (at < chunk.byteLength) {
    const { bytesWritten } = await handle.write(chunk, at);
    at += bytesWritten;
  }
}

/** Creates or replaces `path` atomically with what `fill` writes. On any failure the temporary file is removed. */
export async function writeStreamAtomic(path: string, fill: (sink: Sink) => Promise<void>): Promise<Written> {
  const temporary = temporaryName(path);
  inUse.add(temporary);
  try {
    const written = await writeStream(temporary, fill);
    await move(temporary, path).catch(thrown => {
      throw ioError(thrown, 'publish', path);
    });
    await syncDirectory(dirname(path));
    return written;
  } catch (thrown) {
    await discard(temporary);
    throw thrown;
  } finally {
    inUse.delete(temporary);
  }
}

/** The rename that publishes. */
async function move(temporary: string, path: string): Promise<void> {
  reach('rename');
  await rename(temporary, path);
}

/** Creates or replaces `path` atomically with `data` (text as UTF-8). */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<Written> {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
  return writeStreamAtomic(path, sink => sink(bytes));
}

/**
 * Fills a temporary folder with `fill(folder)` and publishes it as `path`; the temporary folder is removed when anything
 * fails. The parent is created when missing. Every file must be flushed by `fill` (as `writeStream` does).
 */
export async function writeDirectoryAtomic<T>(
  path: string,
  fill: (folder: string) => Promise<T>,
): Promise<T> {
  const temporary = temporaryName(path);
  inUse.add(temporary);
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true }).catch(thrown => {
      throw ioError(thrown, 'create', temporary);
    });
    const result = await fill(temporary);
    await publishDirectory(temporary, path);
    return result;
  } catch (thrown) {
    await discard(temporary);
    throw thrown;
  } finally {
    inUse.delete(temporary);
  }
}

/**
 * Renames the finished folder `temporary` to `path` and flushes both it and the parent. A folder already there is set
 * aside first as `.old-<pid>`: a rename cannot replace a folder that is not empty. Should the process die between the two
 * renames, `removeStale` puts the old one back.
 */
export async function publishDirectory(temporary: string, path: string): Promise<void> {
  const aside = `${path}.old-${process.pid}`;
  inUse.add(aside);
  try {
    await syncDirectory(temporary);
    const replaces = await rename(path, aside).then(
      () => true,
      thrown => {
        if (errorCode(thrown) === 'ENOENT') return false;
        throw thrown;
      },
    );
    try {
      await move(temporary, path);
    } catch (thrown) {
      if (replaces) await rename(aside, path);
      throw thrown;
    }
    await syncDirectory(dirname(path));
    if (replaces) await rm(aside, { recursive: true, force: true });
  } catch (thrown) {
    throw ioError(thrown, 'publish', path);
  } finally {
    inUse.delete(aside);
  }
}

/** Removes a folder so that no moment shows it half deleted under its own name. */
export async function removeDirectory(path: string): Promise<void> {
  const temporary = temporaryName(path);
  inUse.add(temporary);
  try {
    reach('prune');
    await rm(temporary, { recursive: true, force: true });
    await rename(path, temporary);
    reach('prune');
    await rm(temporary, { recursive: true, force: true });
  } catch (thrown) {
    throw ioError(thrown, 'delete', path);
  } finally {
    inUse.delete(temporary);
  }
}

/**
 * Clears what killed processes left in `folder`: `.tmp-<pid>` is deleted, `.old-<pid>` goes back to its name when nothing
 * took its place. What a living process of this machine is writing stays. Returns the names that were dealt with.
 * Call it only while holding the folder's lock: a writer on another machine cannot be seen from here.
 */
export async function removeStale(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(thrown => {
    if (errorCode(thrown) === 'ENOENT') return [];
    throw ioError(thrown, 'list', folder);
  });
  const present = new Set(names);
  const stale: string[] = [];
  for (const name of names.sort()) {
    const match = /^(.+)\.(tmp|old)-(\d+)$/.exec(name);
    if (!match) continue;
    const [, original = '', kind, pid] = match;
    const path = join(folder, name);
    if (inUse.has(path) || (Number(pid) !== process.pid && isAlive(Number(pid)))) continue;
    if (kind === 'old' && !present.has(original)) {
      await rename(path, join(folder, original));
      present.add(original);
    } else {
      await rm(path, { recursive: true, force: true });
    }
    stale.push(name);
  }
  return stale;
}

/** Best effort, after a failure: what cannot be removed must not hide why. */
async function discard(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(() => undefined);
}

/** Whether a process of this machine has this id now. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return errorCode(thrown) === 'EPERM';
  }
}

/** Makes renames and creations inside `folder` survive a power cut. */
async function syncDirectory(folder: string): Promise<void> {
  // Windows cannot open a folder; there a rename is journalled by the file system itself.
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
