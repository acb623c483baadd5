import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Annotations } from '../../../src/data/record.ts';
import { gqa } from '../../../src/data/sources/gqa.ts';
import { pope } from '../../../src/data/sources/pope.ts';
import { imageName, mostFrequent } from '../../../src/data/sources/questions.ts';
import type { SourceFormat } from '../../../src/data/sources/source.ts';
import { textvqa } from '../../../src/data/sources/textvqa.ts';
import { vqa } from '../../../src/data/sources/vqa.ts';
import { plainImage } from '../sample-records.ts';
import { filesIn, readAll } from './files.ts';

let png: Uint8Array;
beforeAll(async () => {
  png = await plainImage(32, 24);
});

/** Reads files, given by flag, beside images of these names. */
async function read(
  format: SourceFormat,
  files: Readonly<Record<string, unknown>>,
  images: readonly string[],
  more: { readonly values?: Readonly<Record<string, readonly string[]>>; readonly split?: string } = {},
) {
  const folder = filesIn({
    ...Object.fromEntries(Object.entries(files).map(([flag, content]) => [`${flag}.json`, content])),
    ...Object.fromEntries(images.map(name => [`images/${name}`, png])),
  });
  const inputs = Object.fromEntries(Object.keys(files).map(flag => [flag, [join(folder, `${flag}.json`)]]));
  return readAll(format, {
    inputs: { ...inputs, images: [join(folder, 'images')], ...more.values },
    ...(more.split === undefined ? {} : { split: more.split }),
  });
}

const asked = (records: readonly Annotations[]) =>
  records.map(({ id, conversations = [] }) => [
    id,
    ...conversations.flatMap(({ kind, rounds }) =>
      rounds.map(({ question, answer, accepted }) => [
        kind,
        ...[question, answer].map(pieces =>
          pieces.map(piece => (piece.kind === 'text' ? piece.text : piece.kind)).join(),
        ),
        ...(accepted ? [accepted.join('|')] : []),
      ]),
    ),
  ]);

describe('vqa', () => {
  const ten = (...answers: string[]) =>
    answers.map((answer, i) => ({ answer, answer_confidence: 'yes', answer_id: i + 1 }));
  const question = (question_id: unknown, image_id: unknown, text: unknown) => ({
    question_id,
    image_id,
    question: text,
  });
  const annotation = (
    question_id: unknown,
    image_id: unknown,
    answers: unknown,
    multiple_choice_answer?: string,
  ) => ({
    question_id,
    image_id,
    answers,
    multiple_choice_answer,
  });

  it('joins questions with their ten answers by image, under COCO names', async () => {
    const { records, report, listed } = await read(
      vqa,
      {
        questions: {
          info: { version: '2.0' },
          data_subtype: 'train2014',
          questions: [
            question(9001, 9, 'What is this photo taken looking through?'),
            question(9000, 9, ' How many\ndogs? '),
            question(2500, 25, 'Quelle couleur ? 🐕'),
          ],
        },
        annotations: {
          annotations: [
            annotation(2500, 25, ten('noir', 'blanc', 'noir'), 'blanc'),
            annotation(9000, 9, ten('2', '2', '3', 'two')),
            annotation(9001, 9, ten('net', 'fence', 'fence', 'net'), 'net'),
          ],
        },
      },
      ['COCO_train2014_000000000009.jpg', '000000000025.jpg'],
    );
    expect(asked(records)).toEqual([
      ['coco-25', ['vqa', 'Quelle couleur ? 🐕', 'noir', 'noir|blanc|noir']],
      [
        'coco-9',
        ['vqa', 'What is this photo taken looking through?', 'net', 'net|fence|fence|net'],
        ['vqa', 'How many dogs?', '2', '2|2|3|two'],
      ],
    ]);
    expect(report).toEqual({
      counts: { images: 2, conversations: 2, rounds: 3 },
      skipped: {},
      mended: {},
      examples: {},
    });
    expect(listed).toBe(2);
  });

  it('leaves out what has no other half, and tells where', async () => {
    const { records, report } = await read(
      vqa,
      {
        questions: {
          questions: [
            question(1, 9, 'A?'),
            question('1', 9, 'A again?'),
            question(2, 9, 'Without an answer?'),
            question(3, 9, '  '),
            question(null, 9, 'Of no id?'),
            question(4, null, 'Of no image?'),
            'text',
            question(6, 77, 'Of an image that is missing?'),
          ],
        },
        annotations: {
          annotations: [
            annotation(1, 9, ten('yes')),
            annotation(1, 9, ten('no')),
            annotation(5, 9, ten('lost')),
            annotation(2, 9, []),
            annotation(6, 77, ten('yes')),
          ],
        },
      },
      ['000000000009.jpg'],
    );
    expect(asked(records)).toEqual([['coco-9', ['vqa', 'A?', 'yes', 'yes']]]);
    expect(report.skipped).toEqual({
      'question listed twice': 1,
      'question without an annotation': 1,
      'question without text': 1,
      'entry without a question id': 1,
      'entry without an image id': 1,
      'entry that is no object': 1,
      'annotation listed twice': 1,
      'annotation without its question': 1,
      'annotation without an answer': 1,
      'image file missing': 2,
    });
    expect(report.examples['annotation without its question']).toEqual(['annotations.json:1, question 5']);
  });

  it('takes names of images from a pattern, and ids that are names', async () => {
    const files = (id: unknown) => ({
      questions: { questions: [question(1, id, 'A?')] },
      annotations: { annotations: [annotation(1, id, ['b'])] },
    });
    const values = { 'image-name': ['abstract_v002_{id:6}.png'] };
    const { records } = await read(vqa, files(7), ['abstract_v002_000007.png'], { values });
    expect(asked(records)).toEqual([['abstract_v002_000007.png', ['vqa', 'A?', 'b', 'b']]]);
    expect(asked((await read(vqa, files('x/é'), ['x/é.png'])).records)).toEqual([
      ['x/é', ['vqa', 'A?', 'b', 'b']],
    ]);
  });

  it('refuses another kind of file', async () => {
    const file = { annotations: [] };
    await expect(read(vqa, { questions: file, annotations: file }, ['a.png'])).rejects.toMatchObject({
      code: 'data',
      message: expect.stringContaining('questions'),
    });
  });
});

describe('textvqa', () => {
  const sample = (question_id: number, more: object = {}) => ({
    question_id,
    question: 'what is the brand?',
    image_id: '0054c91397f2fe05',
    image_width: 32,
    answers: ['Coca Cola', 'coke', 'coke'],
    question_tokens: ['what'],
    ocr_tokens: ['Coca', 'Cola'],
    set_name: 'train',
    ...more,
  });

  it('keeps answers, split and order', async () => {
    const { records } = await read(
      textvqa,
      { annotations: { dataset_name: 'textvqa', data: [sample(0), sample(1, { question: 'B?' })] } },
      ['0054c91397f2fe05.jpg'],
    );
    expect(asked(records)).toEqual([
      [
        'openimages-0054c91397f2fe05',
        ['ocr', 'what is the brand?', 'coke', 'Coca Cola|coke|coke'],
        ['ocr', 'B?', 'coke', 'Coca Cola|coke|coke'],
      ],
    ]);
    expect(records[0]?.split).toBe('train');
  });

  it('reads one split of several, and leaves out questions without answers', async () => {
    const data = [
      sample(0),
      sample(1, { set_name: 'val' }),
      sample(2, { answers: undefined }),
      sample(3, { answers: ['', ' '] }),
    ];
    const { records, report } = await read(textvqa, { annotations: { data } }, ['0054c91397f2fe05.jpg'], {
      split: 'train',
    });
    expect(asked(records)[0]).toHaveLength(2);
    expect(report.counts['questions of other splits']).toBe(1);
    expect(report.skipped).toEqual({ 'question without an answer': 2 });
  });
});

describe('gqa', () => {
  const questions = {
    '201307251': {
      imageId: '2354786',
      question: 'Is it overcast?',
      answer: 'no',
      fullAnswer: 'No, it is clear.',
      isBalanced: true,
      semantic: [],
    },
    '05': { imageId: 2354786, question: 'Who?', answer: 'man', fullAnswer: 'The man.' },
    x: { imageId: 'n161313', question: 'What?', answer: 'tree' },
    y: { imageId: '1', question: 'What?' },
    z: null,
  };

  it('short answers by default', async () => {
    const { records, report } = await read(gqa, { annotations: questions }, ['2354786.jpg', 'n161313.jpg']);
    expect(asked(records)).toEqual([
      ['n161313.jpg', ['vqa', 'What?', 'tree']],
      ['vg-2354786', ['vqa', 'Is it overcast?', 'no'], ['vqa', 'Who?', 'man']],
    ]);
    expect(report.skipped).toEqual({ 'question without an answer': 1, 'question without text': 1 });
    expect(report.examples['question without an answer']).toEqual(['annotations.json:1, question y']);
  });

  it('full ones as a chat', async () => {
    const { records } = await read(gqa, { annotations: questions }, ['2354786.jpg'], {
      values: { answers: ['full'] },
    });
    expect(asked(records)).toEqual([
      ['vg-2354786', ['chat', 'Is it overcast?', 'No, it is clear.'], ['chat', 'Who?', 'The man.']],
    ]);
  });
});

it('pope', async () => {
  const line = (question_id: number, label: unknown, image = 'COCO_val2014_000000310196.jpg') =>
    JSON.stringify({ question_id, image, text: 'Is there a snowboard in the image?', label });
  const { records, report } = await read(
    pope,
    {
      annotations: [line(1, 'yes'), line(2, 'No'), line(3, 'maybe'), line(4, 1), line(5, 'no', '')].join(
        '\r\n',
      ),
    },
    ['COCO_val2014_000000310196.jpg'],
  );
  expect(asked(records)).toEqual([
    [
      'coco-310196',
      ['presence', 'Is there a snowboard in the image?', 'yes'],
      ['presence', 'Is there a snowboard in the image?', 'no'],
    ],
  ]);
  expect(report.skipped).toEqual({ 'label that is neither yes nor no': 2, 'question without an image': 1 });
  expect(report.examples['label that is neither yes nor no']).toEqual([
    'annotations.json:3, question 3',
    'annotations.json:4, question 4',
  ]);
});

it('the answer most people gave, ties by the annotators, then by order', () => {
  expect(mostFrequent(['a', 'b', 'b'], 'a')).toBe('b');
  expect(mostFrequent(['a', 'b', 'b', 'a'], 'b')).toBe('b');
  expect(mostFrequent(['b', 'a'], 'c')).toBe('b');
  expect(mostFrequent([], 'c')).toBeNull();
});

it('names of images', () => {
  expect(imageName('COCO_{id:12}.jpg', 581857)).toBe('COCO_000000581857.jpg');
  expect(imageName('{id}/{id}.png', 'x')).toBe('x/x.png');
  expect(imageName('{id:2}', 12345)).toBe('12345');
});
