import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { boxCodec } from '../../../src/data/box-text.ts';
import { boxPiece, textPiece } from '../../../src/data/conversation.ts';
import { llava } from '../../../src/data/sources/llava.ts';
import { roundsOf } from '../../../src/data/sources/rounds.ts';
import { turnsOf } from '../../../src/data/sources/turns.ts';
import { plainImage } from '../sample-records.ts';
import { filesIn, readAll } from './files.ts';

let png: Uint8Array;
beforeAll(async () => {
  png = await plainImage(640, 480);
});

const human = (value: unknown) => ({ from: 'human', value });
const gpt = (value: unknown) => ({ from: 'gpt', value });

/** Reads one annotation file beside the images a.png and b.png. */
async function read(samples: unknown, given: Readonly<Record<string, readonly string[]>> = {}) {
  const folder = filesIn({ 'samples.json': samples, 'images/a.png': png, 'images/deep/b.png': png });
  const inputs = { annotations: [join(folder, 'samples.json')], images: [join(folder, 'images')], ...given };
  return readAll(llava, { inputs });
}

const roundsIn = ({ records }: Awaited<ReturnType<typeof read>>) =>
  records.map(({ conversations = [] }) =>
    conversations.map(({ rounds }) =>
      rounds.map(({ question, answer }) =>
        [question, answer].map(pieces => pieces.map(piece => (piece.kind === 'text' ? piece.text : piece))),
      ),
    ),
  );

describe('sound samples', () => {
  it('become one record an image, text alone a record of its own', async () => {
    const found = await read([
      { id: '1', image: 'a.png', conversations: [human('<image>\nWhat is this?'), gpt('A wall.')] },
      { id: '2', conversations: [human('Hello 🐈'), gpt('Grüß Gott.')] },
      {
        id: '3',
        image: 'deep/b.png',
        conversations: [human('Colour?\n<image>'), gpt('Blue.'), human('Sure?'), gpt('Yes.')],
      },
      { id: '4', image: './a.png', conversations: [human('Say <image> more.'), gpt('No.')] },
    ]);
    expect(
      found.records.map(({ id, width, height, conversations }) => [id, width, height, conversations?.length]),
    ).toEqual([
      ['a.png', 640, 480, 2],
      ['deep/b.png', 640, 480, 1],
      ['text-samples.json-1-2', 0, 0, 1],
    ]);
    expect(roundsIn(found)).toEqual([
      [[[['What is this?'], ['A wall.']]], [[['Say more.'], ['No.']]]],
      [
        [
          [['Colour?'], ['Blue.']],
          [['Sure?'], ['Yes.']],
        ],
      ],
      [[[['Hello 🐈'], ['Grüß Gott.']]]],
    ]);
    expect(found.report).toEqual({
      counts: { images: 2, texts: 1, conversations: 4, rounds: 5 },
      skipped: {},
      mended: {},
      examples: {},
    });
    expect(found.listed).toBe(3);
  });

  it('are read from JSON Lines, with a byte order mark and CRLF, under the names user and assistant', async () => {
    const line = (image: string) =>
      JSON.stringify({
        image,
        conversations: [
          { role: 'user', content: '<image>\r\nWhat?\r\nTell me.' },
          { role: 'assistant', content: 'This.' },
        ],
      });
    const found = await read(`\ufeff${line('a.png')}\r\n\r\n${line('deep/b.png')}\r\n`);
    expect(roundsIn(found)).toEqual([
      [[[['What?\nTell me.'], ['This.']]]],
      [[[['What?\nTell me.'], ['This.']]]],
    ]);
  });

  it('meet others of the same image by its id', async () => {
    const folder = filesIn({
      'x.json': [
        { id: 1, image: 'train2017/000000000009.png', conversations: [human('<image>\na'), gpt('b')] },
      ],
      'y.jsonl':
        '{"id": 1, "image": "COCO_train2014_000000000009.png", "conversations": [{"from": "human", "value": "<image>c"}, {"from": "gpt", "value": "d"}]}',
      'images/train2017/000000000009.png': png,
    });
    const annotations = ['x.json', 'y.jsonl'].map(name => join(folder, name));
    const { records } = await readAll(llava, { inputs: { annotations, images: [join(folder, 'images')] } });
    expect(records.map(({ id, conversations }) => [id, conversations?.length])).toEqual([['coco-9', 2]]);
  });

  it('stop at the limit, and link to the image where asked', async () => {
    const samples = ['a.png', 'deep/b.png'].map(image => ({
      image,
      conversations: [human('<image>a'), gpt('b')],
    }));
    const folder = filesIn({ 's.json': samples, 'images/a.png': png, 'images/deep/b.png': png });
    const inputs = { annotations: [join(folder, 's.json')], images: [join(folder, 'images')] };
    const reader = await llava.open({ inputs, limit: 1, link: true });
    const records = [];
    for await (const record of reader) records.push(record);
    await reader.close?.();
    expect(records.map(({ path, image }) => [path, image.length])).toEqual([
      [join(folder, 'images/a.png'), 0],
    ]);
  });
});

describe('odd samples', () => {
  const cases: readonly [what: string, sample: unknown, reason: string][] = [
    ['no object', 'hello', 'sample that is no object'],
    ['no conversation', { image: 'a.png' }, 'sample without a list of turns'],
    ['empty conversation', { image: 'a.png', conversations: [] }, 'conversation without a usable round'],
    [
      'only a question',
      { image: 'a.png', conversations: [human('<image>\na')] },
      'conversation without a usable round',
    ],
    [
      'only an empty answer',
      { image: 'a.png', conversations: [human('<image>\na'), gpt(' \n')] },
      'conversation without a usable round',
    ],
    [
      'a turn without text',
      { image: 'a.png', conversations: [human('<image>\na'), gpt(null)] },
      'turn without text',
    ],
    [
      'a turn that is null',
      { image: 'a.png', conversations: [human('<image>\na'), null] },
      'turn that is no object',
    ],
    [
      'a stranger',
      { image: 'a.png', conversations: [human('<image>\na'), { from: 'tool', value: 'b' }] },
      'turn of somebody who is neither user, assistant nor system',
    ],
    [
      'two images',
      { image: ['a.png', 'deep/b.png'], conversations: [human('<image><image>\na'), gpt('b')] },
      'sample about several images',
    ],
    ['a video', { video: 'a.mp4', conversations: [human('<video>\na'), gpt('b')] }, 'sample about a video'],
    [
      'a placeholder and no image',
      { conversations: [human('<image>\na'), gpt('b')] },
      'image placeholder without an image',
    ],
    [
      'an image that is a number',
      { image: 3, conversations: [human('<image>\na'), gpt('b')] },
      'image that is no file name',
    ],
    [
      'a name that leads out',
      { image: '../a.png', conversations: [human('<image>\na'), gpt('b')] },
      'image that is no name inside of the image folder',
    ],
    [
      'a missing image',
      { image: 'c.png', conversations: [human('<image>\na'), gpt('b')] },
      'image file missing',
    ],
    [
      'a folder as image',
      { image: 'deep', conversations: [human('<image>\na'), gpt('b')] },
      'image file missing',
    ],
    ['a text of no words', { conversations: [human(''), gpt('b')] }, 'conversation without a usable round'],
  ];
  it.each(cases)('%s: left out and told where', async (_, sample, reason) => {
    const sound = { id: 'sound', image: 'a.png', conversations: [human('<image>\na'), gpt('b')] };
    const { records, report } = await read([sound, sample]);
    expect(records.flatMap(({ conversations = [] }) => conversations)).toHaveLength(1);
    expect(report.skipped).toEqual({ [reason]: 1 });
    expect(report.examples[reason]).toEqual([expect.stringMatching(/^samples\.json:1, sample 1(: .*)?$/)]);
  });

  it('an image file that is none', async () => {
    const folder = filesIn({
      's.json': [
        { id: 7, image: 'a.png', conversations: [human('<image>\na'), gpt('b')] },
        { id: 8, image: 'bad.png', conversations: [human('<image>\na'), gpt('b')] },
        { id: 9, image: 'bad.png', conversations: [human('<image>\na'), gpt('b')] },
      ],
      'images/a.png': png,
      'images/bad.png': 'no image',
    });
    const { report } = await readAll(llava, {
      inputs: { annotations: [join(folder, 's.json')], images: [join(folder, 'images')] },
    });
    expect(report.skipped).toEqual({ 'image file not readable': 2 });
    expect(report.counts).toEqual({ images: 1, conversations: 1, rounds: 1 });
  });

  it('are mended where that is safe', async () => {
    const conversations = [
      gpt('I come first.'),
      { from: 'system', value: 'Be kind.' },
      human('<image>\nOne?'),
      human('Two?'),
      gpt('A'),
      gpt('B'),
      human('Three? <image>'),
      gpt(''),
      human('Four?'),
      gpt(' D '),
      human('Five?'),
    ];
    const found = await read([{ id: 12, image: 'a.png', conversations }]);
    expect(roundsIn(found)).toEqual([
      [
        [
          [['Be kind.\nOne?\nTwo?'], ['A\nB']],
          [['Four?'], ['D']],
        ],
      ],
    ]);
    expect(found.report.examples).toEqual({
      'image placeholder repeated: shown once': ['samples.json:1, sample 12'],
      'answer before the first question left out': ['samples.json:1, sample 12, turn 0'],
      'system message put before the question': ['samples.json:1, sample 12, turn 2'],
      'two questions in a row joined': ['samples.json:1, sample 12, turn 3'],
      'two answers in a row joined': ['samples.json:1, sample 12, turn 5'],
      'round with an empty answer left out': ['samples.json:1, sample 12, turn 6'],
      'question without an answer left out': ['samples.json:1, sample 12, turn 10'],
    });
  });

  it('an image whose placeholder is missing is shown, and a bare placeholder is a question', async () => {
    const found = await read([
      { image: 'a.png', conversations: [human('What?'), gpt('A')] },
      { image: 'a.png', conversations: [human('<image>'), gpt('B')] },
    ]);
    expect(roundsIn(found)).toEqual([[[[['What?'], ['A']]], [[[], ['B']]]]]);
    expect(found.report.mended).toEqual({ 'image without a placeholder: shown first': 1 });
  });

  it('ids that are numbers, texts, absent or twice the same all stay apart where there is no image', async () => {
    const text = (id?: unknown) => ({ id, conversations: [human('a'), gpt('b')] });
    const { records } = await read([text(1), text('1'), text(), text(null), text('é/ü'), text(1)]);
    expect(new Set(records.map(({ id }) => id)).size).toBe(6);
  });

  it('a file of which nothing can be used is an error that says why', async () => {
    await expect(
      read([{ image: 'c.png', conversations: [human('<image>a'), gpt('b')] }]),
    ).rejects.toMatchObject({
      code: 'data',
      message: expect.stringContaining('(image file missing: 1, first samples.json:1, sample 0'),
      hint: expect.stringContaining('--images'),
    });
    await expect(read([])).rejects.toThrow('they list nothing');
    await expect(read('[{"id": 1,]')).rejects.toMatchObject({
      code: 'data',
      message: expect.stringContaining('samples.json:1:'),
    });
    await expect(read([], { images: ['/nowhere/at/all'] })).rejects.toMatchObject({ code: 'io' });
    await expect(read([], { boxes: ['inches'] })).rejects.toMatchObject({
      code: 'usage',
      hint: expect.stringContaining('padded-square'),
    });
    await expect(read([], { annotations: [] })).rejects.toMatchObject({ code: 'usage' });
    await expect(read([], { questions: ['x'] })).rejects.toMatchObject({ code: 'usage' });
  });

  it('leaves no temporary files', async () => {
    const before = readdirSync(tmpdir()).filter(name => name.startsWith(`ground-groups-${process.pid}-`));
    await read([{ image: 'a.png', conversations: [human('<image>a'), gpt('b')] }]);
    expect(readdirSync(tmpdir()).filter(name => name.startsWith(`ground-groups-${process.pid}-`))).toEqual(
      before,
    );
  });
});

describe('written boxes', () => {
  const image = { width: 640, height: 480 };
  const box = (x1: number, y1: number, x2: number, y2: number) => ({
    space: 'pixels' as const,
    x1,
    y1,
    x2,
    y2,
  });
  const sample = (question: string, answer: string) => [
    { id: 'r', image: 'a.png', conversations: [human(`<image>\n${question}`), gpt(answer)] },
  ];

  it('stay text unless asked for', async () => {
    const found = await read(sample('What is [0.1, 0.2, 0.5, 0.5]?', '[0.1, 0.2, 0.5, 0.5]'));
    expect(roundsIn(found)).toEqual([[[[['What is [0.1, 0.2, 0.5, 0.5]?'], ['[0.1, 0.2, 0.5, 0.5]']]]]]);
  });

  it('of LLaVA-1.5 are fractions of the padded square: regions where the user asks, boxes where the model answers', async () => {
    // 640 x 480, [64, 48, 320, 240]: 80 rows of padding above.
    const found = await read(sample('What is [0.10, 0.20, 0.50, 0.50]?', 'A cat [0.1,0.2,0.5,0.5]. Done'), {
      boxes: ['padded-square'],
    });
    const expected = {
      ...box(64, 48, 320, 240),
      x1: expect.closeTo(64),
      y1: expect.closeTo(48),
      x2: expect.closeTo(320),
      y2: expect.closeTo(240),
    };
    expect(roundsIn(found)).toEqual([
      [
        [
          [
            ['What is ', { kind: 'region', region: { kind: 'box', box: expected } }, '?'],
            ['A cat ', { kind: 'box', box: expected }, '. Done'],
          ],
        ],
      ],
    ]);
    expect(found.report.counts).toEqual({ images: 1, conversations: 1, rounds: 1, regions: 1, boxes: 1 });
  });

  it.each([
    ['pixels', '[64, 48, 320, 240]'],
    ['unit', '[0.1, 0.1, 0.5, 0.5]'],
    ['permille', '[100, 100, 500, 500]'],
  ])('in %s', async (space, written) => {
    const found = await read(sample('Where?', written), { boxes: [space] });
    const [answer] = found.records.flatMap(
      ({ conversations = [] }) => conversations[0]?.rounds[0]?.answer ?? [],
    );
    expect(answer).toEqual(boxPiece(box(64, 48, 320, 240)));
  });

  it('that are inverted, flat or outside take their round along; what is no box of the space stays text', async () => {
    const rounds = [
      '[0.5, 0.2, 0.1, 0.5]',
      '[0.1, 0.2, 0.1, 0.5]',
      '[0.1, 0.0, 0.5, 0.05]',
      '[1, 2, 3, 4]',
      '[0.1, 0.1, 0.5, 0.5]',
    ];
    const conversations = rounds.flatMap((answer, i) => [human(i === 0 ? '<image>a' : 'a'), gpt(answer)]);
    const found = await read([{ id: 'r', image: 'a.png', conversations }], { boxes: ['padded-square'] });
    const [answers] = roundsIn(found)[0]!.map(rounds => rounds.map(([, answer]) => answer));
    expect(answers).toEqual([
      ['[1, 2, 3, 4]'],
      [boxPiece({ ...box(64, 0, 320, 240), x1: expect.closeTo(64), y2: expect.closeTo(240) })],
    ]);
    expect(found.report.mended).toEqual({
      'round left out: inverted box': 1,
      'round left out: box without area': 1,
      'round left out: box outside of the image': 1,
      'numbers in brackets that are no box in padded-square left as text': 1,
      'box cut at the edge of the image': 1,
    });
    expect(found.report.examples['round left out: inverted box']).toEqual([
      'samples.json:1, sample r, turn 1',
    ]);
  });

  it('come back to the pixel from every space that is exact enough', async () => {
    const corners = fc.tuple(
      fc.integer({ min: 0, max: 639 }),
      fc.integer({ min: 0, max: 479 }),
      fc.integer({ min: 1, max: 640 }),
      fc.integer({ min: 1, max: 480 }),
    );
    const { read: pixelsOf, write } = boxCodec('padded-square');
    fc.assert(
      fc.property(corners, ([x1, y1, w, h]) => {
        const given = box(x1, y1, Math.min(640, x1 + w), Math.min(480, y1 + h));
        const back = pixelsOf(write(given, image), image);
        // Three digits of a side of 640.
        for (const key of ['x1', 'y1', 'x2', 'y2'] as const)
          expect(Math.abs(back[key] - given[key])).toBeLessThan(0.33);
      }),
    );
  });
});

it('any turns make rounds with an answer, and of alternating ones none is lost', () => {
  const turn = fc.record({
    from: fc.constantFrom('human', 'gpt', 'system', 'user', 'assistant'),
    value: fc.string(),
  });
  fc.assert(
    fc.property(fc.array(turn), fc.boolean(), (given, image) => {
      const turns = turnsOf(given);
      if (typeof turns === 'string') throw new Error(turns);
      let changes = 0;
      const rounds = roundsOf(
        turns.map(({ role, index, text }) => ({ role, index, pieces: [textPiece(text)] })),
        image,
        () => changes++,
      );
      for (const [i, { question, answer }] of rounds.entries()) {
        expect(answer.length).toBeGreaterThan(0);
        if (i > 0) expect(question.length).toBeGreaterThan(0);
      }
      // A system message that says nothing is no change.
      const said = turns.filter(({ role, text }) => role !== 'system' || text.trim() !== '');
      if (changes === 0) expect(2 * rounds.length).toBe(said.length);
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1 }).filter(text => text.trim() !== '')), texts => {
      const turns = texts.map((text, index) => ({
        role: index % 2 === 0 ? ('user' as const) : ('assistant' as const),
        index,
        pieces: [textPiece(text)],
      }));
      expect(roundsOf(turns, true, () => {})).toHaveLength(Math.floor(texts.length / 2));
    }),
  );
});
