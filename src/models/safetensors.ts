/**
 * The safetensors format (github.com/huggingface/safetensors): eight bytes with the header's length, a JSON header that
 * names each tensor's dtype, shape and place, then the raw little-endian values without gaps. Reading touches the header
 * and the tensors asked for, so that a file may be far larger than memory.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { ioError, type Sink, type Written, writeStreamAtomic } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import { type Dtype, isDtype, itemSize, layoutOrder, widen } from './dtypes.ts';

export interface TensorInfo {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** First byte and the one after the last, counted from the start of the file. */
  readonly begin: number;
  readonly end: number;
}

/** A tensor to be written. `data` may be a function, called when its turn comes, so that not all need be in memory. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView | (() => ArrayBufferView | Promise<ArrayBufferView>);
}

/** The reference implementation refuses longer headers too. */
const MAX_HEADER = 100_000_000;
/** Bytes a single read call gets: Node refuses more than 2 GiB at once. */
const READ_CHUNK = 1 << 30;

/**
 * Opens `file` and checks its whole header: length, JSON, dtypes, shapes, and that the tensors tile the data exactly.
 * Throws GroundError('model') naming file and tensor, or GroundError('io'). Close it when done.
 */
export async function openSafetensors(file: string): Promise<SafetensorsFile> {
  const handle = await open(file, 'r').catch(thrown => {
    throw ioError(thrown, 'open', file);
  });
  try {
    const { size } = await handle.stat();
    if (size < 8) throw damaged(file, `it has ${size} bytes, fewer than the 8 of the header's length`);
    const length = new DataView(await readRange(handle, file, 0, 8)).getBigUint64(0, true);
    if (length > MAX_HEADER) {
      throw damaged(file, `its header claims ${length} bytes; at most ${MAX_HEADER} are allowed`);
    }
    const start = 8 + Number(length);
    if (start > size) {
      throw damaged(file, `its header claims ${length} bytes, but the file ends after ${size - 8} of them`);
    }
    const json = new Uint8Array(await readRange(handle, file, 8, start));
    const { tensors, metadata } = parseHeader(file, json, start, size);
    return new SafetensorsFile({ file, handle, dataBegin: start, tensors, metadata });
  } catch (thrown) {
    await handle.close();
    throw thrown;
  }
}

/** An open file: what it holds, and one tensor at a time on request. */
export class SafetensorsFile {
  readonly file: string;
  /** Where the header ends and the tensors begin, bytes. */
  readonly dataBegin: number;
  /** By name, in the order of the data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #handle: FileHandle;

  constructor(opened: {
    readonly file: string;
    readonly handle: FileHandle;
    readonly dataBegin: number;
    readonly tensors: ReadonlyMap<string, TensorInfo>;
    readonly metadata: Readonly<Record<string, string>>;
  }) {
    this.file = opened.file;
    this.#handle = opened.handle;
    this.dataBegin = opened.dataBegin;
    this.tensors = opened.tensors;
    this.metadata = opened.metadata;
  }

  /** Description of one tensor. Throws GroundError('model') when the file does not have it. */
  info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (!info) throw new GroundError('model', `${this.file} has no tensor ${name}`);
    return info;
  }

  /** Values of a floating-point tensor; F16 and BF16 are widened exactly, F64 is rounded. */
  async readFloat32(name: string): Promise<Float32Array<ArrayBuffer>> {
    return widen.float32(this.info(name).dtype, await this.readBytes(name), this.label(name));
  }

  /** Values of an integer or boolean tensor. Throws when an I64 value does not fit 32 bits. */
  async readInt32(name: string): Promise<Int32Array<ArrayBuffer>> {
    return widen.int32(this.info(name).dtype, await this.readBytes(name), this.label(name));
  }

  /** The raw little-endian bytes, whatever the dtype. */
  async readBytes(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { begin, end } = this.info(name);
    return new Uint8Array(await readRange(this.#handle, this.file, begin, end));
  }

  /** Fills `bytes` with what the file has from byte `from` on. Throws when it ends before. */
  async readInto(bytes: Uint8Array, from: number): Promise<void> {
    await readInto(this.#handle, this.file, bytes, from);
  }

  /** The tensor as complaints name it. */
  label(name: string): string {
    return `tensor ${name} of ${this.file}`;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** Bytes [begin, end) of the file. */
async function readRange(handle: FileHandle, file: string, begin: number, end: number): Promise<ArrayBuffer> {
  const buffer = new ArrayBuffer(end - begin);
  for (let at = 0; at < buffer.byteLength; at += READ_CHUNK) {
    const part = new Uint8Array(buffer, at, Math.min(READ_CHUNK, buffer.byteLength - at));
    await readInto(handle, file, part, begin + at);
  }
  return buffer;
}

/** Fills `bytes` from the file. Positions are doubles, exact up to 2^53. */
async function readInto(handle: FileHandle, file: string, bytes: Uint8Array, from: number): Promise<void> {
  let at = 0;
  while (at < bytes.byteLength) {
    const { bytesRead } = await handle.read(bytes, at, bytes.byteLength - at, from + at).catch(thrown => {
      throw ioError(thrown, 'read', file);
    });
    if (bytesRead === 0) throw damaged(file, `it ended at byte ${from + at} while being read`);
    at += bytesRead;
  }
}

function parseHeader(file: string, json: Uint8Array, start: number, size: number) {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (thrown) {
    throw damaged(file, 'its header is not JSON', thrown);
  }
  if (!isRecord(header)) throw damaged(file, 'its header is not a JSON object');
  const metadata: Record<string, string> = {};
  const tensors: [string, TensorInfo][] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') Object.assign(metadata, parseMetadata(file, value));
    else tensors.push([name, parseTensor(file, name, value, start)]);
  }
  tensors.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  checkTiling(file, tensors, start, size);
  return { tensors: new Map(tensors), metadata };
}

function parseMetadata(file: string, value: unknown): Record<string, string> {
  if (!isRecord(value)) throw damaged(file, '__metadata__ is not an object');
  const metadata: Record<string, string> = {};
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw damaged(file, `__metadata__.${key} is not a string`);
    metadata[key] = text;
  }
  return metadata;
}

function parseTensor(file: string, name: string, value: unknown, start: number): TensorInfo {
  if (!isRecord(value)) throw damaged(file, `tensor ${name}: its description is not an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) throw damaged(file, `tensor ${name}: dtype ${JSON.stringify(dtype)} is not known`);
  if (!isCounts(shape)) throw damaged(file, `tensor ${name}: shape ${JSON.stringify(shape)} is not a shape`);
  if (!isCounts(offsets) || offsets.length !== 2) {
    throw damaged(file, `tensor ${name}: data_offsets ${JSON.stringify(offsets)} are not two positions`);
  }
  const [begin = 0, end = 0] = offsets;
  const bytes = byteSize(dtype, shape);
  if (end - begin !== bytes) {
    throw damaged(
      file,
      `tensor ${name}: ${dtype} [${shape}] takes ${bytes} bytes, but data_offsets span ${end - begin}`,
    );
  }
  return { dtype, shape, begin: start + begin, end: start + end };
}

/** The format allows neither overlaps nor holes nor bytes after the last tensor. `tensors` are sorted by position. */
function checkTiling(file: string, tensors: [string, TensorInfo][], start: number, size: number): void {
  let at = start;
  let previous = 'the header';
  for (const [name, { begin, end }] of tensors) {
    if (begin < at) {
      throw damaged(file, `tensor ${name} overlaps ${previous} by ${at - begin} bytes`);
    }
    if (begin > at) {
      throw damaged(file, `${begin - at} bytes between ${previous} and tensor ${name} belong to no tensor`);
    }
    if (end > size) {
      throw damaged(file, `tensor ${name} needs ${end} bytes of file, but it has ${size}: it is truncated`);
    }
    at = end;
    previous = `tensor ${name}`;
  }
  if (at !== size) throw damaged(file, `${size - at} bytes after ${previous} belong to no tensor`);
}

function damaged(file: string, what: string, cause?: unknown): GroundError {
  return new GroundError('model', `${file} is not a valid safetensors file: ${what}`, {
    hint: 'copy or download the file again',
    ...(cause === undefined ? {} : { cause }),
  });
}

function byteSize(dtype: Dtype, shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, itemSize(dtype));
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(n => Number.isSafeInteger(n) && n >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Writes `file` atomically. The order depends on the entries only (widest dtype first, then by name, as the reference
 * implementation does, which keeps every tensor aligned), so that equal content gives equal bytes.
 */
export async function writeSafetensors(
  file: string,
  entries: Iterable<TensorEntry>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Written> {
  return writeStreamAtomic(file, sink => encodeSafetensors(sink, entries, metadata));
}

/** The bytes of a safetensors file, one tensor at a time. Throws GroundError('model') when data and shape disagree. */
export async function encodeSafetensors(
  sink: Sink,
  entries: Iterable<TensorEntry>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const ordered = [...entries].sort(
    (a, b) => layoutOrder(b.dtype) - layoutOrder(a.dtype) || compareUtf8(a.name, b.name),
  );
  await sink(encodeHeader(ordered, metadata));
  for (const { name, dtype, shape, data } of ordered) {
    const view = typeof data === 'function' ? await data() : data;
    const bytes = byteSize(dtype, shape);
    if (view.byteLength !== bytes) {
      throw new GroundError(
        'model',
        `tensor ${name}: ${dtype} [${shape}] takes ${bytes} bytes, but ${view.byteLength} were given`,
      );
    }
    await sink(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  }
}

function encodeHeader(
  ordered: readonly TensorEntry[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const header = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) {
    header.set('__metadata__', Object.fromEntries(Object.entries(metadata).sort()));
  }
  let at = 0;
  for (const { name, dtype, shape } of ordered) {
    if (header.has(name) || name === '__metadata__') {
      throw new GroundError('model', `cannot write two tensors named ${name} into one file`);
    }
    const end = at + byteSize(dtype, shape);
    header.set(name, { dtype, shape, data_offsets: [at, end] });
    at = end;
  }
  // Not one JSON.stringify of an object: a name such as "0" would be moved to the front.
  const members = [...header].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const padded = Math.ceil(json.byteLength / 8) * 8;
  const bytes = new Uint8Array(8 + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  return bytes;
}

/** Order of the names' UTF-8 bytes, which is that of their code points. */
function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
