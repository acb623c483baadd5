/** A dataset of a million rows in two hundred shards opens and is read in the middle at the cost of its manifest. */
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { SCHEMA_VERSION } from '../../src/data/arrow.ts';
import { openDataset } from '../../src/data/dataset.ts';
import { MANIFEST_FORMAT, type ShardEntry, writeManifest } from '../../src/data/manifest.ts';
import { writeShards } from '../../src/data/shards.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { fakeRecord, fakeRecords } from './sample-records.ts';

const SHARDS = 200;
const SHARD_ROWS = 5000;
const SHARD_BYTES = 500 * 2 ** 20;
const REAL = 100;

/** All shards but one are holes of half a gigabyte: whoever looks inside finds no Arrow, and takes long to do so. */
async function sparseDataset(rowsPerBatch: number): Promise<string> {
  const root = temporaryFolder();
  const dir = join(root, 'set');
  await mkdir(dir);
  const batches = Array.from({ length: SHARD_ROWS / rowsPerBatch }, () => rowsPerBatch);
  const shards: ShardEntry[] = [];
  const real = await writeShards(fakeRecords(SHARD_ROWS, 1), join(root, 'real'), {
    source: {},
    builder: 'test',
    batchRows: 50,
  });
  for (let i = 0; i < SHARDS; i++) {
    const file = `shard-${String(i).padStart(5, '0')}.arrow`;
    const [entry] = real.shards;
    if (i === REAL && entry) {
      await rename(join(root, 'real', entry.file), join(dir, file));
      shards.push({ ...entry, file });
      continue;
    }
    const handle = await open(join(dir, file), 'w');
    await handle.truncate(SHARD_BYTES);
    await handle.close();
    shards.push({ file, rows: SHARD_ROWS, bytes: SHARD_BYTES, crc32c: '00000000', batches });
  }
  await writeManifest(dir, {
    format: MANIFEST_FORMAT,
    schema_version: SCHEMA_VERSION,
    builder: { name: 'test', version: '0' },
    source: {},
    rows: SHARDS * SHARD_ROWS,
    shards,
  });
  return dir;
}

/** Bytes that this process has read from files so far; 0 where the system does not tell. */
async function bytesRead(): Promise<number> {
  if (!existsSync('/proc/self/io')) return 0;
  return Number(/^rchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8'))?.[1]);
}

/** Bytes in use after everything unused is gone. */
function memoryInUse(): number {
  setFlagsFromString('--expose-gc');
  // The first leaves buffers to a thread that frees them by and by; the second waits for it.
  for (let i = 0; i < 2; i++) runInNewContext('gc')();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

describe.each([50, 1])('a million rows, %i to a batch', rowsPerBatch => {
  it('no shard is read before a row of it is, and memory does not grow with rows', async () => {
    const dir = await sparseDataset(rowsPerBatch);
    const manifestBytes = (await stat(join(dir, 'manifest.json'))).size;
    const [readBefore, memoryBefore] = [await bytesRead(), memoryInUse()];
    const dataset = await openDataset(dir, { cachedBatches: 4 });
    expect(dataset.rows).toBe(SHARDS * SHARD_ROWS);
    expect((await bytesRead()) - readBefore).toBeLessThan(manifestBytes + 2 ** 20);

    const middle = REAL * SHARD_ROWS;
    expect(await dataset.read(middle + 1234)).toEqual(fakeRecord(1234, 1));
    expect(dataset.placeOf(middle - 1)).toEqual({ shard: 'shard-00099.arrow', row: SHARD_ROWS - 1 });
    expect(dataset.placeOf(dataset.rows - 1)).toEqual({ shard: 'shard-00199.arrow', row: SHARD_ROWS - 1 });
    // One batch and the shard's footer.
    expect((await bytesRead()) - readBefore).toBeLessThan(manifestBytes + 4 * 2 ** 20);

    for (let i = 0; i < SHARD_ROWS; i += 7) await dataset.read(middle + ((i * 3571) % SHARD_ROWS));
    // A manifest of a batch for each row takes twenty bytes a row; nothing else may.
    expect(memoryInUse() - memoryBefore).toBeLessThan((24 * dataset.rows) / rowsPerBatch + 8 * 2 ** 20);
    await expect(dataset.read(0)).rejects.toThrow(/shard-00000\.arrow is damaged/);
    await dataset.close();
  });
});

describe('rows of uneven shards', () => {
  it('are found, empty batches and shards among them', async () => {
    const dir = join(temporaryFolder(), 'set');
    const manifest = await writeShards(fakeRecords(23), dir, {
      source: {},
      builder: 'test',
      shardRows: 10,
      batchRows: 4,
    });
    const [first, second, third] = manifest.shards as [ShardEntry, ShardEntry, ShardEntry];
    const empty = { ...third, rows: 0, batches: [] };
    const shards = [empty, { ...first, batches: [4, 0, 4, 2] }, empty, second, third, empty];
    await writeManifest(dir, { ...manifest, shards });
    const dataset = await openDataset(dir);
    const places = Array.from({ length: 23 }, (_, row) => dataset.placeOf(row));
    expect(places).toEqual(
      Array.from({ length: 23 }, (_, row) => ({
        shard: `shard-0000${Math.floor(row / 10)}.arrow`,
        row: row % 10,
      })),
    );
    expect(await dataset.read(22)).toEqual(fakeRecord(22));
    await dataset.close();
  });
});
