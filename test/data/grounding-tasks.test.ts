import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Conversation } from '../../src/data/conversation.ts';
import type { ImageRecord, ObjectAnnotation } from '../../src/data/record.ts';
import { piecesText } from '../../src/data/render.ts';
import { renderScene } from '../../src/data/sources/scenes.ts';
import { absentLabels, areSimilar } from '../../src/data/tasks/absence.ts';
import { taskContext } from '../../src/data/tasks/context.ts';
import { conversationOf } from '../../src/data/tasks/index.ts';
import { mentionsOf } from '../../src/data/tasks/mentions.ts';
import { GROUNDING_PROMPT } from '../../src/data/tasks/phrasings.ts';
import { LabelStatistics } from '../../src/data/tasks/statistics.ts';
import { box, TOKENIZER_FILE } from './loader-records.ts';

const literal = taskContext({ phrasing: 'literal', groundingPrompt: GROUNDING_PROMPT });

const thing = (label: string, x: number, more: Partial<ObjectAnnotation> = {}): ObjectAnnotation => ({
  label,
  phrase: label,
  attributes: [],
  box: box(x, 10, x + 10, 20),
  ...more,
});

/** 100 x 100 pixels, so that coordinates of 100 bins are pixels. */
function picture(objects: readonly ObjectAnnotation[], captions: readonly string[] = []): ImageRecord {
  return { id: 'p', image: new Uint8Array(0), width: 100, height: 100, captions, objects, relations: [] };
}

const street = picture(
  [
    thing('person', 0),
    thing('dog', 20),
    thing('dog', 40),
    thing('hot dog', 60),
    thing('train', 70),
    thing('sheep', 80, { crowd: true }),
  ],
  ['A man with two dogs.'],
);

/** What a caption says, each mention marked by the objects it names; null where it is not all known. */
function marked(record: ImageRecord, caption: string): string | null {
  const { mentions, complete } = mentionsOf({ ...record, captions: [caption] }, 0);
  if (!complete) return null;
  return mentions.map(m => `${caption.slice(m.start, m.end)}=${m.objects.join('+')}`).join(', ');
}

const texts = (record: ImageRecord, conversation: Conversation | null) =>
  (conversation?.rounds ?? []).map(({ question, answer }) => [
    piecesText(question, record, 100),
    piecesText(answer, record, 100),
  ]);

let scenes: ImageRecord[];
let stable: ImageRecord[];
beforeAll(async () => {
  stable = await Promise.all(Array.from({ length: 20 }, (_, i) => renderScene(7, i)));
  scenes = await Promise.all(Array.from({ length: 40 }, (_, i) => renderScene(11, i)));
});

describe('what captions name', () => {
  it.each([
    ['A man walks two dogs.', 'A man=0, two dogs=1+2'],
    ['The dogs sit next to a big train.', 'The dogs=1+2, a big train=4'],
    ['Dogs, a person and one hot dog', 'Dogs=1+2, a person=0, one hot dog=3'],
    ['a train station with people-watchers', ''],
    ['A brown hot dog is on the table', 'A brown hot dog=3'],
    ['Two lovely little dogs running', 'Two lovely little dogs=1+2'],
    // Nobody knows which, how many, or whether.
    ['a dog on a train', null],
    ['three dogs', null],
    ['two men', null],
    ['a street without a man', null],
    ['no train', null],
    ['the sheep behind a man', null],
    ['', ''],
  ])('%s', (caption, expected) => {
    expect(marked(street, caption)).toBe(expected);
  });

  it('attributes decide among several, and a name that fits one object means it', () => {
    const shapes = picture([
      thing('circle', 0, { attributes: ['red', 'small'], phrase: 'red circle' }),
      thing('circle', 20, { attributes: ['blue', 'small'], phrase: 'blue circle' }),
      thing('digit', 40, { attributes: ['blue', '7'], phrase: 'digit 7' }),
      thing('digit', 60, { attributes: ['blue', '3'], phrase: 'digit 3' }),
    ]);
    expect(marked(shapes, 'a small red circle, a blue digit 3 and a digit 7.')).toBe(
      'a small red circle=0, a blue digit 3=3, a digit 7=2',
    );
    expect(marked(shapes, 'two circles')).toBe('two circles=0+1');
    expect(marked(shapes, 'a small circle')).toBeNull();
    expect(marked(shapes, 'a green circle')).toBeNull();
  });

  it('annotated spans go before words, and only boxes that exist', () => {
    const record = { ...street, captions: ['A man with two dogs.'] };
    const span = { caption: 0, start: 0, end: 5, objects: [0] };
    const all = (spans: ImageRecord['spans']) => mentionsOf({ ...record, ...(spans && { spans }) }, 0);
    expect(all([span])).toMatchObject({ mentions: [{ objects: [0] }], complete: true });
    expect(all([span, { ...span, start: 11, end: 19, objects: [] }])).toMatchObject({
      mentions: [{ objects: [0] }],
      complete: true,
    });
    expect(all([{ ...span, objects: [99] }]).complete).toBe(false);
    expect(all([{ ...span, objects: [5] }]).complete).toBe(false);
    expect(all([{ ...span, end: 99 }])).toEqual({
      caption: record.captions[0],
      mentions: [],
      complete: false,
    });
  });

  it('scenes are named without a mistake', () => {
    let found = 0;
    for (const scene of scenes) {
      for (const [i, caption] of scene.captions.entries()) {
        const { mentions } = mentionsOf(scene, i);
        for (const { start, end, objects } of mentions) {
          const words = caption.slice(start, end).split(' ');
          for (const index of objects) {
            found++;
            const { label, attributes } = scene.objects[index]!;
            expect(words.some(word => word.startsWith(label) || label === word)).toBe(true);
            const known = new Set(scene.objects.flatMap(object => object.attributes));
            for (const word of words) if (known.has(word)) expect(attributes).toContain(word);
          }
        }
      }
    }
    expect(found).toBeGreaterThan(100);
  });

  it('no text breaks it', () => {
    const word = fc.constantFrom(
      'dog',
      'dogs',
      'a',
      'two',
      'hot',
      ',',
      "dog's",
      'é',
      '\u{1f436}',
      'man',
      'of',
      '3',
      '-',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(word).map(words => words.join(' ')),
        ),
        caption => {
          const { mentions } = mentionsOf({ ...street, captions: [caption] }, 0);
          let last = 0;
          for (const { start, end, objects } of mentions) {
            expect(start).toBeGreaterThanOrEqual(0);
            expect(end).toBeGreaterThan(Math.max(start, last));
            expect(end).toBeLessThanOrEqual(caption.length);
            expect(objects.every(i => street.objects[i] && !street.objects[i]?.crowd)).toBe(true);
            last = end;
          }
        },
      ),
    );
  });
});

describe('grounded caption', () => {
  it('has the boxes behind each name', () => {
    expect(texts(street, conversationOf(street, 'grounded-caption', literal))).toEqual([
      [
        `Describe the image with the location of every object in it. ${GROUNDING_PROMPT}`,
        'A man [0, 10, 10, 20] with two dogs [20, 10, 30, 20] [40, 10, 50, 20].',
      ],
    ]);
  });

  it('without its boxes is the caption, for every scene and seed', () => {
    let made = 0;
    for (const scene of scenes) {
      for (const seed of [0, 1]) {
        const conversation = conversationOf(scene, 'grounded-caption', taskContext({ seed }));
        const [[, answer = ''] = []] = texts(scene, conversation);
        if (!conversation) continue;
        made++;
        expect(scene.captions).toContain(answer.replaceAll(/ \[[\d, ]+\]/g, ''));
        const boxes = scene.objects.map(object => object.box);
        for (const at of conversation.rounds[0]?.truth.boxes ?? []) expect(boxes).toContainEqual(at);
      }
    }
    expect(made).toBeGreaterThan(60);
  });

  it('serves no caption of which something is unknown, and none with too many boxes', () => {
    expect(
      conversationOf({ ...street, captions: ['a dog', 'nothing here'] }, 'grounded-caption', literal),
    ).toBeNull();
    expect(conversationOf(street, 'grounded-caption', { ...literal, maxObjects: 2 })).toBeNull();
  });
});

describe('phrase grounding', () => {
  it('asks for each phrase of the captions, one or several boxes', () => {
    expect(texts(street, conversationOf(street, 'phrase-grounding', literal))).toEqual([
      [`What are the locations of a man? ${GROUNDING_PROMPT}`, 'a man [0, 10, 10, 20]'],
      [
        `What are the locations of two dogs? ${GROUNDING_PROMPT}`,
        'two dogs [20, 10, 30, 20] [40, 10, 50, 20]',
      ],
    ]);
  });

  it('asks for several in a turn, too, and never for more boxes than allowed', () => {
    const turns = new Set<string>();
    for (let seed = 0; seed < 30; seed++) {
      const context = taskContext({ seed, maxObjects: 3 });
      for (const { answer, truth } of conversationOf(street, 'phrase-grounding', context)?.rounds ?? []) {
        turns.add(piecesText(answer, street, 100));
        expect(truth.boxes?.length).toBeLessThanOrEqual(3);
      }
    }
    expect(turns).toContain('a man [0, 10, 10, 20], two dogs [20, 10, 30, 20] [40, 10, 50, 20]');
    expect(turns).toContain('a man [0, 10, 10, 20]');
  });

  it('without captions asks for regions, expressions, unique phrases and all of a label', () => {
    const record: ImageRecord = {
      ...street,
      captions: [],
      objects: street.objects.map((object, i) =>
        i === 1 ? { ...object, expressions: ['dog, left'] } : object,
      ),
      regions: [
        { phrase: 'a wheel', box: box(1, 1, 2, 2) },
        { phrase: 'a wheel', box: box(3, 3, 4, 4) },
      ],
    };
    const asked = texts(record, conversationOf(record, 'phrase-grounding', { ...literal, rounds: 20 })).map(
      ([, answer]) => answer,
    );
    expect(asked).toEqual([
      'a wheel [1, 1, 2, 2] [3, 3, 4, 4]',
      'person [0, 10, 10, 20]',
      'dog left [20, 10, 30, 20]',
      'hot dog [60, 10, 70, 20]',
      'train [70, 10, 80, 20]',
      'dogs [20, 10, 30, 20] [40, 10, 50, 20]',
    ]);
  });

  it('leaves out a phrase that means different objects', () => {
    const record = {
      ...street,
      captions: ['it it', 'it', 'a man'],
      spans: [
        { caption: 0, start: 0, end: 2, objects: [0] },
        { caption: 0, start: 3, end: 5, objects: [1] },
        { caption: 1, start: 0, end: 2, objects: [0] },
        { caption: 2, start: 0, end: 5, objects: [0] },
      ],
    };
    const asked = conversationOf(record, 'phrase-grounding', literal)?.rounds.map(round => round.truth.label);
    expect(asked).toEqual(['a man']);
  });
});

describe('negatives', () => {
  const labels = [
    'person',
    'dog',
    'hot dog',
    'train',
    'sheep',
    'cat',
    'bus',
    'teddy bear',
    'bear',
    'table lamp',
    'lamp',
  ];
  const absentOf = (record: ImageRecord, seed: number, given = {}) =>
    conversationOf(record, 'negatives', taskContext({ seed, labels, ...given }))?.rounds.map(
      r => r.truth.absent ?? '',
    ) ?? [];

  it('says there is none, in the words of rec', () => {
    const conversation = conversationOf(picture([thing('dog', 0)]), 'negatives', {
      ...literal,
      labels: ['dog', 'cat'],
    });
    expect(texts(street, conversation)).toEqual([
      [`What is the location of cat in the image? ${GROUNDING_PROMPT}`, 'There is no cat in the image.'],
    ]);
    expect(conversation?.rounds[0]?.truth).toEqual({ boxes: [], absent: 'cat' });
  });

  it('never asks for what is there, a crowd included, or what a text speaks of', () => {
    const record = {
      ...street,
      captions: ['Some cats on a bench.'],
      regions: [{ phrase: 'Lamp post', box: box(0, 0, 9, 9) }],
    };
    const seen = new Set(Array.from({ length: 60 }, (_, seed) => absentOf(record, seed)).flat());
    expect([...seen].sort()).toEqual(['bear', 'bus', 'table lamp', 'teddy bear']);
  });

  it('for any labels and objects: none of the answers names an object of the image', () => {
    const label = fc.constantFrom(
      'dog',
      'hot dog',
      'cat',
      'Cat',
      'sheep',
      'wine_glass',
      'wine glass',
      'cup',
      'bear',
      'teddy bear',
    );
    fc.assert(
      fc.property(fc.array(label, { minLength: 1 }), fc.array(label), fc.nat(), (here, asked, seed) => {
        const record = picture(here.map((name, i) => thing(name, i, { crowd: i % 3 === 0 })));
        const names = here.map(name => name.toLowerCase().replace('_', ' '));
        for (const name of absentOf(record, seed, { labels: asked })) {
          expect(names).not.toContain(name.toLowerCase().replace('_', ' '));
        }
      }),
    );
  });

  it('takes the labels that annotators looked for, and only those, where there are any', () => {
    const record = { ...street, absent: ['cat', 'bus', 'dog'] };
    const seen = new Set(Array.from({ length: 20 }, (_, seed) => absentOf(record, seed)).flat());
    expect([...seen].sort()).toEqual(['bus', 'cat']);
    const statistics = LabelStatistics.of([record]);
    expect(absentOf(street, 0, { statistics })).toEqual([]);
    expect(absentLabels(street, taskContext({ labels: ['cat'], statistics: new LabelStatistics() }))).toEqual(
      ['cat'],
    );
  });

  it('prefers labels that keep company with what is there, and similar ones', () => {
    const statistics = LabelStatistics.of([
      ...Array.from({ length: 9 }, () => picture([thing('fork', 0), thing('knife', 0)])),
      ...Array.from({ length: 9 }, () => picture([thing('fork', 0), thing('pizza', 0)])),
      picture([thing('fork', 0), thing('kite', 0)]),
      picture([thing('zebra', 0), thing('bus', 0)]),
    ]);
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 400; seed++) {
      const [first = ''] = absentOf(picture([thing('fork', 0)]), seed, {
        labels: statistics.labels,
        statistics,
      });
      counts.set(first, (counts.get(first) ?? 0) + 1);
    }
    // By meaning always the knife (kitchen); by the image the knife or the pizza, seldom the kite.
    expect(counts.get('knife')).toBeGreaterThan(240);
    expect(counts.get('pizza')).toBeGreaterThan(50);
    expect(counts.get('kite') ?? 0).toBeLessThan(40);
    expect([...counts.keys()].sort()).toEqual(expect.not.arrayContaining(['zebra', 'bus']));
  });

  it('knows similar labels by supercategory and by words', () => {
    expect(areSimilar('dog', 'zebra')).toBe(true);
    expect(areSimilar('baseball bat', 'baseball glove')).toBe(true);
    expect(areSimilar('coffee cup', 'coffee table')).toBe(true);
    expect(areSimilar('toothbrush', 'vase')).toBe(true);
    expect(areSimilar('dog', 'bus')).toBe(false);
    expect(areSimilar('person', 'umbrella')).toBe(false);
  });

  it('asks scenes for colours that the only objects of a shape do not have', () => {
    const colours = new Set<string>();
    for (const scene of scenes) {
      for (const phrase of absentOf(scene, 1, { labels: [] })) {
        colours.add(phrase);
        const [colour = '', label = ''] = phrase.split(' ');
        const same = scene.objects.filter(object => object.label === label);
        expect(same.length).toBeGreaterThan(0);
        for (const { attributes } of same) expect(attributes).not.toContain(colour);
      }
    }
    expect(colours.size).toBeGreaterThan(20);
  });
});

describe('grounded count', () => {
  it('gives the number and as many boxes, in raster order', () => {
    const record = picture([
      thing('dog', 50),
      thing('dog', 10),
      thing('cat', 30),
      thing('cow', 0, { crowd: true }),
    ]);
    expect(texts(record, conversationOf(record, 'grounded-count', literal)).sort()).toEqual([
      [expect.stringMatching(/^How many cats are in the image, and where/), '1: [30, 10, 40, 20]'],
      [expect.stringMatching(/^How many dogs are/), '2: [10, 10, 20, 20], [50, 10, 60, 20]'],
    ]);
  });

  it('is 0 for what is not there, and asks for no label with too many', () => {
    const record = picture([thing('dog', 50), thing('dog', 10), thing('cat', 30)]);
    const answers = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const context = taskContext({ seed, labels: ['bus', 'dog'], maxObjects: 1 });
      for (const [question, answer = ''] of texts(
        record,
        conversationOf(record, 'grounded-count', context),
      )) {
        answers.add(answer);
        expect(question).toContain(answer === '0' ? 'buses' : 'cats');
      }
    }
    expect([...answers].sort()).toEqual(['0', '1: [30, 10, 40, 20]']);
  });
});

describe('expressions', () => {
  const twins = picture([
    thing('dog', 0, { expressions: ['the left dog', 'dog, asleep'] }),
    thing('dog', 50, { expressions: ['the right dog'] }),
    thing('dog', 80, { crowd: true, expressions: ['dogs'] }),
  ]);

  it('are what rec asks for, each once when scored', () => {
    const scored = conversationOf(twins, 'rec', { ...literal, groundingPrompt: '' });
    expect(texts(twins, scored).sort()).toEqual([
      ['What is the location of dog asleep in the image?', 'dog, asleep [0, 10, 10, 20]'],
      ['What is the location of the left dog in the image?', 'the left dog [0, 10, 10, 20]'],
      ['What is the location of the right dog in the image?', 'the right dog [50, 10, 60, 20]'],
    ]);
  });

  it('are what reg answers, all of them in turn', () => {
    const answers = new Set<string>();
    for (let seed = 0; seed < 30; seed++) {
      for (const [, answer = ''] of texts(twins, conversationOf(twins, 'reg', taskContext({ seed }))))
        answers.add(answer);
    }
    expect([...answers].sort()).toEqual(['dog, asleep', 'the left dog', 'the right dog']);
  });

  it('rec asks one time in ten for what annotators did not find, never when scored', () => {
    const record = { ...twins, absent: ['cat'] };
    let [absent, all] = [0, 0];
    for (let seed = 0; seed < 300; seed++) {
      for (const { truth } of conversationOf(record, 'rec', taskContext({ seed }))?.rounds ?? []) {
        all++;
        if (truth.absent) absent++;
      }
    }
    expect(absent / all).toBeGreaterThan(0.05);
    expect(absent / all).toBeLessThan(0.15);
    expect(conversationOf(record, 'rec', literal)?.rounds.some(round => round.truth.absent)).toBe(false);
  });
});

describe('phrasings', () => {
  it.each([
    'grounded-caption',
    'phrase-grounding',
    'negatives',
    'grounded-count',
    'rec',
    'reg',
    'roc',
    'count',
  ] as const)('%s uses at least eight', task => {
    const used = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const context = taskContext({ seed, labels: ['cat', 'bus'] });
      for (const { question } of conversationOf(street, task, context)?.rounds ?? []) {
        // The wording without what is asked for.
        used.add(
          question.map((piece, i) => (piece.kind === 'text' && i % 2 === 0 ? piece.text : '_')).join(''),
        );
      }
    }
    expect(used.size).toBeGreaterThanOrEqual(8);
  });
});

describe('the tiny recipe', () => {
  // Its results are tuned: another wording, or one draw more, would change them. New phrasings belong to new tasks.
  it.each([
    ['scene-text', 'ea6dae84b7551583'],
    ['caption', 'dedfd9dd8467b7ab'],
    ['dense-referring', '63d8913f9618aa53'],
    ['dense-detection', 'c519364a80f5e0a9'],
    ['rec', '8b69150f5b84808f'],
    ['reg', 'a3b79119b2931c02'],
    ['roc', 'd6283fb23841b824'],
    ['relation', '316aadf1a7fd9110'],
    ['count', '3a89b001f0043a81'],
  ] as const)('%s makes the conversations it always made', (task, digest) => {
    const labels = [
      'circle',
      'square',
      'triangle',
      'star',
      'cross',
      'ring',
      'diamond',
      'heart',
      'digit',
    ].sort();
    const made = (['varied', 'literal'] as const).flatMap(phrasing =>
      stable.map(scene =>
        conversationOf(scene, task, taskContext({ seed: 1, phrasing, groundingPrompt: 'Where?', labels })),
      ),
    );
    expect(createHash('sha256').update(JSON.stringify(made)).digest('hex').slice(0, 16)).toBe(digest);
  });

  it('has a tokenizer that its script would write again', async () => {
    const file = join(tmpdir(), `ground-tokenizer-${process.pid}.json`);
    onTestFinished(() => rm(file, { force: true }));
    const script = join(import.meta.dirname, '../../scripts/make-tiny-tokenizer.ts');
    const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', script, '--out', file], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    expect(await readFile(file, 'utf8')).toBe(await readFile(TOKENIZER_FILE, 'utf8'));
  });
});
