import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { ImageRecord } from '../../../src/data/record.ts';
import { jsonl } from '../../../src/data/sources/jsonl.ts';
import { boxMask } from '../loader-records.ts';
import { plainImage } from '../sample-records.ts';
import { filesIn, readAll } from './files.ts';

let png: Uint8Array;
beforeAll(async () => {
  png = await plainImage(640, 480);
});

const BOX = { space: 'pixels', x1: 64, y1: 48, x2: 320, y2: 240 } as const;
const NUMBERS = [64, 48, 320, 240];

async function read(lines: readonly unknown[] | string, options: { masks?: boolean; split?: string } = {}) {
  const text = typeof lines === 'string' ? lines : lines.map(line => JSON.stringify(line)).join('\n');
  const folder = filesIn({ 'records.jsonl': text, 'a.png': png, 'b/é.png': png });
  return readAll(jsonl, { inputs: { annotations: [join(folder, 'records.jsonl')] }, ...options });
}

describe('sound lines', () => {
  it('hold all that a record can', async () => {
    const mask = boxMask(BOX, 640, 480);
    const record: Omit<ImageRecord, 'image' | 'width' | 'height'> = {
      id: 'all',
      split: 'val',
      captions: ['Ein Hund 🐕.', 'b'],
      objects: [
        { label: 'dog', phrase: 'big dog', attributes: ['big'], box: BOX, mask, expressions: ['the dog'] },
        { label: 'cat', phrase: 'cat', attributes: [], box: BOX, crowd: true },
      ],
      relations: [{ subject: 0, predicate: 'on', object: 1 }],
      regions: [{ phrase: 'a dog on a cat', box: BOX }],
      spans: [{ caption: 0, start: 4, end: 8, objects: [0, 1] }],
      absent: ['bird'],
      conversations: [
        {
          kind: 'chat',
          rounds: [
            {
              question: [
                { kind: 'text', text: 'What is ' },
                { kind: 'region', region: { kind: 'box', box: BOX, mask } },
                { kind: 'text', text: ' beside ' },
                { kind: 'region', region: { kind: 'point', point: { x: 70, y: 50.5 }, within: BOX, mask } },
                { kind: 'text', text: ' and ' },
                { kind: 'region', region: { kind: 'free-form', mask } },
              ],
              answer: [
                { kind: 'text', text: 'a dog ' },
                { kind: 'box', box: BOX },
              ],
              accepted: ['a dog', 'dog'],
            },
          ],
        },
        {
          kind: 'presence',
          rounds: [{ question: [{ kind: 'text', text: 'a?' }], answer: [{ kind: 'text', text: 'no' }] }],
        },
      ],
    };
    const region = { box: NUMBERS, mask };
    const line = {
      ...record,
      image: 'b/é.png',
      width: 640,
      height: 480,
      objects: [
        {
          label: 'dog',
          phrase: 'big dog',
          attributes: ['big'],
          box: NUMBERS,
          mask,
          expressions: ['the dog'],
        },
        { label: 'cat', box: NUMBERS, crowd: true },
      ],
      regions: [{ phrase: 'a dog on a cat', box: NUMBERS }],
      conversations: [
        {
          rounds: [
            {
              question: [
                'What ',
                { text: 'is ' },
                { region },
                ' beside ',
                { region: { point: [70, 50.5], within: NUMBERS, mask } },
                ' and ',
                { region: { mask } },
              ],
              answer: ['a dog ', { box: NUMBERS }],
              accepted: ['a dog', 'dog'],
            },
          ],
        },
        { kind: 'presence', rounds: [{ question: 'a?', answer: 'no' }] },
      ],
    };
    const { records, report } = await read([line]);
    expect(records).toEqual([{ ...record, width: 640, height: 480 }]);
    expect([report.skipped, report.mended]).toEqual([{}, {}]);
  });

  it.each([
    ['pixels', NUMBERS, {}],
    ['unit', [0.1, 0.1, 0.5, 0.5], {}],
    ['permille', [100, 100, 500, 500], {}],
    ['padded-square', [0.1, 0.2, 0.5, 0.5], {}],
    ['bins', [6, 6, 31, 31], { bins: 64 }],
  ] as const)('in %s, named for the record or for the box', async (space, box, more) => {
    const own = { image: 'a.png', objects: [{ label: 'dog', box: { space, box, ...more } }] };
    const { records } = await read([
      { id: 1, ...own },
      ...(space === 'bins' ? [] : [{ id: 2, image: 'a.png', space, objects: [{ label: 'dog', box }] }]),
    ]);
    for (const { objects } of records) {
      for (const key of ['x1', 'y1', 'x2', 'y2'] as const) {
        expect(Math.abs(objects[0]!.box[key] - BOX[key])).toBeLessThan(space === 'bins' ? 5.1 : 1e-9);
      }
    }
    expect(records).toHaveLength(space === 'bins' ? 1 : 2);
  });

  it('one split of several; without masks', async () => {
    const object = { label: 'a', box: NUMBERS, mask: [NUMBERS.concat([64, 240])] };
    const { records, report } = await read(
      [
        { id: 1, image: 'a.png', split: 'train', objects: [object] },
        { id: 2, image: 'a.png', split: 'val' },
        { id: 3, image: 'a.png' },
      ],
      { split: 'train', masks: false },
    );
    expect(records.map(({ id, objects }) => [id, objects[0]?.mask])).toEqual([['1', undefined]]);
    expect(report.counts).toMatchObject({ 'records of other splits': 2, objects: 1 });
  });

  it('a polygon is a mask', async () => {
    const { records } = await read([
      {
        image: 'a.png',
        objects: [{ label: 'a', box: NUMBERS, mask: [[64, 48, 320, 48, 320, 240, 64, 240]] }],
      },
    ]);
    expect(records[0]?.objects[0]?.mask).toEqual(boxMask(BOX, 640, 480));
  });
});

describe('lines that are not of the format end the build', () => {
  const object = { label: 'a', box: NUMBERS };
  const round = { question: 'a', answer: 'b' };
  it.each([
    [{ image: 'a.png', colour: 1 }, 'colour: unknown key'],
    [{ image: 'a.png', objects: [object, { ...object, Box: 1 }] }, 'objects[1].Box: unknown key'],
    [{ image: 'a.png', objects: {} }, 'objects: expected a list, found {}'],
    [{ image: 'a.png', objects: [{ label: 'a' }] }, 'objects[0].box: expected 4 numbers, found nothing'],
    [
      { image: 'a.png', objects: [{ label: 'a', box: [1, 2, 3] }] },
      'objects[0].box: expected 4 numbers, found [1,2,3]',
    ],
    [
      { image: 'a.png', objects: [{ label: ' ', box: NUMBERS }] },
      'objects[0].label: expected a text, found an empty one',
    ],
    [{ image: 'a.png', objects: [{ ...object, crowd: 1 }] }, 'objects[0].crowd: expected true or false'],
    [
      { image: 'a.png', objects: [{ ...object, box: { space: 'inches', box: NUMBERS } }] },
      'objects[0].box.space: expected pixels, unit',
    ],
    [
      { image: 'a.png', objects: [{ ...object, mask: { size: [1], counts: '' } }] },
      'objects[0].mask.size: expected 2 numbers',
    ],
    [{ image: 'a.png', objects: [{ ...object, mask: [[1, 2, 3, 4]] }] }, 'objects[0].mask[0]: expected x1'],
    [{ image: 'a.png', objects: [{ ...object, mask: [] }] }, 'objects[0].mask: expected polygons'],
    [{ image: 'a.png', space: 'PIXELS' }, 'space: expected pixels'],
    [
      { image: 'a.png', objects: [object], relations: [{ subject: 0, predicate: 'on', object: 1 }] },
      'relations[0].object: expected a whole number from 0 to 0, found 1',
    ],
    [
      { image: 'a.png', captions: ['abc'], spans: [{ caption: 0, start: 1, end: 4, objects: [] }] },
      'spans[0].end: expected a whole number from 0 to 3',
    ],
    [
      { image: 'a.png', captions: ['abc'], spans: [{ caption: 0, start: 2, end: 2, objects: [] }] },
      'spans[0].start',
    ],
    [{ image: 'a.png', conversations: [{ rounds: [] }] }, 'conversations[0].rounds: expected a round'],
    [
      { image: 'a.png', conversations: [{ kind: 'talk', rounds: [round] }] },
      'conversations[0].kind: expected chat, vqa',
    ],
    [
      { image: 'a.png', conversations: [{ rounds: [{ ...round, answer: ' ' }] }] },
      'rounds[0].answer: expected an answer',
    ],
    [{ image: 'a.png', conversations: [{ rounds: [{ question: 'a' }] }] }, 'rounds[0].answer'],
    [
      { image: 'a.png', conversations: [{ rounds: [{ ...round, answer: [{ region: { box: NUMBERS } }] }] }] },
      'rounds[0].answer: a region',
    ],
    [
      { image: 'a.png', conversations: [{ rounds: [{ ...round, question: [{ region: {} }] }] }] },
      'question[0].region: expected a point, a box or a mask',
    ],
    [
      {
        image: 'a.png',
        conversations: [{ rounds: [{ ...round, question: [{ region: { box: NUMBERS, point: [1, 2] } }] }] }],
      },
      'question[0].region: expected a point or a box',
    ],
    [
      {
        image: 'a.png',
        conversations: [{ rounds: [{ ...round, question: [{ text: 'a', box: NUMBERS }] }] }],
      },
      'question[0]: expected one of text, box and region',
    ],
    [
      { conversations: [{ rounds: [{ ...round, answer: [{ box: NUMBERS }] }] }] },
      'rounds[0].answer[0]: this needs an image',
    ],
    [{ objects: [object] }, 'objects: this needs an image'],
    [{ id: 'x' }, 'expected an image or conversations'],
    [{ image: 3 }, 'image: expected a text, found 3'],
    [{ image: 'a.png', width: -1 }, 'width: expected a whole number'],
    [[], 'expected an object, found []'],
    [null, 'expected an object, found null'],
  ])('%j', async (line, said) => {
    await expect(read([{ image: 'a.png' }, line])).rejects.toMatchObject({
      code: 'data',
      message: expect.stringMatching(/records\.jsonl:2: /),
      hint: expect.stringContaining('docs/data.md'),
    });
    await expect(read([{ image: 'a.png' }, line])).rejects.toThrow(said);
  });
});

describe('lines whose places are not of the image are left out', () => {
  it.each([
    [{ objects: [{ label: 'a', box: [320, 48, 64, 240] }] }, 'inverted box', 'objects[0].box'],
    [{ regions: [{ phrase: 'a', box: [0, 0, 0, 9] }] }, 'box without area', 'regions[0].box'],
    [{ objects: [{ label: 'a', box: [700, 0, 800, 9] }] }, 'box outside of the image', 'objects[0].box'],
    [
      { space: 'unit', objects: [{ label: 'a', box: NUMBERS }] },
      'box that is none in unit',
      'objects[0].box',
    ],
    [
      { objects: [{ label: 'a', box: NUMBERS, mask: { size: [640, 480], counts: [307200] } }] },
      'mask of another size',
      'objects[0].mask',
    ],
    [
      { objects: [{ label: 'a', box: NUMBERS, mask: { size: [480, 640], counts: [307200] } }] },
      'mask without a pixel',
      'objects[0].mask',
    ],
    [
      { objects: [{ label: 'a', box: NUMBERS, mask: { size: [480, 640], counts: [3] } }] },
      'mask that is no run-length encoding',
      'objects[0].mask',
    ],
    [
      { conversations: [{ rounds: [{ question: [{ region: { point: [640, 3] } }], answer: 'b' }] }] },
      'point outside of the image',
      'conversations[0].rounds[0].question[0].region.point',
    ],
    [{ width: 480, height: 640 }, 'image of another size than annotated', null],
  ])('%j', async (line, reason, at) => {
    const { records, report } = await read([
      { id: 'sound', image: 'a.png' },
      { id: 'bad', image: 'a.png', ...line },
    ]);
    expect(records.map(({ id }) => id)).toEqual(['sound']);
    expect(report.skipped).toEqual({ [reason]: 1 });
    expect(report.examples[reason]).toEqual([`records.jsonl:2${at === null ? '' : `, ${at}`}`]);
  });

  it('and a second one of the same id, and one without its image', async () => {
    const { records, report } = await read([
      { image: 'a.png', captions: ['a'] },
      { image: './a.png', captions: ['b'] },
      { id: 'x', image: 'c.png' },
    ]);
    expect(records.map(({ id, captions }) => [id, captions])).toEqual([['a.png', ['a']]]);
    expect(report.skipped).toEqual({ 'id that is there already': 1, 'image file missing': 1 });
  });

  it('a box beyond the edge is cut', async () => {
    const { records, report } = await read([
      { image: 'a.png', objects: [{ label: 'a', box: [-5, 0, 9, 481] }] },
    ]);
    expect(records[0]?.objects[0]?.box).toEqual({ space: 'pixels', x1: 0, y1: 0, x2: 9, y2: 480 });
    expect(report.mended).toEqual({ 'box cut at the edge of the image': 1 });
  });
});

it('no JSON whatever is a record or an error of ours, never a crash', async () => {
  const keys = [
    'image',
    'objects',
    'box',
    'label',
    'conversations',
    'rounds',
    'question',
    'answer',
    'region',
    'mask',
    'space',
    'captions',
  ];
  const value = fc.letrec(tie => ({
    value: fc.oneof(
      fc.constantFrom<unknown>('a.png', 'pixels', null, true, 1, -2.5, '', NUMBERS),
      fc.array(tie('value'), { maxLength: 2 }),
      fc.dictionary(fc.constantFrom(...keys), tie('value'), { maxKeys: 3 }),
    ),
  })).value;
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 3 }), async line => {
      await read([
        { id: 'sound', image: 'a.png' },
        { id: 'other', ...line },
      ]).catch(thrown => {
        expect(thrown).toMatchObject({ code: 'data', message: expect.stringContaining('records.jsonl:2: ') });
      });
    }),
    { numRuns: 60 },
  );
});
