/**
 * Grouping by key in bounded memory: what several big files say about an image, brought together. An external merge sort:
 * entries fill a budget of memory, are sorted by key and written to a temporary file, and in the end all files are read
 * side by side. The order is by ascending key (numbers before texts), and among equal keys that in which entries came.
 */
import { type FileHandle, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ioError, isAlive } from '../../atomic.ts';

export type Key = number | string;

export interface GroupOptions {
  /** Bytes of entries held in memory before they go to a file; 128 MiB by default. */
  readonly memoryBytes?: number | undefined;
  /** Where temporary files go; the system's folder for them by default. */
  readonly folder?: string | undefined;
}

/** All entries of one key. */
export interface Group {
  readonly key: Key;
  readonly entries: readonly { readonly tag: number; readonly value: unknown }[];
}

const DEFAULT_MEMORY = 128 * 2 ** 20;
const CHUNK_BYTES = 2 ** 23;
/** What an entry takes beside its text: its key, tag and place. */
const ENTRY_BYTES = 40;
const WRITE_BYTES = 2 ** 20;
const READ_BYTES = 2 ** 17;
const FOLDER_NAME = /^ground-groups-(\d+)-/;

interface Entry {
  readonly key: Key;
  readonly tag: number;
  readonly text: string;
}

/** Collects entries, then gives them by key, once. `close` must be called in the end, whatever happened. */
export class Groups {
  readonly #memory: number;
  readonly #parent: string;
  readonly #arena = new Arena();
  readonly #runs: string[] = [];
  #folder: string | undefined;
  /** Keys of the runs that are written, each run's distinct ones. */
  #spilledKeys = 0;

  constructor(options: GroupOptions = {}) {
    this.#memory = options.memoryBytes ?? DEFAULT_MEMORY;
    this.#parent = options.folder ?? tmpdir();
  }

  /**
   * Adds a value as JSON text under a key; `tag` (0 … 2^32 - 1) tells what it is. A promise where memory has to be made
   * first: nothing may be added until it has resolved. Throws `io` where the temporary file cannot be written.
   */
  add(key: Key, text: string, tag = 0): Promise<void> | undefined {
    const full = this.#arena.bytes > 0 && this.#arena.bytes + text.length + ENTRY_BYTES > this.#memory;
    if (!full) return this.#arena.add(key, text, tag);
    return this.#spill().then(() => this.#arena.add(key, text, tag));
  }

  /** Distinct keys; too high once files were needed and a key is in several of them. */
  get keys(): number {
    return this.#spilledKeys + this.#arena.countKeys();
  }

  /** Temporary files written so far. */
  get files(): number {
    return this.#runs.length;
  }

  /** The groups; nothing may be added any more. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Group, void, undefined> {
    const runs: Run[] = [];
    try {
      for (const file of this.#runs) runs.push(await FileRun.open(file));
      runs.push(new ArenaRun(this.#arena));
      for (;;) {
        const heads = runs.flatMap(run => (run.head ? [run.head.key] : []));
        const [first, ...others] = heads;
        if (first === undefined) return;
        const key = others.reduce((a, b) => (compareKeys(b, a) < 0 ? b : a), first);
        const entries: { tag: number; value: unknown }[] = [];
        for (const run of runs) {
          while (run.head?.key === key) {
            entries.push({ tag: run.head.tag, value: JSON.parse(run.head.text) });
            await run.next();
          }
        }
        yield { key, entries };
      }
    } finally {
      for (const run of runs) await run.close();
    }
  }

  /** Removes the temporary files. */
  async close(): Promise<void> {
    this.#arena.clear();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }

  async #spill(): Promise<void> {
    if (this.#folder === undefined) {
      await removeLeftovers(this.#parent);
      this.#folder = await mkdtemp(join(this.#parent, `ground-groups-${process.pid}-`)).catch(thrown => {
        throw ioError(thrown, 'create a temporary folder in', this.#parent);
      });
    }
    const file = join(this.#folder, `run-${this.#runs.length}`);
    await writeRun(file, this.#arena);
    this.#runs.push(file);
    this.#spilledKeys += this.#arena.countKeys();
    this.#arena.clear();
  }
}

/** Numbers before texts, each ascending. */
export function compareKeys(a: Key, b: Key): number {
  if (typeof a === 'number') return typeof b === 'number' ? a - b : -1;
  if (typeof b === 'number') return 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What processes that were killed have left. */
async function removeLeftovers(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    const pid = Number(FOLDER_NAME.exec(name)?.[1] ?? process.pid);
    // Another user's folder cannot be removed, and need not be.
    if (!isAlive(pid)) await rm(join(parent, name), { recursive: true, force: true }).catch(() => {});
  }
}

/** Texts in a few large buffers, so that millions of them are no burden for the garbage collector. */
class Arena {
  readonly #chunks: Buffer[] = [];
  #chunk = 0;
  #at = 0;
  #keys: Key[] = [];
  #tags: number[] = [];
  /** Of as many entries as there were when it was asked for. */
  #order: Uint32Array | null = null;
  #places: { readonly chunk: number[]; readonly start: number[]; readonly end: number[] } = noPlaces();
  bytes = 0;

  add(key: Key, text: string, tag: number): undefined {
    // No UTF-16 unit takes more than three bytes; counting exactly is for large texts only.
    const size = text.length * 3 > CHUNK_BYTES / 8 ? Buffer.byteLength(text) : text.length * 3;
    let chunk = this.#chunks[this.#chunk];
    if (!chunk || this.#at + size > chunk.length) {
      if (chunk) this.#chunk++;
      this.#at = 0;
      chunk = this.#chunks[this.#chunk];
      if (!chunk || chunk.length < size) {
        chunk = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, size));
        this.#chunks[this.#chunk] = chunk;
      }
    }
    const written = chunk.write(text, this.#at, 'utf8');
    this.#keys.push(key);
    this.#tags.push(tag);
    this.#places.chunk.push(this.#chunk);
    this.#places.start.push(this.#at);
    this.#places.end.push(this.#at + written);
    this.#at += written;
    this.bytes += written + ENTRY_BYTES + (typeof key === 'string' ? 2 * key.length : 0);
    return undefined;
  }

  get length(): number {
    return this.#keys.length;
  }

  key(i: number): Key {
    return this.#keys[i]!;
  }

  tag(i: number): number {
    return this.#tags[i]!;
  }

  /** Bytes of an entry's text. */
  size(i: number): number {
    return this.#places.end[i]! - this.#places.start[i]!;
  }

  text(i: number): string {
    const { chunk, start, end } = this.#places;
    return this.#chunks[chunk[i]!]!.toString('utf8', start[i]!, end[i]!);
  }

  /** Copies an entry's text. */
  copy(i: number, to: Buffer, at: number): void {
    const { chunk, start, end } = this.#places;
    this.#chunks[chunk[i]!]!.copy(to, at, start[i]!, end[i]!);
  }

  /** Numbers of the entries by key, then as they came. */
  order(): Uint32Array {
    const keys = this.#keys;
    if (this.#order?.length === keys.length) return this.#order;
    this.#order = new Uint32Array(keys.length)
      .map((_, i) => i)
      .sort((a, b) => compareKeys(keys[a]!, keys[b]!) || a - b);
    return this.#order;
  }

  countKeys(): number {
    const keys = this.#keys;
    return this.order().reduce(
      (count, i, at, order) => count + (at > 0 && keys[order[at - 1]!] === keys[i] ? 0 : 1),
      0,
    );
  }

  /** Empties it; the buffers are kept, all but those made for an entry of unusual size. */
  clear(): void {
    for (let i = this.#chunks.length - 1; i >= 0; i--) {
      if (this.#chunks[i]!.length > CHUNK_BYTES) this.#chunks.splice(i, 1);
    }
    [this.#keys, this.#tags, this.#places] = [[], [], noPlaces()];
    [this.#chunk, this.#at, this.bytes] = [0, 0, 0];
    this.#order = null;
  }
}

function noPlaces() {
  return { chunk: [], start: [], end: [] };
}

/** Sorted entries, seen one at a time. */
interface Run {
  readonly head: Entry | null;
  next(): Promise<void> | undefined;
  close(): Promise<void>;
}

class ArenaRun implements Run {
  readonly #arena: Arena;
  readonly #order: Uint32Array;
  #at = 0;
  head: Entry | null = null;

  constructor(arena: Arena) {
    this.#arena = arena;
    this.#order = arena.order();
    this.#load();
  }

  next(): undefined {
    this.#at++;
    this.#load();
    return undefined;
  }

  async close(): Promise<void> {}

  #load(): void {
    const i = this.#order[this.#at];
    const arena = this.#arena;
    this.head = i === undefined ? null : { key: arena.key(i), tag: arena.tag(i), text: arena.text(i) };
  }
}

/**
 * Head of an entry in a file: bytes of key and text, tag, whether the key is a text, each 32 bits; then key (a float64 or
 * UTF-8) and text.
 */
const HEAD_BYTES = 16;

async function writeRun(file: string, arena: Arena): Promise<void> {
  const handle = await open(file, 'wx').catch(thrown => {
    throw ioError(thrown, 'create', file);
  });
  try {
    // One buffer for all: millions of small ones would be garbage faster than it is collected.
    let buffer = Buffer.allocUnsafeSlow(WRITE_BYTES);
    let bytes = 0;
    const flush = async () => {
      for (let at = 0; at < bytes; ) at += (await handle.write(buffer, at, bytes - at)).bytesWritten;
      bytes = 0;
    };
    for (const i of arena.order()) {
      const key = arena.key(i);
      const isText = typeof key === 'string';
      const [keyBytes, textBytes] = [isText ? Buffer.byteLength(key) : 8, arena.size(i)];
      const size = HEAD_BYTES + keyBytes + textBytes;
      if (bytes + size > buffer.length) await flush();
      if (size > buffer.length) buffer = Buffer.allocUnsafeSlow(size);
      buffer.writeUInt32LE(keyBytes, bytes);
      buffer.writeUInt32LE(textBytes, bytes + 4);
      buffer.writeUInt32LE(arena.tag(i), bytes + 8);
      buffer.writeUInt32LE(isText ? 1 : 0, bytes + 12);
      if (isText) buffer.write(key, bytes + HEAD_BYTES);
      else buffer.writeDoubleLE(key, bytes + HEAD_BYTES);
      arena.copy(i, buffer, bytes + HEAD_BYTES + keyBytes);
      bytes += size;
    }
    await flush();
  } catch (thrown) {
    throw ioError(thrown, 'write', file);
  } finally {
    await handle.close();
  }
}

class FileRun implements Run {
  readonly #file: string;
  readonly #handle: FileHandle;
  #buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  #at = 0;
  #end = 0;
  #offset = 0;
  head: Entry | null = null;

  private constructor(file: string, handle: FileHandle) {
    this.#file = file;
    this.#handle = handle;
  }

  static async open(file: string): Promise<FileRun> {
    const handle = await open(file, 'r').catch(thrown => {
      throw ioError(thrown, 'open', file);
    });
    const run = new FileRun(file, handle);
    await run.next();
    return run;
  }

  next(): Promise<void> | undefined {
    const have = this.#end - this.#at;
    if (have >= HEAD_BYTES && have >= this.#entryBytes()) {
      this.#take();
      return undefined;
    }
    return this.#nextFromFile();
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #nextFromFile(): Promise<void> {
    await this.#fill(HEAD_BYTES);
    if (this.#end === this.#at) {
      this.head = null;
      return;
    }
    await this.#fill(this.#entryBytes());
    this.#take();
  }

  #entryBytes(): number {
    return HEAD_BYTES + this.#buffer.readUInt32LE(this.#at) + this.#buffer.readUInt32LE(this.#at + 4);
  }

  #take(): void {
    const [buffer, at] = [this.#buffer, this.#at];
    const keyEnd = at + HEAD_BYTES + buffer.readUInt32LE(at);
    const end = at + this.#entryBytes();
    const isText = buffer.readUInt32LE(at + 12) === 1;
    this.head = {
      key: isText ? buffer.toString('utf8', at + HEAD_BYTES, keyEnd) : buffer.readDoubleLE(at + HEAD_BYTES),
      tag: buffer.readUInt32LE(at + 8),
      text: buffer.toString('utf8', keyEnd, end),
    };
    this.#at = end;
  }

  /** Reads until `bytes` are in the buffer, or to the end of the file. */
  async #fill(bytes: number): Promise<void> {
    if (this.#end - this.#at >= bytes) return;
    if (this.#buffer.length < bytes) {
      const larger = Buffer.allocUnsafeSlow(bytes + READ_BYTES);
      this.#buffer.copy(larger, 0, this.#at, this.#end);
      this.#buffer = larger;
    } else {
      this.#buffer.copyWithin(0, this.#at, this.#end);
    }
    [this.#at, this.#end] = [0, this.#end - this.#at];
    while (this.#end < bytes) {
      const { bytesRead } = await this.#handle
        .read(this.#buffer, this.#end, this.#buffer.length - this.#end, this.#offset)
        .catch(thrown => {
          throw ioError(thrown, 'read', this.#file);
        });
      if (bytesRead === 0) return;
      this.#end += bytesRead;
      this.#offset += bytesRead;
    }
  }
}
