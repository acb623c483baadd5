import { mkdirSync, readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { areaOf, boundsOf, decodeMask } from '../../../src/data/rle.ts';
import { coco, lvis } from '../../../src/data/sources/coco.ts';
import { labelsOf } from '../../../src/data/sources/coco-labels.ts';
import { segmentMasks } from '../../../src/data/sources/coco-panoptic.ts';
import { imageIdOf } from '../../../src/data/sources/image-id.ts';
import type { SourceFormat, SourceOptions } from '../../../src/data/sources/source.ts';
import { temporaryFolder } from '../../helpers/folder.ts';
import { findPython, runPython } from '../../helpers/python.ts';
import { plainImage } from '../sample-records.ts';

/** Writes files (JSON or bytes) below a folder. */
async function files(folder: string, contents: Readonly<Record<string, object>>): Promise<void> {
  for (const [name, content] of Object.entries(contents)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content instanceof Uint8Array ? content : JSON.stringify(content));
  }
}

async function read(
  format: SourceFormat,
  inputs: Record<string, string[]>,
  options: Partial<SourceOptions> = {},
) {
  const reader = await format.open({ inputs, ...options });
  try {
    const records = [];
    for await (const record of reader) records.push(record);
    return { records, report: reader.report };
  } finally {
    await reader.close?.();
  }
}

const size = { width: 40, height: 30 };

describe('category names', () => {
  it.each([
    [
      ['alarm_clock', 'bow_(weapon)', 'bow_(decorative_ribbons)', 'car_(automobile)'],
      true,
      ['alarm clock', 'bow (weapon)', 'bow (decorative ribbons)', 'car'],
    ],
    [['fish', 'fish_(food)', 'T-shirt'], true, ['fish', 'fish (food)', 'T-shirt']],
    [
      [
        'sky-other-merged',
        'wall-brick',
        'wall-other-merged',
        'floor-wood',
        'window-blind',
        'door-stuff',
        'water-other',
      ],
      false,
      ['sky', 'brick wall', 'wall', 'wood floor', 'window blind', 'door', 'water'],
    ],
  ])('%o read well', (names, thing, labels) => {
    const categories = names.map((name, id) => ({ id, name, ...(thing ? {} : { isthing: 0 }) }));
    expect([...labelsOf(categories).values()]).toEqual(labels.map(label => ({ label, thing })));
  });

  it('of entries without one are none', () => {
    expect(labelsOf([{ id: 1 }, { name: 'x' }, { id: 2, name: ' ' }, { id: 3, name: 4 }, null]).size).toBe(0);
  });
});

describe('ids of images', () => {
  it.each([
    ['COCO_train2014_000000123456.jpg', 'coco-123456'],
    ['train2017/000000000009.jpg', 'coco-9'],
    ['coco/train2014/COCO_train2014_000000581857_16.jpg', 'coco-581857'],
    ['http://images.example/val2017/000000000139.jpg', 'coco-139'],
    ['vg/VG_100K/2349.jpg', 'vg-2349'],
    ['gqa/images/2349.jpg', 'vg-2349'],
    ['flickr30k-images/1000092795.jpg', 'flickr30k-1000092795'],
    ['train_images/0054c91397f2fe05.jpg', 'openimages-0054c91397f2fe05'],
    ['my photos/dog.jpg', 'my photos/dog.jpg'],
    ['./dog.PNG', 'dog.PNG'],
    ['2349.jpg', '2349.jpg'],
  ])('%s is %s', (name, id) => {
    expect(imageIdOf(name)).toBe(id);
  });
});

describe('LVIS', () => {
  const image = {
    id: 7,
    coco_url: 'http://images.example/train2017/000000000007.jpg',
    ...size,
    neg_category_ids: [2, 5, 99],
    not_exhaustive_category_ids: [3],
  };
  const categories = [
    { id: 1, name: 'alarm_clock', frequency: 'f' },
    { id: 2, name: 'bow_(weapon)', frequency: 'r' },
    { id: 3, name: 'cup', frequency: 'c' },
    { id: 5, name: 'zebra', frequency: 'f' },
  ];
  const annotation = (id: number, category: number, x: number) => ({
    id,
    image_id: 7,
    category_id: category,
    bbox: [x, 5, 6, 6],
    segmentation: [[x, 5, x + 6, 5, x + 6, 11, x, 11]],
  });

  it('is read with absent labels; what is not counted fully is no single object', async () => {
    const folder = temporaryFolder();
    await files(folder, {
      'lvis_v1_val.json': {
        images: [image],
        annotations: [annotation(1, 1, 2), annotation(2, 3, 20)],
        categories,
      },
      // LVIS's validation images are COCO's of both splits.
      'coco/train2017/000000000007.jpg': await plainImage(40, 30),
    });
    const instances = [join(folder, 'lvis_v1_val.json')];
    const { records, report } = await read(lvis, { images: [join(folder, 'coco')], instances });
    expect(records).toMatchObject([
      {
        id: 'coco-7',
        split: 'val',
        absent: ['bow', 'zebra'],
        objects: [{ label: 'alarm clock' }, { label: 'cup', crowd: true }],
      },
    ]);
    expect(records[0]?.objects[0]?.crowd).toBeUndefined();
    expect(report.counts).toMatchObject({
      objects: 2,
      'objects of labels not annotated exhaustively': 1,
      'absent labels': 2,
    });
    const flat = await read(lvis, { images: [join(folder, 'coco/train2017')], instances });
    expect(flat.records).toHaveLength(1);
    await expect(read(lvis, { images: ['.'] })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('--instances'),
    });
    await expect(read(lvis, { images: ['.'], instances, panoptic: ['x'] })).rejects.toMatchObject({
      code: 'usage',
    });
  });
});

/** A PNG whose pixels are these segment ids (panopticapi's colours). */
function panopticPng(ids: ArrayLike<number>, width: number, height: number): Promise<Buffer> {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const id = ids[i] ?? 0;
    data.set([id & 255, (id >> 8) & 255, id >> 16], 3 * i);
  }
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

describe('panoptic segments', () => {
  const [dog, sky, gone] = [70_000, 300, 5];
  const pixels = Array.from({ length: 1200 }, (_, i) =>
    i % 40 < 10 ? (i < 400 ? dog : 0) : i < 600 ? sky : 0,
  );
  const categories = [
    { id: 1, name: 'dog', isthing: 1 },
    { id: 187, name: 'sky-other-merged', isthing: 0 },
  ];
  const images = [{ id: 1, file_name: '000000000001.jpg', ...size }];
  const segments = [
    { id: dog, category_id: 1, iscrowd: 0, bbox: [0, 0, 10, 10], area: 100 },
    { id: sky, category_id: 187, iscrowd: 0, bbox: [10, 0, 30, 15], area: 450 },
    { id: gone, category_id: 1, iscrowd: 1, bbox: [1, 1, 2, 2], area: 4 },
    { id: 6, category_id: 50, bbox: [1, 1, 2, 2] },
  ];

  async function panopticFolder() {
    const folder = temporaryFolder();
    await files(folder, {
      'panoptic.json': {
        annotations: [{ image_id: 1, file_name: '1.png', segments_info: segments }],
        images,
        categories,
      },
      'instances.json': {
        images,
        categories: categories.slice(0, 1),
        annotations: [{ id: 1, image_id: 1, category_id: 1, bbox: [0, 0, 9, 9] }],
      },
      'images/000000000001.jpg': await plainImage(40, 30),
      'masks/1.png': await panopticPng(pixels, 40, 30),
    });
    const at = (name: string) => [join(folder, name)];
    const inputs = { images: at('images'), panoptic: at('panoptic.json'), 'panoptic-masks': at('masks') };
    return { folder, inputs, instances: at('instances.json') };
  }

  it('become objects with masks; stuff is no single object', async () => {
    const { inputs } = await panopticFolder();
    const { records, report } = await read(coco, inputs);
    const objects = records[0]?.objects ?? [];
    expect(objects).toMatchObject([
      { label: 'dog' },
      { label: 'sky', crowd: true },
      { label: 'dog', crowd: true },
    ]);
    expect(objects.map(({ mask }) => mask && areaOf(mask))).toEqual([100, 450, undefined]);
    expect(objects[1]?.mask && boundsOf(objects[1].mask)).toEqual(objects[1]?.box);
    expect(report).toMatchObject({
      counts: { 'segments listed': 4, objects: 3, stuff: 1, crowds: 2, masks: 2 },
      skipped: { 'segment of an unknown category': 1 },
      mended: { 'segment without a pixel: its box stays': 2 },
    });
    expect((await read(coco, inputs, { masks: false })).records[0]?.objects.some(({ mask }) => mask)).toBe(
      false,
    );
  });

  it('leave things to the instances of the image, and need masks of the right kind', async () => {
    const { inputs, instances, folder } = await panopticFolder();
    const both = await read(coco, { ...inputs, instances });
    expect(both.records[0]?.objects.map(({ label }) => label)).toEqual(['dog', 'sky']);
    expect(both.report.skipped).toMatchObject({ 'thing segment of an image that has instances': 2 });
    const { 'panoptic-masks': _, ...unmasked } = inputs;
    await expect(read(coco, unmasked)).rejects.toMatchObject({ code: 'usage' });
    await expect(read(coco, { images: inputs.images, instances: inputs.panoptic })).rejects.toThrow(
      /has segments_info/,
    );
    await expect(read(coco, { ...inputs, panoptic: instances })).rejects.toThrow(/no segments_info/);
    for (const [png, problem] of [
      [await panopticPng(pixels, 30, 40), 'panoptic mask of another size'],
      [
        await sharp(new Uint8Array(1200), { raw: { ...size, channels: 1 } })
          .toColourspace('b-w')
          .png()
          .toBuffer(),
        'panoptic mask not readable',
      ],
      [Buffer.from('no image'), 'panoptic mask not readable'],
    ] as const) {
      await writeFile(join(folder, 'masks/1.png'), png);
      const { records, report } = await read(coco, inputs);
      expect(report.mended).toEqual({ [`${problem}: boxes stay`]: 1 });
      expect(records[0]?.objects).toHaveLength(3);
    }
    await mkdir(join(folder, 'empty'));
    const missing = await read(coco, { ...inputs, 'panoptic-masks': [join(folder, 'empty')] });
    expect(missing.report.mended).toEqual({ 'panoptic mask missing: boxes stay': 1 });
  });

  it('are cut out to the pixel', () => {
    const data = Uint8Array.from([1, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0]);
    const masks = segmentMasks(data, 3, { width: 3, height: 2 });
    expect([...masks.keys()].sort()).toEqual([1, 2]);
    expect([...decodeMask(masks.get(1)!).data]).toEqual([1, 0, 1, 0, 0, 1]);
    expect([...decodeMask(masks.get(2)!).data]).toEqual([0, 1, 0, 0, 1, 0]);
  });
});

describe('several files', () => {
  const instances = (ids: readonly number[], more: object = {}) => ({
    annotations: ids.map(id => ({ id, image_id: id, category_id: 1, bbox: [1, 1, 5, 5], ...more })),
    images: ids.map(id => ({ id, file_name: `${id}.png`, ...size })),
    categories: [{ id: 1, name: 'dog' }],
  });

  it('have their own categories and splits; folders are searched in turn', async () => {
    const folder = temporaryFolder();
    const png = await plainImage(40, 30);
    await files(folder, {
      'train.json': instances([1, 3]),
      'my_val2017.json': { ...instances([2]), categories: [{ id: 1, name: 'cat' }] },
      'a/1.png': png,
      'a/3.png': png,
      'b/2.png': png,
    });
    const inputs = {
      images: [join(folder, 'a'), join(folder, 'b')],
      instances: [join(folder, 'train.json'), join(folder, 'my_val2017.json')],
    };
    const { records } = await read(coco, inputs);
    expect(records.map(({ id, split, objects }) => [id, split, objects[0]?.label])).toEqual([
      ['1.png', 'train', 'dog'],
      ['2.png', 'val', 'cat'],
      ['3.png', 'train', 'dog'],
    ]);
    const val = await read(coco, inputs, { split: 'val' });
    expect([val.records.length, val.report.skipped]).toEqual([
      1,
      { 'image of another split': 2, 'annotation of an image that was left out': 2 },
    ]);
    const linked = await read(coco, inputs, { link: true, limit: 1 });
    expect(linked.records).toMatchObject([{ path: join(folder, 'a/1.png'), image: new Uint8Array(0) }]);
  });

  it('that mean different images by one id are refused', async () => {
    const folder = temporaryFolder();
    const other = { ...instances([1]), images: [{ id: 1, file_name: 'other.png', ...size }] };
    await files(folder, {
      'train.json': instances([1]),
      'val.json': other,
      'images/1.png': await plainImage(40, 30),
    });
    const inputs = {
      images: [join(folder, 'images')],
      instances: ['train', 'val'].map(n => join(folder, `${n}.json`)),
    };
    await expect(read(coco, inputs)).rejects.toMatchObject({
      code: 'data',
      message: expect.stringMatching(/image 1 is 1\.png in .*train\.json and other\.png in .*val\.json/),
      hint: expect.stringContaining('ground data merge'),
    });
  });

  it('with ids as texts, images of two ids, and more than memory holds', async () => {
    const folder = temporaryFolder();
    const { annotations, categories } = instances([1, 2, 3, 4]);
    const images = [
      { id: '10', file_name: 'x.png', ...size },
      { id: 9, file_name: 'x.png', ...size },
      { id: 'img', file_name: 'y.png', ...size },
    ];
    const owners = [10, 'img', '9', 'nobody'];
    await files(folder, {
      'all.json': {
        images,
        annotations: annotations.map((a, i) => ({ ...a, image_id: owners[i] })),
        categories,
      },
      'images/x.png': await plainImage(40, 30),
      'images/y.png': await plainImage(40, 30),
    });
    const inputs = { images: [join(folder, 'images')], instances: [join(folder, 'all.json')] };
    const spill = { folder, memoryBytes: 1 };
    const all = await read(coco, inputs);
    const spilled = await read(coco, inputs, { spill });
    expect(spilled).toEqual(all);
    expect(all.records.map(({ id, objects }) => [id, objects.length])).toEqual([
      ['x.png', 1],
      ['x.png#10', 1],
      ['y.png', 1],
    ]);
    expect(all.report).toMatchObject({
      skipped: { 'annotation of an unknown image': 1 },
      mended: { 'image file of two image ids': 1 },
      examples: { 'annotation of an unknown image': ['image nobody'] },
    });
    expect(readdirSync(folder).sort()).toEqual(['all.json', 'images']);
  });
});

const python = findPython(['pycocotools', 'numpy']);

it.skipIf(!python)('counts, boxes and masks are those of pycocotools', async () => {
  const folder = temporaryFolder();
  const polygon = [3.2, 4.1, 20.7, 6.3, 33.9, 28.4, 11.5, 25.2];
  await files(folder, {
    'instances.json': {
      info: {},
      categories: [
        { id: 1, name: 'dog' },
        { id: 2, name: 'cat' },
      ],
      annotations: [
        {
          id: 1,
          image_id: 5,
          category_id: 1,
          iscrowd: 0,
          area: 1,
          bbox: [3.2, 4.1, 30.7, 24.3],
          segmentation: [polygon],
        },
        {
          id: 2,
          image_id: 5,
          category_id: 2,
          iscrowd: 1,
          area: 1,
          bbox: [0, 0, 40, 30],
          segmentation: { size: [30, 40], counts: [100, 500, 600] },
        },
        {
          id: 3,
          image_id: 2,
          category_id: 1,
          iscrowd: 0,
          area: 1,
          bbox: [1, 1, 10, 10],
          segmentation: [[1, 1, 11, 1, 11, 11], polygon],
        },
      ],
      images: [
        { id: 5, file_name: '5.png', ...size },
        { id: 2, file_name: '2.png', ...size },
      ],
    },
    'images/5.png': await plainImage(40, 30),
    'images/2.png': await plainImage(40, 30),
  });
  const file = join(folder, 'instances.json');
  const { records } = await read(coco, { images: [join(folder, 'images')], instances: [file] });
  const script = `
import json, sys, contextlib, io
from pycocotools.coco import COCO
with contextlib.redirect_stdout(io.StringIO()): coco = COCO(sys.argv[1])
out = []
for image in sorted(coco.getImgIds()):
    for ann in coco.loadAnns(coco.getAnnIds(imgIds=[image])):
        name = coco.loadCats([ann['category_id']])[0]['name']
        out.append([name, bool(ann['iscrowd']), coco.annToMask(ann).flatten().tolist()])
print(json.dumps(out))`;
  const found = records.flatMap(({ objects }) =>
    objects.map(({ label, crowd, mask }) => [
      label,
      crowd === true,
      mask ? [...decodeMask(mask).data] : null,
    ]),
  );
  expect(found).toEqual(JSON.parse(runPython(python ?? '', script, [file])));
});
