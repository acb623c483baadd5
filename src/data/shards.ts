/** Writing a dataset: records to Arrow IPC files of bounded size, and the manifest when all of them are on disk. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { AsyncByteQueue, RecordBatchFileWriter } from 'apache-arrow';
import { errorCode, ioError, type Sink, type Written, writeStreamAtomic } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import { encodeBatch, encodedSize, RECORD_SCHEMA, SCHEMA_VERSION } from './arrow.ts';
import { storedLink } from './links.ts';
import { MANIFEST_FILE, MANIFEST_FORMAT, type Manifest, type ShardEntry, writeManifest } from './manifest.ts';
import type { ImageRecord } from './record.ts';

export interface ShardLimits {
  /** A shard ends before it has more rows than this, */
  readonly shardRows: number;
  /** or before it grows beyond this (a single larger record still gets a shard of its own). */
  readonly shardBytes: number;
  /** A record batch is what one random read loads: the same two limits for it. */
  readonly batchRows: number;
  readonly batchBytes: number;
}

export interface WriteShardsOptions extends Partial<ShardLimits> {
  /** What the records were made from; kept in the manifest. */
  readonly source: Manifest['source'];
  /** Which builder made them: "scenes", "coco". */
  readonly builder: string;
  /** Replace a dataset that is already there. */
  readonly overwrite?: boolean;
  /** Told after every record batch. */
  readonly onProgress?: (rows: number, bytes: number) => void;
}

export const DEFAULT_LIMITS: ShardLimits = {
  shardRows: 20_000,
  shardBytes: 64 * 2 ** 20,
  batchRows: 64,
  batchBytes: 2 ** 20,
};

/** Apache Arrow's JavaScript reads no value beyond 2 GB; half a gigabyte keeps well away from it. */
const MAX_SHARD_BYTES = 512 * 2 ** 20;

/** Room for a batch's own header and footer entry, in the budget of its shard. */
const BATCH_OVERHEAD = 12_288;

const SHARD_NAME = /^shard-\d{5}\.arrow(\.tmp-\d+)?$/;
const MANIFEST_NAME = /^manifest\.json(\.tmp-\d+)?$/;

/**
 * Writes all records to `dir` in their order and returns the manifest, which is written last: a build that is
 * interrupted leaves no dataset, and the next build clears its remains. Throws `data` where `dir` holds a dataset
 * already (unless `overwrite`) or files that are not a dataset's, `usage` on limits out of range, `io` on a full disk,
 * and whatever `records` throws.
 */
export async function writeShards(
  records: AsyncIterable<ImageRecord> | Iterable<ImageRecord>,
  dir: string,
  options: WriteShardsOptions,
): Promise<Manifest> {
  const limits = checkedLimits({ ...DEFAULT_LIMITS, ...definedLimits(options) });
  await prepareFolder(dir, options.overwrite === true);
  const shards: ShardEntry[] = [];
  const totals = { rows: 0, bytes: 0 };
  const input = peekable(records);
  try {
    while (await input.peek()) {
      const file = `shard-${String(shards.length).padStart(5, '0')}.arrow`;
      const batches: number[] = [];
      const written = await writeShard(dir, file, input, limits, batch => {
        batches.push(batch.rows);
        totals.rows += batch.rows;
        totals.bytes += batch.bytes;
        options.onProgress?.(totals.rows, totals.bytes);
      });
      const rows = batches.reduce((sum, n) => sum + n, 0);
      shards.push({ file, rows, bytes: written.bytes, crc32c: hex(written.crc32c), batches });
    }
  } finally {
    await input.close();
  }
  const manifest: Manifest = {
    format: MANIFEST_FORMAT,
    schema_version: SCHEMA_VERSION,
    builder: { name: options.builder, version: packageVersion() },
    source: options.source,
    rows: totals.rows,
    shards,
  };
  await writeManifest(dir, manifest);
  return manifest;
}

/** Eight hexadecimal digits. */
export function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0');
}

/** One file: record batches until a limit of the shard is reached or the records end. */
function writeShard(
  dir: string,
  file: string,
  input: Peekable<ImageRecord>,
  limits: ShardLimits,
  onBatch: (batch: { rows: number; bytes: number }) => void,
): Promise<Written> {
  return writeStreamAtomic(join(dir, file), async sink => {
    const writer = new BatchWriter(sink);
    let [rows, bytes] = [0, 0];
    for (;;) {
      const batch = await nextBatch(input, limits, rows, bytes);
      if (batch.records.length === 0) break;
      await writer.write(batch.records.map(record => withStoredLink(dir, record)));
      rows += batch.records.length;
      bytes += batch.bytes + BATCH_OVERHEAD;
      onBatch({ rows: batch.records.length, bytes: batch.bytes });
    }
    await writer.close();
  });
}

function withStoredLink(dir: string, record: ImageRecord): ImageRecord {
  return record.path === undefined ? record : { ...record, path: storedLink(dir, record.path) };
}

/** The records of the next batch; none where the shard is full or the input has ended. */
async function nextBatch(
  input: Peekable<ImageRecord>,
  limits: ShardLimits,
  shardRows: number,
  shardBytes: number,
): Promise<{ records: ImageRecord[]; bytes: number }> {
  const records: ImageRecord[] = [];
  let bytes = 0;
  for (;;) {
    const record = await input.peek();
    if (!record) break;
    const size = encodedSize(record);
    const rows = records.length;
    const batchFull = rows >= limits.batchRows || (rows > 0 && bytes + size > limits.batchBytes);
    const inShard = shardRows + rows;
    const shardFull =
      inShard >= limits.shardRows ||
      (inShard > 0 && shardBytes + bytes + size + BATCH_OVERHEAD > limits.shardBytes);
    if (batchFull || shardFull) break;
    if (size > MAX_SHARD_BYTES) {
      throw new GroundError('data', `record ${record.id} takes ${size} bytes, more than ${MAX_SHARD_BYTES}`, {
        hint: 'scale the image down first',
      });
    }
    records.push(record);
    bytes += size;
    input.take();
  }
  return { records, bytes };
}

/** Record batches to an Arrow IPC file. */
export class BatchWriter {
  readonly #sink: Sink;
  readonly #chunks = new ChunkList();
  readonly #writer = new RecordBatchFileWriter({ autoDestroy: false });

  constructor(sink: Sink) {
    this.#sink = sink;
    this.#writer.reset(this.#chunks, RECORD_SCHEMA);
  }

  /** One batch of these records. */
  async write(records: readonly ImageRecord[]): Promise<void> {
    this.#writer.write(encodeBatch(records));
    await this.#chunks.drain(this.#sink);
  }

  /** Writes the footer; a file without one is none. */
  async close(): Promise<void> {
    this.#writer.close();
    await this.#chunks.drain(this.#sink);
  }
}

/** What the Arrow writer produced since the last `drain`; it writes synchronously, files do not. */
class ChunkList extends AsyncByteQueue {
  #chunks: Uint8Array[] = [];

  override write(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
  }

  async drain(sink: Sink): Promise<void> {
    const chunks = this.#chunks;
    this.#chunks = [];
    // One write a batch: the writer hands out hundreds of small buffers.
    await sink(Buffer.concat(chunks));
  }
}

/** An input whose next element can be looked at before it is taken. */
interface Peekable<T> {
  peek(): Promise<T | undefined>;
  take(): void;
  close(): Promise<void>;
}

function peekable<T>(source: AsyncIterable<T> | Iterable<T>): Peekable<T> {
  const iterator =
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  let next: T | undefined;
  let ended = false;
  return {
    async peek() {
      if (next === undefined && !ended) {
        const result = await iterator.next();
        ended = result.done === true;
        if (!ended) next = result.value;
      }
      return next;
    },
    take() {
      next = undefined;
    },
    async close() {
      // A source that is left early may hold files open.
      if (!ended) await iterator.return?.();
    },
  };
}

/**
 * The names in a folder that a dataset may be written to; none where there is no folder yet. Throws `data` where it holds
 * other files, or a dataset that must not be overwritten.
 */
export async function checkFolder(dir: string, overwrite: boolean): Promise<string[]> {
  const names = await readdir(dir).catch((thrown): string[] => {
    if (errorCode(thrown) === 'ENOENT') return [];
    throw ioError(thrown, 'list', dir);
  });
  const foreign = names.filter(name => !SHARD_NAME.test(name) && !MANIFEST_NAME.test(name));
  if (foreign.length > 0) {
    throw new GroundError('data', `${dir} holds files that are no part of a dataset, such as ${foreign[0]}`, {
      hint: 'choose a new or empty folder',
    });
  }
  if (names.includes(MANIFEST_FILE) && !overwrite) {
    throw new GroundError('data', `${dir} holds a dataset already`, {
      hint: 'choose another folder, or pass --overwrite to replace it',
    });
  }
  return names;
}

/** An empty folder to write into, or the reason why not. */
async function prepareFolder(dir: string, overwrite: boolean): Promise<void> {
  const names = await checkFolder(dir, overwrite);
  try {
    // The manifest goes first: from here on the folder is no dataset until the new one is written.
    await rm(join(dir, MANIFEST_FILE), { force: true });
    for (const name of names) await rm(join(dir, name), { force: true });
    await mkdir(dir, { recursive: true });
  } catch (thrown) {
    throw ioError(thrown, 'prepare', dir);
  }
}

function definedLimits(options: WriteShardsOptions): Partial<ShardLimits> {
  const { shardRows, shardBytes, batchRows, batchBytes } = options;
  return Object.fromEntries(
    Object.entries({ shardRows, shardBytes, batchRows, batchBytes }).filter(
      ([, value]) => value !== undefined,
    ),
  );
}

function checkedLimits(limits: ShardLimits): ShardLimits {
  for (const [name, value] of Object.entries(limits)) {
    const high = name.endsWith('Bytes') ? MAX_SHARD_BYTES : 2 ** 31 - 1;
    if (!Number.isInteger(value) || value < 1 || value > high) {
      throw new GroundError('usage', `${name} is ${value}, not a whole number from 1 to ${high}`);
    }
  }
  return limits;
}

function packageVersion(): string {
  const manifest: { version: string } = createRequire(import.meta.url)('../../package.json');
  return manifest.version;
}
