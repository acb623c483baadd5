import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ObjectAnnotation } from '../../src/data/record.ts';
import { isNamedAlone } from '../../src/data/record.ts';
import { areaOf, boundsOf, encodeMask, runsOf } from '../../src/data/rle.ts';
import { coco } from '../../src/data/sources/coco.ts';
import { withPhrases } from '../../src/data/sources/coco-phrases.ts';
import type { SourceOptions, SourceReader } from '../../src/data/sources/source.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { plainImage } from './sample-records.ts';

const CATEGORIES = [
  { id: 1, name: 'dog' },
  { id: 7, name: 'alarm_clock' },
];

interface Files {
  readonly instances?: object | string;
  readonly captions?: object | string;
  readonly images?: Readonly<Record<string, Uint8Array>>;
}

/** Writes annotation files and images to a folder; returns what `coco` needs. */
async function written(files: Files): Promise<SourceOptions> {
  const folder = temporaryFolder();
  const images = join(folder, 'images');
  await mkdir(images);
  for (const [name, bytes] of Object.entries(files.images ?? {})) await writeFile(join(images, name), bytes);
  const inputs: Record<string, string[]> = { images: [images] };
  for (const kind of ['instances', 'captions'] as const) {
    const content = files[kind];
    if (content === undefined) continue;
    const file = join(folder, `${kind}.json`);
    inputs[kind] = [file];
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  }
  return { inputs };
}

async function all(reader: SourceReader) {
  const records = [];
  for await (const record of reader) records.push(record);
  await reader.close?.();
  return records;
}

/** All records that the options give. */
async function read(options: SourceOptions) {
  return all(await coco.open(options));
}

/** The options with other inputs. */
function withInputs(options: SourceOptions, inputs: Record<string, string[]>): SourceOptions {
  return { ...options, inputs: { ...options.inputs, ...inputs } };
}

const image = (id: number, width = 40, height = 30) => ({ id, file_name: `${id}.png`, width, height });

describe('sound annotations', () => {
  it('become records by image id, boxes as corners, masks, crowds and captions with them', async () => {
    const png = await plainImage(40, 30);
    const runs = [0, 5, 1195];
    const options = await written({
      images: { '9.png': png, '2.png': png, '5.png': png },
      instances: {
        images: [image(9), image(2)],
        categories: CATEGORIES,
        annotations: [
          {
            id: 1,
            image_id: 9,
            category_id: 1,
            bbox: [10, 5, 4, 6],
            iscrowd: 0,
            segmentation: [
              [10, 5, 14, 5, 14, 11, 10, 11],
              [20, 20, 22, 20, 22, 22],
            ],
          },
          {
            id: 2,
            image_id: 9,
            category_id: 7,
            bbox: [0, 0, 1, 5],
            iscrowd: 1,
            segmentation: { size: [30, 40], counts: runs },
          },
        ],
      },
      captions: {
        images: [image(2), image(5)],
        annotations: [
          { id: 1, image_id: 2, caption: ' Two lines\nof text. ' },
          { id: 2, image_id: 2, caption: 'Another.' },
        ],
      },
    });
    const reader = await coco.open(options);
    expect(await reader.count()).toBe(3);
    const records = await all(reader);
    expect(records.map(({ id, captions, objects }) => [id, captions.length, objects.length])).toEqual([
      ['2.png', 2, 0],
      ['5.png', 0, 0],
      ['9.png', 0, 2],
    ]);
    expect(records[0]?.captions).toEqual(['Two lines of text.', 'Another.']);
    expect(records[2]).toMatchObject({ width: 40, height: 30, image: png, relations: [] });
    const [dog, clocks] = records[2]?.objects ?? [];
    expect(dog).toMatchObject({
      label: 'dog',
      phrase: 'dog',
      box: { space: 'pixels', x1: 10, y1: 5, x2: 14, y2: 11 },
    });
    expect(dog?.mask && areaOf(dog.mask)).toBeGreaterThanOrEqual(24);
    expect(dog?.mask && boundsOf(dog.mask)).toMatchObject({ x1: 10, y1: 5, x2: 22 });
    expect(clocks).toMatchObject({ label: 'alarm clock', crowd: true });
    expect(clocks?.mask && runsOf(clocks.mask)).toEqual(runs);
    expect(reader.report).toMatchObject({
      counts: { images: 3, objects: 2, crowds: 1, masks: 2, captions: 2, 'objects listed': 2 },
      skipped: {},
      mended: {},
    });
  });

  it('either file alone will do, a limit holds, masks may stay out', async () => {
    const png = await plainImage(40, 30);
    const annotations = [1, 2, 3].map(id => ({
      id,
      image_id: id,
      category_id: 1,
      bbox: [1, 1, 5, 5],
      segmentation: [[1, 1, 6, 1, 6, 6]],
    }));
    const options = await written({
      images: { '1.png': png, '2.png': png, '3.png': png },
      instances: { images: [image(3), image(1), image(2)], categories: CATEGORIES, annotations },
      captions: { images: [image(1)], annotations: [{ image_id: 1, id: 1, caption: 'a dog' }] },
    });
    const instancesOnly = withInputs(options, { captions: [] });
    const records = await read({ ...instancesOnly, limit: 2, masks: false });
    expect(records.map(record => record.id)).toEqual(['1.png', '2.png']);
    expect(records.flatMap(record => record.objects).some(object => object.mask)).toBe(false);
    const captionsOnly = withInputs(options, { instances: [] });
    expect(await read(captionsOnly)).toMatchObject([{ captions: ['a dog'], objects: [] }]);
    await expect(read(withInputs(captionsOnly, { captions: [] }))).rejects.toMatchObject({ code: 'usage' });
  });
});

/** The reader's result for one image of 40 x 30 pixels with these annotations. */
async function annotated(annotations: readonly object[], other: Partial<Files> = {}) {
  const options = await written({
    images: { '1.png': await plainImage(40, 30) },
    instances: {
      images: [image(1)],
      categories: CATEGORIES,
      annotations: annotations.map((annotation, id) => ({ id, image_id: 1, category_id: 1, ...annotation })),
    },
    ...other,
  });
  const reader = await coco.open(options);
  const records = await all(reader);
  return { objects: records[0]?.objects ?? [], report: reader.report };
}

describe('broken annotations', () => {
  it.each([
    ['box without area', { bbox: [1, 1, 0, 5] }],
    ['box without area', { bbox: [10, 10, -4, -4] }],
    ['box outside of the image', { bbox: [50, 2, 4, 4] }],
    ['box outside of the image', { bbox: [1, -9, 4, 4] }],
    ['object without a box', { bbox: null }],
    ['object without a box', { bbox: [1, 2, 3] }],
    ['object without a box', { bbox: [1, 2, 3, 'x'] }],
    ['object without a box', {}],
    ['object of an unknown category', { bbox: [1, 1, 4, 4], category_id: 99 }],
    ['annotation of an unknown image', { bbox: [1, 1, 4, 4], image_id: 99 }],
    ['annotation of an unknown image', { bbox: [1, 1, 4, 4], image_id: null }],
    ['annotation listed twice', { bbox: [1, 1, 4, 4], id: 0 }],
  ])('%s: %o is left out and counted', async (reason, annotation) => {
    const good = { bbox: [2, 2, 4, 4] };
    const { objects, report } = await annotated([good, annotation]);
    expect(objects).toHaveLength(1);
    expect(objects[0]?.box).toMatchObject({ x1: 2, y1: 2, x2: 6, y2: 6 });
    expect(report.skipped).toEqual({ [reason]: 1 });
  });

  it.each([
    ['box cut at the edge of the image', { bbox: [-3, 20, 10, 30] }, [0, 20, 7, 30]],
    [
      'polygon of fewer than three points dropped',
      { bbox: [1, 1, 4, 4], segmentation: [[1, 1, 5, 5]] },
      null,
    ],
    [
      'mask of another size dropped',
      { bbox: [1, 1, 4, 4], segmentation: { size: [9, 9], counts: [81] } },
      null,
    ],
    [
      'mask without a pixel dropped',
      { bbox: [1, 1, 4, 4], segmentation: { size: [30, 40], counts: [1200] } },
      null,
    ],
    ['mask dropped: ', { bbox: [1, 1, 4, 4], segmentation: { size: [30, 40], counts: [1] } }, null],
    ['mask dropped: ', { bbox: [1, 1, 4, 4], segmentation: { size: [30, 40], counts: 'P' } }, null],
  ])('%s, the object stays', async (reason, annotation, box) => {
    const { objects, report } = await annotated([annotation]);
    expect(objects).toHaveLength(1);
    expect(objects[0]?.mask).toBeUndefined();
    if (box) expect(Object.values(objects[0]?.box ?? {}).slice(1)).toEqual(box);
    expect(report.skipped).toEqual({});
    expect(Object.keys(report.mended)).toEqual([expect.stringContaining(reason)]);
  });

  it('decimals that just miss the edge are no news', async () => {
    const { objects, report } = await annotated([{ bbox: [30.01, 3, 10, 10] }]);
    expect(objects[0]?.box.x2).toBe(40);
    expect(report.mended).toEqual({});
  });

  it('a mask without a box gives the box', async () => {
    const mask = encodeMask({
      width: 40,
      height: 30,
      data: new Uint8Array(1200).map((_, i) => Number(i % 40 === 7)),
    });
    const { objects } = await annotated([{ segmentation: { size: [30, 40], counts: mask.counts } }]);
    expect(objects[0]?.box).toMatchObject({ x1: 7, y1: 0, x2: 8, y2: 30 });
    expect(objects[0]?.mask).toEqual(mask);
  });

  it('images that are missing, unreadable, of another size, listed twice or nameless are counted', async () => {
    const png = await plainImage(40, 30);
    const options = await written({
      images: { '1.png': png, '3.png': png.subarray(0, 20), '4.png': png },
      instances: {
        images: [
          image(1),
          image(1),
          image(2),
          image(3),
          image(4, 30, 40),
          { id: 5 },
          { id: 6, file_name: '../x.png' },
        ],
        categories: CATEGORIES,
        annotations: [],
      },
    });
    const reader = await coco.open(options);
    expect((await all(reader)).map(record => record.id)).toEqual(['1.png']);
    expect(reader.report.skipped).toEqual({
      'image listed twice': 1,
      'image without an id or a file name': 2,
      'image file missing': 1,
      'image file not readable': 1,
      'image of another size than annotated': 1,
    });
  });

  it('a wrong image folder is told, with a file it should hold', async () => {
    const instances = { images: [image(8)], categories: CATEGORIES, annotations: [] };
    const options = await written({ instances });
    await expect(read(options)).rejects.toMatchObject({
      code: 'data',
      message: expect.stringContaining('none of the 1 annotated images'),
      hint: expect.stringContaining('8.png'),
    });
    await expect(read(withInputs(options, { images: ['/nowhere'] }))).rejects.toThrow(
      /image folder \/nowhere/,
    );
  });

  it.each([
    ['no JSON', '{"images": [', /:1:13: the file ends where a value was expected/],
    ['a list', '[]', /:1:1: expected an object with a list "images"/],
    ['no categories', { images: [], annotations: [] }, /no list "categories"/],
    [
      'odd entries',
      { images: [1], categories: [], annotations: [] },
      /:1:12: expected an object in the list "images"/,
    ],
  ])('%s is no annotation file', async (_, instances, message) => {
    await expect(read(await written({ instances }))).rejects.toThrow(message);
  });

  it('an instances file is not taken for captions; empty captions are counted', async () => {
    const images = [image(1)];
    const swapped = await written({
      captions: { images, annotations: [{ image_id: 1, bbox: [1, 2, 3, 4] }] },
    });
    await expect(read(swapped)).rejects.toThrow(/no caption/);
    const captions = { images, annotations: [{ id: 1, image_id: 1, caption: ' \n' }] };
    const reader = await coco.open(
      await written({ captions, images: { '1.png': await plainImage(40, 30) } }),
    );
    expect(await all(reader)).toMatchObject([{ captions: [] }]);
    expect(reader.report.skipped).toEqual({ 'empty caption': 1 });
    const missing = { inputs: { images: ['.'], captions: ['/nowhere.json'] } };
    await expect(read(missing)).rejects.toMatchObject({ code: 'io' });
  });
});

describe('phrases', () => {
  const size = { width: 100, height: 100 };
  const dog = (x: number, y: number, side: number, crowd = false): ObjectAnnotation => ({
    label: 'dog',
    phrase: 'dog',
    attributes: [],
    box: { space: 'pixels', x1: x - side / 2, y1: y - side / 2, x2: x + side / 2, y2: y + side / 2 },
    ...(crowd ? { crowd } : {}),
  });
  const phrases = (objects: readonly ObjectAnnotation[]) => {
    const named = withPhrases(objects, size);
    return named.map((object, i) => `${object.phrase}${isNamedAlone(named, i) ? '' : '?'}`);
  };

  it('an only one keeps its label', () => {
    expect(phrases([dog(50, 50, 10), { ...dog(20, 20, 10), label: 'cat', phrase: 'cat' }])).toEqual([
      'dog',
      'cat',
    ]);
  });

  it('several are told apart by place, then by size', () => {
    expect(phrases([dog(20, 50, 10), dog(80, 50, 10)])).toEqual(['leftmost dog', 'rightmost dog']);
    expect(phrases([dog(50, 20, 10), dog(50, 80, 10)])).toEqual(['topmost dog', 'bottommost dog']);
    expect(phrases([dog(50, 50, 40), dog(51, 50, 10)])).toEqual(['largest dog', 'smallest dog']);
    expect(phrases([dog(20, 50, 10), dog(50, 50, 12), dog(80, 50, 10)])).toEqual([
      'leftmost dog',
      'dog?',
      'rightmost dog',
    ]);
  });

  it('what is not beyond doubt is not said', () => {
    expect(phrases([dog(50, 50, 10), dog(55, 52, 11)])).toEqual(['dog?', 'dog?']);
    expect(phrases([dog(20, 50, 10), dog(80, 50, 40, true)])).toEqual(['dog?', 'dog?']);
    expect(phrases([dog(50, 50, 30, true)])).toEqual(['dog?']);
  });
});
