import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { openDataset } from '../../src/data/dataset.ts';
import { inspectDataset } from '../../src/data/inspect.ts';
import { drawText, wrapText } from '../../src/data/pixel-font.ts';
import { previewDataset } from '../../src/data/preview.ts';
import type { ImageRecord, ObjectAnnotation } from '../../src/data/record.ts';
import { encodeMask } from '../../src/data/rle.ts';
import { writeShards } from '../../src/data/shards.ts';
import { renderScenes } from '../../src/data/sources/scenes.ts';
import { problemsOf, validateDataset } from '../../src/data/validate.ts';
import type { ProblemKind } from '../../src/data/validation/problem.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { plainImage, soundRecord } from './sample-records.ts';

async function datasetOf(records: readonly ImageRecord[], shardRows = 2): Promise<string> {
  const dir = join(temporaryFolder(), 'set');
  await writeShards(records, dir, { source: {}, builder: 'test', shardRows });
  return dir;
}

const soundRecords = (count: number) =>
  Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const noise = new Uint8Array(8 * 6 * 3).map((_, k) => (k * (i + 1) * 7919) % 251);
      const image = await sharp(noise, { raw: { width: 8, height: 6, channels: 3 } })
        .png()
        .toBuffer();
      return { ...(await soundRecord(`record-${i}`)), image: new Uint8Array(image) };
    }),
  );

const said = async (record: ImageRecord) => (await problemsOf(record)).map(({ problem }) => problem);

/** A sound record whose first object is changed. */
async function withObject(changes: Partial<ObjectAnnotation>): Promise<ImageRecord> {
  const record = await soundRecord('r');
  return {
    ...record,
    objects: record.objects.map((object, i) => (i === 0 ? { ...object, ...changes } : object)),
  };
}

const box = (x1: number, y1: number, x2: number, y2: number) =>
  ({ space: 'pixels', x1, y1, x2, y2 }) as const;

describe('one record', () => {
  it('in which all is well has no problems', async () => {
    expect(await problemsOf(await soundRecord('r'))).toEqual([]);
    expect(await problemsOf({ ...(await soundRecord('r')), image: await plainImage(8, 6, 'jpeg') })).toEqual(
      [],
    );
  });

  it.each([
    [{ box: box(3, 0, 3, 6) }, 'object 0: box [3, 0, 3, 6] is inverted or empty'],
    [{ box: box(0, 5, 8, 2) }, 'object 0: box [0, 5, 8, 2] is inverted or empty'],
    [{ box: box(-1, 0, 8, 6) }, 'object 0: box [-1, 0, 8, 6] leaves the image of 8 x 6 pixels'],
    [{ box: box(0, 0, 8, 6.5) }, 'object 0: box [0, 0, 8, 6.5] leaves the image of 8 x 6 pixels'],
    [{ box: box(0, Number.NaN, 8, 6) }, 'object 0: box [0, NaN, 8, 6] is no box'],
    [{ label: '' }, 'object 0: label is empty'],
    [{ phrase: ' \n' }, 'object 0: phrase is empty'],
    [{ phrase: 'red \ufffd\ufffd' }, 'object 0: phrase has characters that are no text: "red \ufffd\ufffd"'],
    [
      { attributes: ['red', 'a\u0000b'] },
      'object 0: attribute 1 has characters that are no text: "a\\u0000b"',
    ],
    [{ mask: { size: [8, 6], counts: '0`1' } }, 'object 0: mask is 6 x 8 pixels, the image 8 x 6'],
    [{ mask: { size: [6, 8], counts: '`1' } }, 'object 0: mask is empty'],
    [
      { mask: { size: [6, 8], counts: '0a1' } },
      'object 0: mask: runs add up to 49, not to 6 rows of 8 columns',
    ],
  ] as [Partial<ObjectAnnotation>, string][])('object %o', async (changes, problem) => {
    expect(await said(await withObject(changes))).toEqual([problem]);
  });

  it('a mask of another object than its box', async () => {
    const side = 20;
    const data = new Uint8Array(side * side).map((_, i) => Number(i % side >= 14 && i / side >= 14));
    const mask = encodeMask({ width: side, height: side, data });
    const record = { ...(await withObject({ mask, box: box(1, 1, 7, 7) })), width: side, height: side };
    record.image = await plainImage(side, side);
    expect(await said(record)).toEqual(['object 0: mask lies elsewhere than its box']);
    expect(await said({ ...record, objects: [{ ...record.objects[0]!, box: box(13, 13, 19, 20) }] })).toEqual(
      ['relation 0: objects 1 and 0 of 1'],
    );
  });

  it.each([
    [{ id: ' ' }, ['id is empty']],
    [{ captions: ['fine', ''] }, ['caption 1 is empty']],
    [
      { width: 9 },
      ['image is 8 x 6 pixels, the record says 9 x 6', 'object 0: mask is 8 x 6 pixels, the image 9 x 6'],
    ],
    [
      { relations: [{ subject: 0, predicate: 'above', object: 0 }] },
      ['relation 0: object 0 stands in relation to itself'],
    ],
    [{ relations: [{ subject: 0, predicate: 'above', object: 2 }] }, ['relation 0: objects 0 and 2 of 2']],
    [{ relations: [{ subject: 0, predicate: '', object: 1 }] }, ['relation 0: predicate is empty']],
  ] as [Partial<ImageRecord>, string[]][])('record %o', async (changes, problems) => {
    expect(await said({ ...(await soundRecord('r')), ...changes })).toEqual(problems);
  });

  it.each([
    ['no image at all', () => new Uint8Array(0)],
    ['text', () => new TextEncoder().encode('<html>not found</html>')],
    ['half a PNG', (png: Uint8Array) => png.slice(0, png.length / 2)],
  ])('%s instead of an image', async (_, spoil) => {
    const record = await soundRecord('r');
    const [problem, ...others] = await said({ ...record, image: spoil(record.image) });
    expect(problem).toMatch(/^image cannot be decoded: /);
    expect(others).toEqual([]);
  });

  it('a JPEG that was cut', async () => {
    const noise = new Uint8Array(64 * 64 * 3).map((_, i) => (i * 7919) % 251);
    const jpeg = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer();
    const record = { ...(await soundRecord('r')), image: new Uint8Array(jpeg.subarray(0, jpeg.length / 2)) };
    const problems = await said({ ...record, width: 64, height: 64, objects: [], relations: [] });
    expect(problems).toEqual([expect.stringMatching(/^image cannot be decoded: /)]);
  });
});

describe('a dataset', () => {
  it('that is sound has no problems, and progress reaches its end', async () => {
    const seen: [number, number][] = [];
    const dir = await datasetOf(await soundRecords(5));
    const report = await validateDataset(dir, { onProgress: (rows, total) => seen.push([rows, total]) });
    expect(report).toEqual({
      ...{ rows: 5, shards: 3, errors: 0, warnings: 0 },
      ...{ totals: {}, problems: [], tasks: [] },
    });
    expect(seen.map(([rows]) => rows)).toEqual([1, 2, 3, 4, 5]);
    expect(seen.every(([, total]) => total === 5)).toBe(true);
  });

  it('lists every bad row with its shard, in order, and ids that occur twice', async () => {
    const records = await soundRecords(5);
    records[1] = { ...records[1]!, captions: [''] };
    records[3] = { ...records[3]!, id: 'record-0' };
    records[4] = { ...records[4]!, image: new Uint8Array(3), captions: [' '] };
    const { problems, errors } = await validateDataset(await datasetOf(records));
    const error = (kind: ProblemKind, shard: number, row: number, record: number, problem: unknown) => {
      const id = `record-${record}`;
      return { severity: 'error', kind, shard: `shard-0000${shard}.arrow`, row, id, problem };
    };
    expect(problems).toEqual([
      error('text', 0, 1, 1, 'caption 0 is empty'),
      error('id', 1, 1, 0, 'has the same id as shard-00000.arrow row 0'),
      error('image', 2, 0, 4, expect.stringContaining('image cannot be decoded')),
      error('text', 2, 0, 4, 'caption 0 is empty'),
    ]);
    expect(errors).toBe(4);
  });

  it('with damaged shards: each is listed, the others are checked all the same', async () => {
    const records = await soundRecords(8);
    records[6] = { ...records[6]!, captions: [''] };
    const dir = await datasetOf(records);
    const file = (shard: number) => join(dir, `shard-0000${shard}.arrow`);
    const bytes = await readFile(file(0));
    // A letter of a text: the file can be read all the same.
    bytes[bytes.lastIndexOf('record-1') + 8]! ^= 1;
    await writeFile(file(0), bytes);
    await writeFile(file(1), (await readFile(file(1))).subarray(0, -1));
    await rm(file(2));
    const { problems } = await validateDataset(dir);
    expect(problems.map(({ shard, row }) => [shard, row])).toEqual([
      ['shard-00000.arrow', null],
      ['shard-00001.arrow', null],
      ['shard-00002.arrow', null],
      ['shard-00003.arrow', 0],
    ]);
    expect(problems.map(({ problem }) => problem)).toEqual([
      expect.stringMatching(/checksum is [0-9a-f]{8}, the manifest says [0-9a-f]{8}/),
      expect.stringContaining('truncated'),
      expect.stringContaining('missing'),
      'caption 0 is empty',
    ]);
  });
});

describe('statistics', () => {
  it('count what is there', async () => {
    const [a, b] = await soundRecords(2);
    const crowd = { ...a!.objects[1]!, crowd: true };
    const dataset = await openDataset(
      await datasetOf([
        a!,
        { ...b!, captions: ['one two', 'three'], objects: [...b!.objects, crowd], relations: [] },
      ]),
    );
    const summary = await inspectDataset(dataset);
    await dataset.close();
    expect(summary).toMatchObject({
      rows: 2,
      shards: 1,
      objects: 5,
      crowds: 1,
      masks: 2,
      namedAlone: 3,
      areas: { small: 5, medium: 0, large: 0 },
      width: { min: 8, median: 8, max: 8, mean: 8 },
      captionsPerImage: { min: 1, median: 2, max: 2, mean: 1.5 },
      wordsPerCaption: { min: 1, median: 2, max: 3, mean: 2 },
      objectsPerImage: { min: 2, median: 3, max: 3, mean: 2.5 },
      labels: { door: 3, wall: 2 },
      predicates: { inside: 1 },
      builder: { name: 'test' },
    });
    expect(Object.keys(summary.labels)).toEqual(['door', 'wall']);
    expect(summary.boxShare.max).toBe(1);
  });

  it('of nothing are zeros', async () => {
    const dataset = await openDataset(await datasetOf([]));
    expect(await inspectDataset(dataset)).toMatchObject({
      rows: 0,
      objects: 0,
      width: { min: 0, mean: 0 },
      labels: {},
    });
    await dataset.close();
  });
});

describe('contact sheets', () => {
  it('are PNGs of the promised size that show boxes where they are', async () => {
    const record = { ...(await soundRecord('r')), captions: [] };
    const [, door] = record.objects;
    const dataset = await openDataset(await datasetOf([{ ...record, objects: [door!], relations: [] }]));
    const png = await previewDataset(dataset, { side: 160, columns: 3 });
    const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
    await dataset.close();
    const pixel = (x: number, y: number) => [
      ...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3),
    ];
    expect(info.channels).toBe(3);
    // One record: one column, 8 pixels of margin; a pixel of the image is 20 of the sheet.
    expect(info.width).toBe(8 + 160 + 8);
    const [left, bottom] = [8 + 1.5 * 20, 8 + 5 * 20];
    expect(pixel(left, bottom - 1)).toEqual([229, 56, 59]);
    expect(pixel(left - 1, bottom - 1)).toEqual([0x60, 0x80, 0xa0]);
    expect(pixel(left + 5, bottom - 5)).toEqual([0x60, 0x80, 0xa0]);
    expect(pixel(8 + 3 * 20 - 1, 8 + 4 * 20)).toEqual([229, 56, 59]);
  });

  it('of scenes are the same for the same seed, and show other rows for another', async () => {
    const dir = join(temporaryFolder(), 'set');
    await writeShards(renderScenes(1, 20, { preset: 'hard' }), dir, { source: {}, builder: 'scenes' });
    const dataset = await openDataset(dir);
    const sheet = (seed: number) => previewDataset(dataset, { count: 4, side: 64, seed });
    const [a, again, b] = [await sheet(1), await sheet(1), await sheet(2)];
    await expect(previewDataset(dataset, { count: 0 })).rejects.toMatchObject({ code: 'usage' });
    await dataset.close();
    expect(Buffer.from(a).equals(again)).toBe(true);
    expect(Buffer.from(a).equals(b)).toBe(false);
  });

  it('name the row that cannot be drawn', async () => {
    const dataset = await openDataset(
      await datasetOf([{ ...(await soundRecord('r')), image: new Uint8Array(9) }]),
    );
    await expect(previewDataset(dataset)).rejects.toThrow(/shard-00000\.arrow row 0 cannot be drawn/);
    await dataset.close();
  });
});

describe('letters', () => {
  it('every printable character has a look of its own', () => {
    const looks = Array.from({ length: 95 }, (_, i) => {
      const dots: string[] = [];
      drawText(String.fromCharCode(32 + i), (x, y) => dots.push(`${x},${y}`));
      return dots.sort().join(' ');
    });
    expect(looks[0]).toBe('');
    expect(new Set(looks).size).toBe(95);
    const unknown: string[] = [];
    drawText('é', (x, y) => unknown.push(`${x},${y}`));
    expect(unknown.sort().join(' ')).toBe(looks['?'.charCodeAt(0) - 32]);
  });

  it('break between words, and within words that are longer than a line', () => {
    expect(wrapText('a cat on a mat', 6 * 6)).toEqual(['a cat', 'on a', 'mat']);
    expect(wrapText('incomprehensible', 6 * 6)).toEqual(['incomp', 'rehens', 'ible']);
    expect(wrapText('', 100)).toEqual([]);
  });
});
