import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { openDataset } from '../../src/data/dataset.ts';
import { mergeDatasets } from '../../src/data/merge.ts';
import { mergeRecords } from '../../src/data/merge-records.ts';
import type { ImageRecord, ObjectAnnotation } from '../../src/data/record.ts';
import { writeShards } from '../../src/data/shards.ts';
import { temporaryFolder } from '../helpers/folder.ts';

const object = (label: string, x: number, more: Partial<ObjectAnnotation> = {}): ObjectAnnotation => ({
  label,
  phrase: label,
  attributes: [],
  box: { space: 'pixels', x1: x, y1: 10, x2: x + 40, y2: 50 },
  ...more,
});

function record(id: string, more: Partial<ImageRecord> = {}): ImageRecord {
  const empty = { image: new Uint8Array(0), captions: [], objects: [], relations: [] };
  return { id, width: 200, height: 100, ...empty, ...more };
}

describe('two records of one image', () => {
  it('share objects, and everything that points at objects and captions goes on to mean the same', () => {
    const counts = {};
    const a = record('x', {
      captions: ['one', 'two'],
      objects: [object('cat', 0), object('dog', 60, { attributes: ['brown'] })],
      relations: [{ subject: 0, predicate: 'near', object: 1 }],
      spans: [{ caption: 1, start: 0, end: 3, objects: [1] }],
      absent: ['bird', 'cow'],
    });
    const b = record('x', {
      captions: ['three', 'two'],
      objects: [
        object('bird', 120),
        object('dog', 61, { attributes: ['old'], expressions: ['the dog'] }),
        object('cat', 60),
      ],
      relations: [
        { subject: 1, predicate: 'left of', object: 0 },
        { subject: 2, predicate: 'near', object: 1 },
      ],
      spans: [
        { caption: 0, start: 0, end: 5, objects: [0, 1] },
        { caption: 1, start: 0, end: 3, objects: [1] },
      ],
      regions: [{ phrase: 'a corner', box: object('', 0).box }],
      absent: ['cow', 'fox'],
      split: 'val',
    });
    const merged = mergeRecords(a, b, counts);
    expect(merged.captions).toEqual(['one', 'two', 'three']);
    expect(merged.objects.map(({ label, box }) => [label, box.x1])).toEqual([
      ['cat', 0],
      ['dog', 60],
      ['bird', 120],
      ['cat', 60],
    ]);
    expect(merged.objects[1]).toMatchObject({ attributes: ['brown', 'old'], expressions: ['the dog'] });
    expect(merged.relations).toEqual([
      { subject: 0, predicate: 'near', object: 1 },
      { subject: 1, predicate: 'left of', object: 2 },
      { subject: 3, predicate: 'near', object: 1 },
    ]);
    expect(merged.spans).toEqual([
      { caption: 1, start: 0, end: 3, objects: [1] },
      { caption: 2, start: 0, end: 5, objects: [2, 1] },
    ]);
    expect(merged).toMatchObject({ absent: ['cow', 'fox'], split: 'val', regions: [{ phrase: 'a corner' }] });
    expect(counts).toEqual({ 'objects joined': 1 });
  });

  it('name objects anew by their place, but never what people wrote', () => {
    const a = record('x', { objects: [object('dog', 0, { phrase: 'leftmost dog' }), object('dog', 60)] });
    const b = record('x', { objects: [object('dog', 150), object('dog', 60, { phrase: 'the wet dog' })] });
    expect(mergeRecords(a, b, {}).objects.map(({ phrase }) => phrase)).toEqual([
      'leftmost dog',
      'the wet dog',
      'rightmost dog',
    ]);
    const first = record('x', { objects: [object('dog', 60, { phrase: 'dog' })] });
    const second = record('x', { objects: [object('dog', 10), object('dog', 120)] });
    expect(mergeRecords(first, second, {}).objects.map(({ phrase }) => phrase)).toEqual([
      'dog',
      'leftmost dog',
      'rightmost dog',
    ]);
  });

  it('join boxes of IoU 0.95 and above, each once, and never a crowd with a single one', () => {
    const joinedAt = (shift: number, more: Partial<ObjectAnnotation> = {}) => {
      const b = record('x', { objects: [object('dog', shift, more)] });
      return mergeRecords(record('x', { objects: [object('dog', 0)] }), b, {}).objects.length === 1;
    };
    // Shifted by s, two boxes 40 wide have IoU (40 - s) / (40 + s).
    expect([joinedAt(1.02), joinedAt(1.03), joinedAt(0, { crowd: true })]).toEqual([true, false, false]);
    const twice = record('x', { objects: [object('dog', 0), object('dog', 0.5)] });
    expect(mergeRecords(record('x', { objects: [object('dog', 0)] }), twice, {}).objects).toHaveLength(2);
  });

  it('lose and invent nothing', () => {
    const label = fc.constantFrom('a', 'b');
    const objects = fc.array(fc.tuple(label, fc.integer({ min: 0, max: 3 })), { maxLength: 5 });
    const side = fc
      .record({ objects, captions: fc.array(fc.constantFrom('p', 'q', 'r'), { maxLength: 4 }) })
      .map(({ objects: drawn, captions }) =>
        record('x', {
          captions,
          objects: drawn.map(([name, x]) => object(name, 40 * x)),
          relations: drawn.slice(1).map((_, i) => ({ subject: i, predicate: 'then', object: i + 1 })),
          spans: captions.map((_, caption) => ({ caption, start: 0, end: 1, objects: [] })),
        }),
      );
    const said = ({ objects: all, relations, captions, spans = [] }: ImageRecord) => ({
      relations: relations.map(r =>
        [r.subject, r.object].map(i => `${all[i]?.label} ${all[i]?.box.x1}`).join(' > '),
      ),
      captions: [...captions],
      spans: spans.map(span => captions[span.caption]),
    });
    fc.assert(
      fc.property(side, side, (a, b) => {
        const merged = said(mergeRecords(a, b, {}));
        for (const one of [said(a), said(b)]) {
          for (const key of ['relations', 'captions', 'spans'] as const) {
            expect(merged[key]).toEqual(expect.arrayContaining(one[key]));
          }
        }
        expect([...merged.captions].sort()).toEqual([...new Set([...a.captions, ...b.captions])].sort());
      }),
    );
  });
});

describe('merged datasets', () => {
  const picture = (colours: number, format: 'png' | 'jpeg' = 'png') =>
    sharp(
      Uint8Array.from({ length: 64 * 48 * 3 }, (_, i) => ((i * colours) / 97) % 256),
      { raw: { width: 64, height: 48, channels: 3 } },
    )
      [format]()
      .toBuffer()
      .then(bytes => new Uint8Array(bytes));
  const pictured = (id: string, image: Uint8Array, more: Partial<ImageRecord> = {}) =>
    record(id, { image, width: 64, height: 48, ...more });

  async function dataset(folder: string, name: string, records: readonly ImageRecord[]): Promise<string> {
    await writeShards(records, join(folder, name), { builder: 'test', source: {}, batchRows: 2 });
    return join(folder, name);
  }

  async function rowsOf(dir: string): Promise<ImageRecord[]> {
    const opened = await openDataset(dir);
    try {
      return await Promise.all(Array.from({ length: opened.rows }, (_, i) => opened.read(i)));
    } finally {
      await opened.close();
    }
  }

  it('keep the order of first appearance, however little memory there is', async () => {
    const folder = temporaryFolder();
    const image = await picture(3);
    const a = await dataset(
      folder,
      'a',
      ['7', '10', '3'].map(id => pictured(id, image, { captions: [`a${id}`] })),
    );
    const b = await dataset(
      folder,
      'b',
      ['3', '9', '7'].map(id => pictured(id, image, { captions: [`b${id}`] })),
    );
    const out = join(folder, 'out');
    const { report } = await mergeDatasets([a, b], { out, spill: { memoryBytes: 1 } });
    expect((await rowsOf(out)).map(({ id, captions }) => [id, ...captions])).toEqual([
      ['7', 'a7', 'b7'],
      ['10', 'a10'],
      ['3', 'a3', 'b3'],
      ['9', 'b9'],
    ]);
    expect(report.counts).toMatchObject({ records: 4, 'records joined': 2, 'records read': 6 });
    expect(readdirSync(folder).sort()).toEqual(['a', 'b', 'out']);
  });

  it('tell images of one id apart by size and by look, not by compression', async () => {
    const folder = temporaryFolder();
    const [png, jpeg, other] = [await picture(3), await picture(3, 'jpeg'), await picture(41)];
    const a = await dataset(
      folder,
      'a',
      ['1', '2', '3'].map(id => pictured(id, png)),
    );
    const small = await sharp(png).resize(32, 24).png().toBuffer();
    const b = await dataset(folder, 'b', [
      pictured('1', jpeg, { captions: ['same'] }),
      pictured('2', other, { captions: ['other'] }),
      pictured('3', new Uint8Array(small), { width: 32, height: 24 }),
    ]);
    const out = join(folder, 'out');
    const apart = await mergeDatasets([a, b], { out });
    expect((await rowsOf(out)).map(({ id, captions }) => [id, ...captions])).toEqual([
      ['1', 'same'],
      ['2'],
      ['2@2', 'other'],
      ['3'],
      ['3@2'],
    ]);
    expect(apart.report.mended).toEqual({
      'another image: kept apart': 1,
      'image of another size: kept apart': 1,
    });
    const skipped = await mergeDatasets([a, b], { out, overwrite: true, conflicts: 'skip' });
    expect(skipped.manifest.rows).toBe(3);
    expect(skipped.report.skipped).toEqual({ 'another image': 1, 'image of another size': 1 });
    await expect(mergeDatasets([a, b], { out, overwrite: true, conflicts: 'fail' })).rejects.toMatchObject({
      code: 'data',
      message: expect.stringMatching(/b shard-00000.arrow row 1 \(2\): another image/),
    });
    expect(await rowsOf(out)).toHaveLength(3);
    expect(readdirSync(folder).sort()).toEqual(['a', 'b', 'out']);
  });

  it('join other ids by the bytes of the images where that is asked for', async () => {
    const folder = temporaryFolder();
    const [one, two] = [await picture(3), await picture(41)];
    const a = await dataset(folder, 'a', [pictured('x', one), pictured('y', two)]);
    const b = await dataset(folder, 'b', [pictured('z', two, { captions: ['two'] }), pictured('q', one)]);
    const out = join(folder, 'out');
    expect((await mergeDatasets([a, b], { out })).manifest.rows).toBe(4);
    await mergeDatasets([a, b], { out, byContent: true, overwrite: true });
    expect((await rowsOf(out)).map(({ id, captions }) => [id, ...captions])).toEqual([['x'], ['y', 'two']]);
  });

  it('keep links as links; a dataset may take the place of one of its parts', async () => {
    const folder = temporaryFolder();
    const image = await picture(3);
    const path = join(folder, 'image.png');
    await writeFile(path, image);
    const a = await dataset(folder, 'a', [{ ...pictured('1', new Uint8Array(0)), path }]);
    const b = await dataset(folder, 'b', [pictured('1', image, { captions: ['c'] })]);
    await mergeDatasets([a, b], { out: a, overwrite: true });
    expect(await rowsOf(a)).toMatchObject([{ path, image, captions: ['c'] }]);
    const unread = await openDataset(a, { readLinks: false });
    expect((await unread.read(0)).image).toHaveLength(0);
    await unread.close();
  });

  it('want two datasets or more, and leave an old one alone on failure', async () => {
    const folder = temporaryFolder();
    const a = await dataset(folder, 'a', [pictured('1', await picture(3))]);
    const out = join(folder, 'out');
    await expect(mergeDatasets([a], { out })).rejects.toMatchObject({ code: 'usage' });
    await expect(mergeDatasets([a, join(folder, 'none')], { out })).rejects.toMatchObject({ code: 'data' });
    await expect(mergeDatasets([a, a], { out: a })).rejects.toThrow(/holds a dataset already/);
    expect([existsSync(out), (await rowsOf(a)).length]).toEqual([false, 1]);
  });
});
