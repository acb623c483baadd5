import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Table, tableToIPC } from 'apache-arrow';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeBatch, rowReader } from '../../src/data/arrow.ts';
import { openDataset } from '../../src/data/dataset.ts';
import { storedLink } from '../../src/data/links.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { writeShards } from '../../src/data/shards.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { anyRecord, fullRecord, textOnly } from './any-record.ts';
import { fakeRecord } from './sample-records.ts';

const OPTIONS = { source: {}, builder: 'test' };

async function roundTrip(records: readonly ImageRecord[], dir: string): Promise<ImageRecord[]> {
  await writeShards(records, dir, { ...OPTIONS, shardRows: 4, batchRows: 3 });
  const dataset = await openDataset(dir);
  try {
    return await Promise.all(Array.from({ length: dataset.rows }, (_, row) => dataset.read(row)));
  } finally {
    await dataset.close();
  }
}

describe('a record', () => {
  it('comes back with all of its fields, or none of them', async () => {
    const records = [fullRecord, textOnly, fakeRecord(1), fullRecord, textOnly];
    expect(await roundTrip(records, join(temporaryFolder(), 'set'))).toStrictEqual(records);
  });

  it('of any kind comes back as it was', async () => {
    const folder = temporaryFolder();
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(anyRecord, { maxLength: 6 }), async records => {
        expect(await roundTrip(records, join(folder, String(run++)))).toStrictEqual(records);
      }),
      { numRuns: 60 },
    );
  });

  it('leaves the batch behind: its bytes are a copy', () => {
    const batch = encodeBatch([fullRecord, fakeRecord(2)]);
    const image = rowReader(batch)(1).image;
    expect(image.buffer.byteLength).toBe(image.byteLength);
  });
});

describe('a damaged batch', () => {
  it('is refused where its offsets lead beyond its values', async () => {
    const batch = encodeBatch([fullRecord]);
    const captions = batch.getChild('captions')?.data[0];
    captions?.valueOffsets.fill(2 ** 30, 1);
    expect(tableToIPC(new Table([batch])).length).toBeGreaterThan(0);
    expect(() => rowReader(batch)(0)).toThrow(/a record batch is damaged: values 0 to 1073741824 of 2/);
  });
});

describe('links', () => {
  const linked = (id: string, path: string): ImageRecord => ({
    ...fakeRecord(1),
    id,
    image: new Uint8Array(),
    path,
  });

  it('the image is read from its file, and its path is absolute', async () => {
    const root = temporaryFolder();
    await writeFile(join(root, 'é 1.jpg'), 'bytes of an image');
    const [record] = await roundTrip([linked('a', join(root, 'é 1.jpg'))], join(root, 'set'));
    expect(record).toStrictEqual({
      ...linked('a', join(root, 'é 1.jpg')),
      image: new Uint8Array(Buffer.from('bytes of an image')),
    });
  });

  it('a project that is moved with its images still reads', async () => {
    const root = temporaryFolder();
    await mkdir(join(root, 'project/images'), { recursive: true });
    await writeFile(join(root, 'project/images/1.jpg'), 'x');
    await writeShards(
      [linked('a', join(root, 'project/images/1.jpg'))],
      join(root, 'project/built/set'),
      OPTIONS,
    );
    await rename(join(root, 'project'), join(root, 'moved'));
    const dataset = await openDataset(join(root, 'moved/built/set'));
    expect(await dataset.read(0)).toMatchObject({ path: join(root, 'moved/images/1.jpg') });
    await dataset.close();
  });

  it.each([
    ['/data/project/sets/train', '/data/project/images/1.jpg', '../../images/1.jpg'],
    ['/data/project/sets/train', '/data/project/sets/train/1.jpg', '1.jpg'],
    ['/data/project/sets/train', '/data/projects/1.jpg', '/data/projects/1.jpg'],
    ['/data/project/sets/train', '/data/1.jpg', '/data/1.jpg'],
    // Nothing is near across the root.
    ['/data/train', '/disk/1.jpg', '/disk/1.jpg'],
    ['/data/train', '/data/1.jpg', '../1.jpg'],
    ['/train', '/1.jpg', '/1.jpg'],
    ['/data/project/train', '/data/project/..images/1.jpg', '../..images/1.jpg'],
  ])('from %s to %s: %s', (dir, image, stored) => {
    expect(storedLink(dir, image)).toBe(stored);
  });

  it('an image that is missing, empty or a folder is named with its row, and the next row reads', async () => {
    const root = temporaryFolder();
    const dir = join(root, 'set');
    const paths = ['0.jpg', '1.jpg', '2.jpg', '3.jpg'].map(name => join(root, name));
    for (const path of paths) await writeFile(path, 'x');
    await writeShards(
      paths.map((path, i) => linked(`r${i}`, path)),
      dir,
      { ...OPTIONS, shardRows: 2 },
    );
    await rm(paths[2]!);
    await writeFile(paths[1]!, '');
    await rm(paths[0]!);
    await mkdir(paths[0]!);
    const dataset = await openDataset(dir);
    const where = (shard: number, row: number) =>
      `shard ${join(dir, `shard-0000${shard}.arrow`)} row ${row} (r${2 * shard + row}): the linked image`;
    await expect(dataset.read(0)).rejects.toMatchObject({
      code: 'data',
      message: expect.stringContaining(`${where(0, 0)} ${paths[0]}: EISDIR`),
    });
    await expect(dataset.read(1)).rejects.toThrow(`${where(0, 1)} ${paths[1]} is empty`);
    await expect(dataset.read(2)).rejects.toMatchObject({
      code: 'data',
      message: `${where(1, 0)} ${paths[2]} is missing`,
      hint: expect.stringContaining('put the images back'),
    });
    await expect(dataset.read(3)).resolves.toMatchObject({ id: 'r3' });
    await dataset.close();
  });
});
