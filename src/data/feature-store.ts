/**
 * What frozen encoders made of images, on disk: a file a view or an image, each with its own checksum. A file appears
 * by rename, so any number of processes may read and write one folder, and be killed, and nobody sees half of one.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { errorCode, temporaryName } from '../atomic.ts';
import { messageOf } from '../errors.ts';
import type { ImageInput } from './image.ts';

/** Where the features of one encoder lie, and their shape. Plain data, so that it can travel to a worker. */
export interface FeatureSet {
  /** Its name says what the features depend on besides the image. */
  readonly folder: string;
  /** Rows that a view has, and numbers in a row. */
  readonly rows: number;
  readonly width: number;
}

/** The encoders whose features are kept; null: not this one. */
export interface FeatureSets {
  readonly global: FeatureSet | null;
  readonly local: FeatureSet | null;
}

/** An entry that is there and must not be used. */
export class DamagedEntry {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

const MAGIC = 0x46_52_47_01;
const HEADER_BYTES = 64;
const DIGEST_BYTES = 32;
/** Files take whole blocks. */
const BLOCK_BYTES = 4096;

/** Names an image and how it is to be decoded: a digest of its bytes, its size and its orientation. */
export function imageKey({ image, width, height, upright }: Omit<ImageInput, 'id'>): string {
  const said = `${width} ${height} ${upright === true ? 'upright' : 'as stored'}\n`;
  return createHash('sha256').update(said).update(image).digest('hex');
}

/** The file of an entry; subfolders keep each folder short. */
export function entryPath({ folder }: FeatureSet, key: string): string {
  return join(folder, key.slice(0, 2), key.slice(2));
}

/** Bytes that an entry of so many views takes on a disk. */
export function entryBytes({ rows, width }: Pick<FeatureSet, 'rows' | 'width'>, views: number): number {
  return blocks(HEADER_BYTES + 4 * views * rows * width);
}

/** A file's size, rounded up to what it takes. */
export function blocks(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** The features of an image [views · rows, width]: null where there are none, `DamagedEntry` where they cannot be trusted. */
export function readEntry(set: FeatureSet, key: string, views: number): Float32Array | DamagedEntry | null {
  const path = entryPath(set, key);
  const size = HEADER_BYTES + 4 * views * set.rows * set.width;
  const bytes = new Uint8Array(size);
  try {
    const file = openSync(path, 'r');
    try {
      const { size: found } = fstatSync(file);
      if (found !== size) return new DamagedEntry(`${path} has ${found} bytes instead of ${size}`);
      for (let at = 0; at < size; ) {
        const read = readSync(file, bytes, at, size - at, at);
        if (read === 0) return new DamagedEntry(`${path} ends after ${at} of ${size} bytes`);
        at += read;
      }
    } finally {
      closeSync(file);
    }
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return null;
    return new DamagedEntry(`${path} cannot be read: ${messageOf(thrown)}`);
  }
  const values = new Float32Array(bytes.buffer, HEADER_BYTES);
  const expected = headerOf(set, key, views, values);
  const same = expected.every((byte, i) => byte === bytes[i]);
  return same ? values : new DamagedEntry(`${path} has other bytes than were written`);
}

/** Writes an entry. Throws what the file system throws, and leaves nothing then. */
export function writeEntry(set: FeatureSet, key: string, views: number, values: Float32Array): void {
  const path = entryPath(set, key);
  const temporary = temporaryName(path);
  const bytes = Buffer.concat([
    headerOf(set, key, views, values),
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  ]);
  try {
    try {
      writeFileSync(temporary, bytes);
    } catch (thrown) {
      if (errorCode(thrown) !== 'ENOENT') throw thrown;
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(temporary, bytes);
    }
    renameSync(temporary, path);
  } catch (thrown) {
    rmSync(temporary, { force: true });
    throw thrown;
  }
}

/** Format, shape and key of an entry, the checksum of its values, and that of all these. */
function headerOf({ rows, width }: FeatureSet, key: string, views: number, values: Float32Array): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  const payload = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  for (const [i, word] of [MAGIC, views, rows, width, crc32c(payload)].entries()) {
    header.writeUInt32LE(word, 4 * i);
  }
  header.write(key, 20, DIGEST_BYTES, 'hex');
  header.writeUInt32LE(crc32c(header.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4);
  return header;
}
