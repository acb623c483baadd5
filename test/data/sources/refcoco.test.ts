import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expressionsOf } from '../../../src/data/record.ts';
import { refcoco } from '../../../src/data/sources/refcoco.ts';
import type { SourceOptions } from '../../../src/data/sources/source.ts';
import { plainImage } from '../sample-records.ts';
import { filesIn, readAll } from './files.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures/refcoco');

const square = (id: number, image: number, x: number, more: object = {}) => ({
  id,
  image_id: image,
  category_id: 1,
  bbox: [x, 5, 10, 10],
  segmentation: [[x, 5, x + 10, 5, x + 10, 15, x, 15]],
  iscrowd: 0,
  ...more,
});

/** The instances that the refs of the fixtures speak of, and some that they do not. */
const INSTANCES = {
  images: [
    { id: 9, file_name: 'COCO_train2014_000000000009.jpg', width: 40, height: 30 },
    { id: 7, file_name: 'COCO_train2014_000000000007.jpg', width: 40, height: 30 },
    { id: 8, file_name: 'COCO_train2014_000000000008.jpg', width: 40, height: 30 },
  ],
  annotations: [
    square(101, 7, 0),
    square(102, 7, 15),
    square(103, 7, 30, { category_id: 2 }),
    square(104, 9, 3),
    square(105, 9, 20, { iscrowd: 1 }),
    square(106, 8, 3),
  ],
  categories: [
    { id: 1, name: 'dog' },
    { id: 2, name: 'stop_sign' },
  ],
};

interface Given {
  readonly refs?: unknown;
  readonly refsName?: string;
  readonly instances?: unknown;
  readonly images?: readonly string[];
  readonly size?: readonly [number, number];
}

/** A folder with refs (those of the fixtures, unless others are given), instances and images; returns the inputs. */
async function folderOf(given: Given = {}): Promise<{ folder: string; options: SourceOptions }> {
  const png = await plainImage(...(given.size ?? [40, 30]));
  const names = given.images ?? ['COCO_train2014_000000000007.jpg', 'COCO_train2014_000000000009.jpg'];
  const name = given.refsName ?? 'refs(unc).p';
  const folder = filesIn({
    'instances.json': given.instances ?? INSTANCES,
    ...Object.fromEntries(names.map(file => [`images/${file}`, png])),
    ...(given.refs === undefined ? {} : { [name]: given.refs }),
  });
  if (given.refs === undefined) cpSync(join(FIXTURES, 'refs-python2.p'), join(folder, name));
  const paths = { refs: [join(folder, name)], instances: [join(folder, 'instances.json')] };
  return { folder, options: { inputs: { ...paths, images: [join(folder, 'images')] } } };
}

const ref = (
  annotation: unknown,
  image: unknown,
  sentences: readonly unknown[],
  split: unknown = 'train',
) => ({
  ref_id: 1,
  ann_id: annotation,
  image_id: image,
  category_id: 1,
  split,
  sentences: sentences.map(sent => (typeof sent === 'string' ? { sent, raw: sent } : sent)),
});

describe('refs and instances', () => {
  it('become objects of which those that sentences mean have expressions', async () => {
    const { options } = await folderOf();
    const { records, report, listed } = await readAll(refcoco, options);
    expect(listed).toBe(2);
    expect(records.map(({ id, split }) => [id, split])).toEqual([
      ['coco-7', 'train+val'],
      ['coco-9', 'testA'],
    ]);
    const [first, second] = records;
    expect(first?.objects.map(({ label, phrase, expressions }) => [label, phrase, expressions])).toEqual([
      ['dog', 'leftmost dog', ['the dog on the left', 'dog left']],
      ['dog', 'rightmost dog', undefined],
      ['stop sign', 'stop sign', ['café sign — “open” 🐈', "it's the man's \\ sign"]],
    ]);
    expect(first?.objects[0]).toMatchObject({
      box: { space: 'pixels', x1: 0, y1: 5, x2: 10, y2: 15 },
      mask: { size: [30, 40] },
    });
    expect(second?.objects.map(({ crowd, expressions }) => [crowd, expressions])).toEqual([
      [undefined, ['dog behind the chair']],
      [true, undefined],
    ]);
    // Three refs of seven sentences: one is empty, one is said twice.
    expect(report.counts).toMatchObject({ images: 2, objects: 5, refs: 3, expressions: 5, masks: 5 });
    expect(report.counts['images of several splits']).toBe(1);
    expect(report.skipped).toEqual({ 'empty expression': 1, 'expression said twice': 1 });
  });

  it.each(['protocol0', 'protocol2', 'protocol4'])('read the same of %s and of JSON', async name => {
    const { folder, options } = await folderOf();
    const expected = await readAll(refcoco, options);
    cpSync(join(FIXTURES, `refs-${name}.p`), join(folder, 'refs(unc).p'));
    expect(await readAll(refcoco, options)).toEqual(expected);
  });

  it('of one split know only its sentences', async () => {
    const { options } = await folderOf();
    const { records, report } = await readAll(refcoco, { ...options, split: 'val' });
    expect(records.map(({ id, split }) => [id, split])).toEqual([['coco-7', 'val']]);
    expect(records[0]?.objects.map(({ expressions }) => expressions?.length)).toEqual([
      undefined,
      undefined,
      2,
    ]);
    expect(report.counts).toMatchObject({ refs: 1, expressions: 2, objects: 3 });
    await expect(readAll(refcoco, { ...options, split: 'testB' })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('no refs of the split "testB"'),
      hint: 'it has train (1), val (1), testA (1)',
    });
  });

  it("find images under COCO's names of 2014 and of 2017, in folders or without", async () => {
    for (const name of [
      '000000000007.jpg',
      'train2017/000000000007.jpg',
      'train2014/COCO_train2014_000000000007.jpg',
    ]) {
      const { options } = await folderOf({ images: [name] });
      const { records, report } = await readAll(refcoco, options);
      expect(
        records.map(({ id }) => id),
        name,
      ).toEqual(['coco-7']);
      expect(report.skipped['image file missing'], name).toBe(1);
    }
  });

  it('are read as JSON, in which everything may be odd', async () => {
    const { options } = await folderOf({
      refsName: 'refs.json',
      refs: [
        ref(101, 7, [
          '  the  left\tdog ',
          'The left dog',
          { raw: 'Raw only' },
          { tokens: ['two', 'words'] },
          {},
          5,
        ]),
        ref(101, 7, ['a second ref'], 'train'),
        ref(999, 7, ['nowhere']),
        ref(101, 12, ['on no image']),
        ref(104, 7, ['on another image']),
        ref(null, 7, ['nothing']),
        ref([101, 102], 7, ['both']),
        ref(102, 7, ['no split'], ''),
        { ...ref(102, 7, []), sentences: null },
        ref(102, 7, []),
        'text',
        ref(107, 7, ['an empty box']),
        ref(108, 11, ['on an image that is not listed']),
      ],
      instances: {
        ...INSTANCES,
        annotations: [
          ...INSTANCES.annotations,
          square(107, 7, 3, { bbox: [3, 3, 0, 4] }),
          square(108, 11, 3),
          square(101, 7, 0),
          'text',
        ],
      },
    });
    const { records, report } = await readAll(refcoco, options);
    expect(records.map(({ objects }) => objects.map(({ expressions }) => expressions))).toEqual([
      [['the left dog', 'Raw only', 'two words', 'a second ref'], undefined, undefined],
    ]);
    expect(report.skipped).toEqual({
      'ref that is no object': 1,
      'ref without an annotation or an image': 1,
      'ref of several objects or of none': 1,
      'ref without a split': 1,
      'ref without sentences': 1,
      'ref to an unknown annotation': 1,
      'ref to an unknown image': 1,
      'ref to an annotation of another image': 2,
      'ref to an object that was left out': 1,
      'annotation listed twice': 1,
      'annotation that is no object': 1,
      'box without area': 1,
      'empty expression': 2,
      'expression said twice': 1,
    });
  });

  it('do without sizes and categories; a wrong size is no image of theirs', async () => {
    const bare = { images: [{ id: 7 }, { id: 9 }], annotations: INSTANCES.annotations };
    const { options } = await folderOf({ instances: bare });
    const { records } = await readAll(refcoco, options);
    expect(records[0]?.objects[0]).toMatchObject({ label: 'object' });
    expect(records).toHaveLength(2);
    const { options: other } = await folderOf({ size: [30, 40] });
    await expect(readAll(refcoco, other)).rejects.toThrow(/image of another size than annotated: 2/);
  });

  it('keep masks only where they are wanted, and no more records than that', async () => {
    const { options } = await folderOf();
    const { records } = await readAll(refcoco, { ...options, masks: false, limit: 1 });
    expect(records).toHaveLength(1);
    expect(records[0]?.objects.every(({ mask }) => mask === undefined)).toBe(true);
  });

  it.each([
    ['a list of numbers', [1, 2], /ref 0 is no ref of RefCOCO/],
    ['an empty list', [], /holds no refs at all/],
    ['a conversation file', [{ id: 1, conversations: [] }], /ref 0 is no ref of RefCOCO/],
    ['text', 'hello', /neither JSON nor a pickle of plain data: at byte 0/],
    ['a pickled dict', '}.', /is a pickle, but of no list/],
    ['a program', "cos\nsystem\n(S'true'\ntR.", /os\.system, which is not plain data/],
    ['an instances file', INSTANCES, /an image has no caption, so this is no MDETR-style file/],
    ['another object', { a: 1 }, /has no list "images"/],
    ['cut JSON', '[{"ann_id": 1', /file ends inside the value/],
  ])('refuse %s', async (_, refs, message) => {
    const { options } = await folderOf({ refs });
    await expect(readAll(refcoco, options)).rejects.toMatchObject({
      code: 'data',
      message: expect.stringMatching(message),
    });
  });

  it('need instances, of the right kind; two files of refs are two datasets', async () => {
    const { folder, options } = await folderOf();
    const { instances: _, ...inputs } = options.inputs;
    await expect(readAll(refcoco, { inputs })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(/needs --instances FILE/),
    });
    await expect(readAll(refcoco, { inputs: { images: inputs.images ?? [] } })).rejects.toMatchObject({
      code: 'usage',
    });
    const two = { ...options.inputs, refs: [...(inputs.refs ?? []), join(folder, 'refs(google).p')] };
    await expect(readAll(refcoco, { inputs: two })).rejects.toMatchObject({ code: 'usage' });
    await expect(
      readAll(refcoco, { inputs: { ...options.inputs, refs: [join(folder, 'nothing')] } }),
    ).rejects.toMatchObject({ code: 'io' });
  });
});

describe('the MDETR-style form', () => {
  const entry = (id: number, file: string, caption: unknown, more: object = {}) => ({
    file_name: file,
    height: 30,
    width: 40,
    id,
    original_id: 7,
    caption,
    dataset_name: 'refcoco',
    ...more,
  });
  const box = (id: number, sentence: number, original: number | undefined, bbox: unknown) => ({
    id,
    image_id: sentence,
    category_id: 1,
    bbox,
    original_id: original,
    iscrowd: 0,
    tokens_positive: [[0, 3]],
  });
  const seven = 'COCO_train2014_000000000007.jpg';
  const JSON_FILE = {
    info: [],
    images: [
      entry(0, seven, 'the dog on the left'),
      entry(1, seven, 'left dog'),
      entry(2, seven, 'stop sign'),
      entry(3, 'COCO_train2014_000000000009.jpg', 'dog \u{1F408}'),
    ],
    annotations: [
      box(0, 0, 101, [0, 5, 10, 10]),
      box(1, 1, 101, [0, 5, 10, 10]),
      box(2, 2, 103, [30, 5, 10.5, 10]),
      box(3, 3, 104, [3, 5, 10, 10]),
    ],
    categories: [{ id: 1, name: 'object', supercategory: 'object' }],
  };

  it('is merged by image, its sentences by object; the split is in its name', async () => {
    const { options } = await folderOf({ refs: JSON_FILE, refsName: 'finetune_refcoco_testA.json' });
    const { records, report, listed } = await readAll(refcoco, options);
    expect(listed).toBe(2);
    expect(records.map(({ id, split, captions }) => [id, split, captions])).toEqual([
      ['coco-7', 'testA', []],
      ['coco-9', 'testA', []],
    ]);
    expect(records[0]?.objects).toEqual([
      {
        label: 'object',
        phrase: 'the dog on the left',
        attributes: [],
        box: { space: 'pixels', x1: 0, y1: 5, x2: 10, y2: 15 },
        expressions: ['the dog on the left', 'left dog'],
      },
      {
        label: 'object',
        phrase: 'stop sign',
        attributes: [],
        box: { space: 'pixels', x1: 30, y1: 5, x2: 40, y2: 15 },
        expressions: ['stop sign'],
      },
    ]);
    expect(report).toMatchObject({
      counts: { images: 2, objects: 3, expressions: 4 },
      skipped: {},
      mended: { 'box cut at the edge of the image': 1 },
    });
    await expect(readAll(refcoco, { ...options, split: 'val' })).rejects.toMatchObject({ code: 'usage' });
    expect((await readAll(refcoco, { ...options, split: 'testA' })).records).toHaveLength(2);
    const { refs = [], images = [] } = options.inputs;
    expect(await readAll(refcoco, { inputs: { annotations: refs, images } })).toEqual(
      await readAll(refcoco, { inputs: { refs, images } }),
    );
    const { options: renamed } = await folderOf({
      refs: JSON_FILE,
      refsName: 'x.json',
      images: ['val2017/000000000009.jpg'],
    });
    expect((await readAll(refcoco, renamed)).records.map(({ id }) => id)).toEqual(['coco-9']);
    await expect(readAll(refcoco, { inputs: { refs, annotations: refs, images } })).rejects.toMatchObject({
      code: 'usage',
    });
  });

  it('may be odd in every entry', async () => {
    const { options } = await folderOf({
      refsName: 'mine.json',
      refs: {
        annotations: [
          box(0, 0, undefined, [0, 5, 10, 10]),
          box(1, 1, undefined, [0, 5, 10, 10]),
          box(2, 2, 1, [0, 0, 5, 5]),
          box(3, 2, 2, [5, 5, 5, 5]),
          box(4, 4, 3, [5, 5, -5, 5]),
          box(5, 5, 3, 'box'),
          box(6, 99, 3, [5, 5, 5, 5]),
        ],
        images: [
          entry(0, seven, 'same box'),
          entry(1, seven, ' same   box again', { width: '40', height: '30' }),
          entry(2, seven, 'two boxes'),
          entry(3, seven, 'no box'),
          entry(4, seven, 'inverted'),
          entry(5, seven, 'no numbers'),
          entry(5, seven, 'id twice'),
          entry(6, '', 'no name'),
        ],
      },
    });
    const { records, report } = await readAll(refcoco, options);
    expect(records).toHaveLength(1);
    expect(records[0]?.split).toBeUndefined();
    expect(records[0]?.objects.map(({ expressions }) => expressions)).toEqual([
      ['same box', 'same box again'],
    ]);
    expect(report.skipped).toEqual({
      'sentence id listed twice': 1,
      'sentence without an id or a file name': 1,
      'box of an unknown sentence': 1,
      'inverted box': 1,
      'box that is not four numbers': 1,
      'expression with several boxes': 1,
      'expression without a box': 3,
    });
  });
});

describe('what means an object', () => {
  const object = (phrase: string, more: object = {}) => ({ label: 'dog', phrase, ...more });
  it('are its expressions, or a phrase that names it alone', () => {
    const objects = [
      object('dog', { expressions: ['left one', 'dog'] }),
      object('dog'),
      object('tall dog'),
      object('dogs', { crowd: true }),
    ];
    expect(objects.map((_, i) => expressionsOf(objects, i))).toEqual([
      ['left one', 'dog'],
      [],
      ['tall dog'],
      [],
    ]);
    expect(expressionsOf(objects, 9)).toEqual([]);
  });
});

describe('a large instances file', () => {
  it('is read image by image: what no ref speaks of is passed over', async () => {
    const { folder, options } = await folderOf();
    const many = Array.from({ length: 20_000 }, (_, i) => square(1000 + i, 100_000 + i, 3));
    writeFileSync(
      join(folder, 'instances.json'),
      JSON.stringify({ ...INSTANCES, annotations: [...many, ...INSTANCES.annotations] }),
    );
    const { records, report } = await readAll(refcoco, options);
    expect(records).toHaveLength(2);
    expect(report.counts.objects).toBe(5);
  });
});
