import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { crc32c } from '@node-rs/crc32';
import { describe, expect, it } from 'vitest';
import { openDataset } from '../../src/data/dataset.ts';
import { Lru } from '../../src/data/lru.ts';
import { readManifest } from '../../src/data/manifest.ts';
import { type WriteShardsOptions, writeShards } from '../../src/data/shards.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { fakeRecord, fakeRecords } from './sample-records.ts';

const OPTIONS: WriteShardsOptions = { source: { seed: 7, list: ['a', null] }, builder: 'test' };
const SMALL = { ...OPTIONS, shardRows: 10, batchRows: 4 };

async function small(count = 23): Promise<string> {
  const dir = join(temporaryFolder(), 'set');
  await writeShards(fakeRecords(count), dir, SMALL);
  return dir;
}

describe('writing and reading', () => {
  it('every record comes back as it was, in any order and at once', async () => {
    const dataset = await openDataset(await small(), { cachedBatches: 2, openShards: 1 });
    const rows = [22, 0, 10, 9, 4, 3, 21, 11, 5, 22];
    const records = await Promise.all(rows.map(row => dataset.read(row)));
    expect(records).toEqual(rows.map(row => fakeRecord(row)));
    expect(dataset.rows).toBe(23);
    await dataset.close();
  });

  it('shards and batches keep their limits, and the manifest describes them', async () => {
    const dir = await small();
    const manifest = await readManifest(dir);
    expect(manifest.shards.map(shard => shard.batches)).toEqual([[4, 4, 2], [4, 4, 2], [3]]);
    expect(manifest).toMatchObject({
      format: 'ground-dataset',
      schema_version: 2,
      rows: 23,
      source: OPTIONS.source,
    });
    expect(manifest.builder.name).toBe('test');
    for (const shard of manifest.shards) {
      const bytes = await readFile(join(dir, shard.file));
      expect(bytes.length).toBe(shard.bytes);
      expect(crc32c(bytes)).toBe(Number.parseInt(shard.crc32c, 16));
    }
    expect((await readdir(dir)).sort()).toEqual([
      'manifest.json',
      'shard-00000.arrow',
      'shard-00001.arrow',
      'shard-00002.arrow',
    ]);
  });

  it('no shard grows beyond its bytes, but a larger record gets one of its own', async () => {
    const dir = join(temporaryFolder(), 'set');
    const records = [...fakeRecords(30, 10_000), fakeRecord(30, 200_000), fakeRecord(31, 10_000)];
    const limits = { shardBytes: 100_000, batchBytes: 25_000 };
    const manifest = await writeShards(records, dir, { ...OPTIONS, ...limits });
    const alone = manifest.shards.filter(shard => shard.bytes > limits.shardBytes);
    expect(alone.map(shard => shard.rows)).toEqual([1]);
    expect(manifest.shards.flatMap(shard => shard.batches).every(rows => rows <= 2)).toBe(true);
    expect(manifest.rows).toBe(32);
  });

  it('the same records give the same bytes', async () => {
    const [a, b] = [await readManifest(await small()), await readManifest(await small())];
    expect(a).toEqual(b);
  });

  it('a dataset may be empty', async () => {
    const dataset = await openDataset(await small(0));
    expect(dataset.rows).toBe(0);
    await expect(dataset.read(0)).rejects.toThrow(/no row 0/);
    await dataset.close();
  });

  it('limits out of range are refused', async () => {
    const dir = join(temporaryFolder(), 'set');
    await expect(writeShards([], dir, { ...OPTIONS, shardBytes: 2 ** 31 })).rejects.toMatchObject({
      code: 'usage',
    });
    await expect(writeShards([], dir, { ...OPTIONS, batchRows: 0 })).rejects.toThrow(/batchRows is 0/);
  });
});

describe('folders', () => {
  it('a folder with other files is left alone', async () => {
    const dir = temporaryFolder();
    await writeFile(join(dir, 'thesis.txt'), 'precious');
    await expect(writeShards(fakeRecords(3), dir, { ...OPTIONS, overwrite: true })).rejects.toThrow(
      /thesis\.txt/,
    );
    expect(await readdir(dir)).toEqual(['thesis.txt']);
  });

  it('a finished dataset is replaced only when asked', async () => {
    const dir = await small();
    await expect(writeShards(fakeRecords(3), dir, OPTIONS)).rejects.toThrow(/holds a dataset already/);
    await writeShards(fakeRecords(3), dir, { ...OPTIONS, overwrite: true });
    expect((await readManifest(dir)).rows).toBe(3);
    expect(await readdir(dir)).toHaveLength(2);
  });

  it('a source that fails leaves no dataset, and is closed', async () => {
    const dir = join(temporaryFolder(), 'set');
    let closed = false;
    async function* failing() {
      try {
        yield* fakeRecords(12);
        throw new Error('the disk with the images is gone');
      } finally {
        closed = true;
      }
    }
    await expect(writeShards(failing(), dir, SMALL)).rejects.toThrow('the disk with the images is gone');
    expect(closed).toBe(true);
    await expect(openDataset(dir)).rejects.toMatchObject({ code: 'data' });
    expect((await readdir(dir)).some(name => name.includes('.tmp-'))).toBe(false);
  });

  it('a build that is killed leaves no dataset, and the next build clears its remains', async () => {
    const dir = join(temporaryFolder(), 'set');
    const script = fileURLToPath(new URL('interrupted-build.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', script, dir], { stdio: 'ignore' });
    const ended = new Promise(resolve => child.once('exit', (_, signal) => resolve(signal)));
    while (!existsSync(join(dir, 'shard-00004.arrow'))) {
      if (child.exitCode !== null) throw new Error(`the build ended by itself with ${child.exitCode}`);
      await setTimeout(20);
    }
    child.kill('SIGKILL');
    expect(await ended).toBe('SIGKILL');
    await expect(openDataset(dir)).rejects.toThrow(/manifest\.json is missing/);
    const manifest = await writeShards(fakeRecords(7), dir, SMALL);
    expect(manifest.rows).toBe(7);
    expect((await readdir(dir)).sort()).toEqual(['manifest.json', 'shard-00000.arrow']);
  });
});

describe('damage', () => {
  it('no folder, or none with a manifest', async () => {
    const dir = temporaryFolder();
    await expect(openDataset(dir)).rejects.toMatchObject({
      code: 'data',
      message: `no dataset in ${dir}: manifest.json is missing`,
      hint: expect.stringContaining('ground data'),
    });
    await expect(openDataset(join(dir, 'nowhere'))).rejects.toMatchObject({ code: 'data' });
  });

  it.each([
    ['no JSON', () => '{"format":', /no valid dataset manifest/],
    ['another format', (text: string) => text.replace('ground-dataset', 'other'), /format/],
    [
      'another version',
      (text: string) => text.replace('"schema_version": 2', '"schema_version": 3'),
      /schema_version is 3, this version of ground reads 2/,
    ],
    ['an unknown key', (text: string) => text.replace('"rows"', '"cows": 1, "rows"'), /cows/],
    ['wrong sums', (text: string) => text.replace('"rows": 23', '"rows": 24'), /rows is 24 but/],
    [
      'a file elsewhere',
      (text: string) => text.replace('shard-00000', '../shard-00000'),
      /shards\[0\]\.file/,
    ],
  ])('a manifest of %s', async (_, spoil, message) => {
    const dir = await small();
    const file = join(dir, 'manifest.json');
    await writeFile(file, spoil(await readFile(file, 'utf8')));
    await expect(openDataset(dir)).rejects.toThrow(message);
  });

  it('a shard that is cut, missing or too long is named on opening', async () => {
    const dir = await small();
    const file = join(dir, 'shard-00001.arrow');
    const bytes = await readFile(file);
    await truncate(file, bytes.length - 10);
    await expect(openDataset(dir)).rejects.toThrow(/shard .*shard-00001\.arrow is truncated/);
    await writeFile(file, Buffer.concat([bytes, bytes]));
    await expect(openDataset(dir)).rejects.toThrow(/shard-00001\.arrow is too long/);
    await rm(file);
    await expect(openDataset(dir)).rejects.toThrow(/shard-00001\.arrow is missing/);
  });

  it.each([
    ['its end overwritten', (bytes: Buffer) => bytes.fill(0, bytes.length - 400)],
    ['its start overwritten', (bytes: Buffer) => bytes.fill(0, 0, 200)],
    ['all zeros', (bytes: Buffer) => bytes.fill(0)],
    ['all ones', (bytes: Buffer) => bytes.fill(255)],
  ])('a shard of the right size with %s fails by name, the others still read', async (_, spoil) => {
    const dir = await small();
    const file = join(dir, 'shard-00001.arrow');
    const bytes = await readFile(file);
    spoil(bytes);
    await writeFile(file, bytes);
    const dataset = await openDataset(dir);
    await expect(dataset.read(3)).resolves.toEqual(fakeRecord(3));
    await expect(dataset.read(12)).rejects.toMatchObject({
      code: 'data',
      message: expect.stringMatching(/shard .*shard-00001\.arrow is damaged/),
    });
    await dataset.close();
  });

  it('a shard of another dataset does not pass', async () => {
    const [dir, other] = [await small(), join(temporaryFolder(), 'other')];
    await writeShards(fakeRecords(10), other, { ...SMALL, batchRows: 10 });
    const manifest = await readManifest(dir);
    const bytes = await readFile(join(other, 'shard-00000.arrow'));
    await writeFile(join(dir, 'shard-00000.arrow'), bytes);
    const text = JSON.stringify(manifest).replace(String(manifest.shards[0]?.bytes), String(bytes.length));
    await writeFile(join(dir, 'manifest.json'), text);
    const dataset = await openDataset(dir);
    await expect(dataset.read(0)).rejects.toThrow(/has 1 record batches, not 3/);
    await dataset.close();
  });

  it('rows out of range, and reads after the end', async () => {
    const dataset = await openDataset(await small());
    for (const row of [-1, 23, 1.5, Number.NaN]) {
      await expect(dataset.read(row)).rejects.toThrow(/there is no row .* 23 rows/);
    }
    expect(dataset.placeOf(12)).toEqual({ shard: 'shard-00001.arrow', row: 2 });
    await dataset.close();
    await expect(dataset.read(0)).rejects.toThrow(/closed/);
  });
});

describe('the least recently used', () => {
  it('goes first, and is disposed of once', () => {
    const disposed: string[] = [];
    const lru = new Lru<number, string>(2, value => disposed.push(value));
    lru.get(1, () => 'one');
    lru.get(2, () => 'two');
    lru.get(1, () => 'never made');
    lru.get(3, () => 'three');
    expect(disposed).toEqual(['two']);
    expect(lru.get(1, () => 'made again')).toBe('one');
    lru.clear();
    expect(disposed).toEqual(['two', 'three', 'one']);
  });
});

describe('an overwritten folder', () => {
  it('is no dataset while the new one is written', async () => {
    const dir = await small();
    async function* watching() {
      yield fakeRecord(0);
      expect(existsSync(join(dir, 'manifest.json'))).toBe(false);
    }
    await writeShards(watching(), dir, { ...OPTIONS, overwrite: true });
    await mkdir(join(dir, 'sub'));
    await expect(writeShards([], dir, { ...OPTIONS, overwrite: true })).rejects.toThrow(/sub/);
  });
});
