/** Reading a dataset: any row of any shard, without loading more than the record batch it lies in. */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type RecordBatch, RecordBatchReader, type Schema, util } from 'apache-arrow';
import { errorCode, ioError } from '../atomic.ts';
import { GroundError, messageOf } from '../errors.ts';
import { RECORD_SCHEMA, rowReader, SCHEMA_VERSION, VERSION_KEY } from './arrow.ts';
import type { Column } from './arrow-columns.ts';
import { readLink, resolveLink } from './links.ts';
import { Lru } from './lru.ts';
import { type Manifest, readManifest, type ShardEntry } from './manifest.ts';
import { errorAt } from './naming.ts';
import type { ImageRecord } from './record.ts';

/** A row's place on the disk. */
export interface RowPlace {
  /** File name of the shard. */
  readonly shard: string;
  /** Row inside the shard, from 0. */
  readonly row: number;
}

/** An open dataset. Reads may overlap. */
export interface Dataset {
  readonly dir: string;
  readonly manifest: Manifest;
  readonly rows: number;
  /**
   * Row 0 … rows - 1. A linked image is read from its file now, and `path` is absolute. Throws `data` beyond the last row,
   * where the shard turns out damaged, and where a linked image cannot be read.
   */
  read(row: number): Promise<ImageRecord>;
  /** Where a row lies: for messages. */
  placeOf(row: number): RowPlace;
  /** Closes the files; nothing may be read after it. */
  close(): Promise<void>;
}

export interface OpenDatasetOptions {
  /** Record batches kept in memory; 16, or as many as fit in 32 MiB where they are small. */
  readonly cachedBatches?: number;
  /** Shard files kept open. */
  readonly openShards?: number;
  /** False to open a dataset with damaged shards, whose rows then fail one by one; true by default. */
  readonly checkSizes?: boolean;
  /** False to leave linked images on their disk: `image` is then empty and `path` says where it is; true by default. */
  readonly readLinks?: boolean;
}

const LEAST_CACHED_BATCHES = 16;
const CACHED_BYTES = 32 * 2 ** 20;
const DEFAULT_OPEN_SHARDS = 32;

/**
 * Opens a dataset folder. Checks the manifest, and that every shard is there in its full size (`ground data validate`
 * checks the contents too). Throws `data` with the file at fault.
 */
export async function openDataset(dir: string, options: OpenDatasetOptions = {}): Promise<Dataset> {
  const manifest = await readManifest(dir);
  if (options.checkSizes !== false) await checkSizes(dir, manifest.shards);
  const rows = rowIndexOf(manifest.shards);

  const closing: Promise<void>[] = [];
  const shards = new Lru<number, Promise<ShardReader>>(options.openShards ?? DEFAULT_OPEN_SHARDS, opening => {
    closing.push(opening.then(reader => reader.close()).catch(() => {}));
  });
  const batches = new Lru<number, Promise<Column<ImageRecord>>>(
    options.cachedBatches ?? cachedBatchesOf(manifest.shards),
  );
  let closed = false;

  async function readBatch(shard: number, batch: number): Promise<Column<ImageRecord>> {
    const entry = manifest.shards[shard] as ShardEntry;
    const reader = await shards.get(shard, () => openShard(join(dir, entry.file), entry));
    return rowReader(await reader.read(batch));
  }

  async function withImage(record: ImageRecord, place: Place): Promise<ImageRecord> {
    if (record.path === undefined) return record;
    const path = resolveLink(dir, record.path);
    if (options.readLinks === false) return { ...record, path };
    try {
      return { ...record, path, image: record.image.length > 0 ? record.image : await readLink(path) };
    } catch (thrown) {
      throw errorAt(`shard ${join(dir, place.file)} row ${place.rowInShard} (${record.id})`, thrown);
    }
  }

  return {
    dir,
    manifest,
    rows: manifest.rows,
    async read(row) {
      if (closed) throw new GroundError('data', `row ${row} was asked of a dataset that is closed: ${dir}`);
      const place = rows.find(row);
      if (!place) throw outOfRange(row, manifest.rows, dir);
      const reading = batches.get(place.batchKey, () => readBatch(place.shard, place.batch));
      let record: ImageRecord;
      try {
        record = (await reading)(place.rowInBatch);
      } catch (thrown) {
        // A failed read must not stay in the cache: the disk may recover.
        batches.delete(place.batchKey);
        throw thrown instanceof GroundError ? thrown : damaged(join(dir, place.file), thrown);
      }
      return withImage(record, place);
    },
    placeOf(row) {
      const place = rows.find(row);
      if (!place) throw outOfRange(row, manifest.rows, dir);
      return { shard: place.file, row: place.rowInShard };
    },
    async close() {
      closed = true;
      batches.clear();
      shards.clear();
      await Promise.all(closing);
    },
  };
}

function cachedBatchesOf(shards: readonly ShardEntry[]): number {
  const bytes = shards.reduce((sum, shard) => sum + shard.bytes, 0);
  const batches = shards.reduce((sum, shard) => sum + shard.batches.length, 0);
  return Math.max(Math.floor((CACHED_BYTES * batches) / Math.max(bytes, 1)), LEAST_CACHED_BATCHES);
}

interface Place {
  readonly file: string;
  readonly shard: number;
  readonly batch: number;
  /** Number of the batch among all batches of the dataset. */
  readonly batchKey: number;
  readonly rowInShard: number;
  readonly rowInBatch: number;
}

/** Finds a row by bisection over the first rows of all batches: a few numbers a batch, no objects. */
function rowIndexOf(shards: readonly ShardEntry[]): { find(row: number): Place | null } {
  const starts = new Float64Array(shards.reduce((sum, { batches }) => sum + batches.length, 0));
  const firstBatches = new Float64Array(shards.length);
  let [rows, batch] = [0, 0];
  for (const [shard, entry] of shards.entries()) {
    firstBatches[shard] = batch;
    for (const count of entry.batches) {
      starts[batch++] = rows;
      rows += count;
    }
  }
  return {
    find(row) {
      if (!Number.isInteger(row) || row < 0 || row >= rows) return null;
      const batchKey = lastUpTo(starts, row);
      const shard = lastUpTo(firstBatches, batchKey);
      const firstBatch = firstBatches[shard] ?? 0;
      return {
        file: shards[shard]?.file ?? '',
        shard,
        batch: batchKey - firstBatch,
        batchKey,
        rowInShard: row - (starts[firstBatch] ?? 0),
        rowInBatch: row - (starts[batchKey] ?? 0),
      };
    },
  };
}

/** Index of the last of the ascending `values` that is not above `limit`. */
function lastUpTo(values: Float64Array, limit: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((values[middle] ?? 0) <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}

interface ShardReader {
  read(batch: number): Promise<RecordBatch>;
  close(): Promise<void>;
}

async function openShard(file: string, entry: ShardEntry): Promise<ShardReader> {
  const handle = await open(file, 'r').catch(thrown => {
    throw ioError(thrown, 'open', file);
  });
  try {
    return await shardReader(handle, file, entry);
  } catch (thrown) {
    await handle.close();
    throw thrown instanceof GroundError ? thrown : damaged(file, thrown);
  }
}

async function shardReader(handle: FileHandle, file: string, entry: ShardEntry): Promise<ShardReader> {
  const reader = await RecordBatchReader.from(handle);
  if (!reader.isFile() || !reader.isAsync()) throw damaged(file, 'it is no Arrow file');
  await reader.open();
  const schema: Schema = reader.schema;
  const version = schema.metadata.get(VERSION_KEY);
  if (version !== String(SCHEMA_VERSION)) {
    const found = version === undefined ? 'it has no schema version' : `its schema version is ${version}`;
    throw damaged(file, `${found}, this version of ground reads ${SCHEMA_VERSION}`);
  }
  if (!util.compareSchemas(schema, RECORD_SCHEMA)) {
    throw damaged(file, `its columns are ${schema.fields.map(field => field.name).join(', ')}`);
  }
  if (reader.numRecordBatches !== entry.batches.length) {
    throw damaged(file, `it has ${reader.numRecordBatches} record batches, not ${entry.batches.length}`);
  }
  // Arrow's reader seeks and then reads: two reads at once would take each other's place in the file.
  let last: Promise<unknown> = Promise.resolve();
  return {
    read(index) {
      const reading = last.then(async () => {
        const batch = await reader.readRecordBatch(index);
        if (!batch) throw damaged(file, `record batch ${index} cannot be read`);
        if (batch.numRows !== entry.batches[index]) {
          throw damaged(file, `record batch ${index} has ${batch.numRows} rows, not ${entry.batches[index]}`);
        }
        return batch;
      });
      last = reading.catch(() => {});
      return reading.catch(thrown => {
        throw thrown instanceof GroundError ? thrown : damaged(file, thrown);
      });
    },
    async close() {
      await last;
      await handle.close();
    },
  };
}

/** Throws `data` where a shard cannot be opened, or is of another schema than this version's. */
export async function checkShard(dir: string, shard: ShardEntry): Promise<void> {
  const reader = await openShard(join(dir, shard.file), shard);
  await reader.close();
}

/** Looks at all shards at once, and throws for the first of them that `checkSize` complains about. */
async function checkSizes(dir: string, shards: readonly ShardEntry[]): Promise<void> {
  const results = await Promise.allSettled(shards.map(shard => checkSize(dir, shard)));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** Throws `data` where a shard is missing or has another size than the manifest says. */
export async function checkSize(dir: string, shard: ShardEntry): Promise<void> {
  const file = join(dir, shard.file);
  const found = await stat(file).catch(thrown => {
    if (errorCode(thrown) !== 'ENOENT') throw ioError(thrown, 'look at', file);
    throw new GroundError('data', `shard ${file} is missing`, { hint: REBUILD, cause: thrown });
  });
  if (found.size !== shard.bytes) {
    const how = found.size < shard.bytes ? 'truncated' : 'too long';
    throw new GroundError(
      'data',
      `shard ${file} is ${how}: ${found.size} bytes, the manifest says ${shard.bytes}`,
      {
        hint: REBUILD,
      },
    );
  }
}

const REBUILD = 'copy the folder again or build the dataset again';

function damaged(file: string, why: unknown): GroundError {
  return new GroundError('data', `shard ${file} is damaged: ${messageOf(why)}`, {
    hint: `${REBUILD}; \`ground data validate\` tells which shards are affected`,
    cause: why,
  });
}

function outOfRange(row: number, rows: number, dir: string): GroundError {
  return new GroundError('data', `there is no row ${row} in ${dir}: it has ${rows} rows, from 0`);
}
