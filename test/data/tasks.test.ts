import { beforeAll, describe, expect, it } from 'vitest';
import type { Conversation, Region } from '../../src/data/conversation.ts';
import { regionsOf } from '../../src/data/conversation.ts';
import { boxText } from '../../src/data/coordinates.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { regionPixels } from '../../src/data/regions.ts';
import { piecesText } from '../../src/data/render.ts';
import { boundsOf } from '../../src/data/rle.ts';
import { CAPTION_QUESTIONS } from '../../src/data/tasks/caption.ts';
import { taskContext } from '../../src/data/tasks/context.ts';
import { COUNT_QUESTIONS } from '../../src/data/tasks/count.ts';
import { DENSE_DETECTION_QUESTIONS } from '../../src/data/tasks/dense-detection.ts';
import { DENSE_REFERRING_QUESTIONS } from '../../src/data/tasks/dense-referring.ts';
import { GROUNDED_CAPTION_QUESTIONS } from '../../src/data/tasks/grounded-caption.ts';
import { GROUNDED_COUNT_QUESTIONS } from '../../src/data/tasks/grounded-count.ts';
import { type ConversationTask, conversationOf } from '../../src/data/tasks/index.ts';
import { STORED_TASKS, TASK_NAMES } from '../../src/data/tasks/names.ts';
import { pluralOf } from '../../src/data/tasks/objects.ts';
import { READ_ALL_QUESTIONS, READ_REGION_QUESTIONS } from '../../src/data/tasks/ocr.ts';
import { PHRASE_GROUNDING_QUESTIONS } from '../../src/data/tasks/phrase-grounding.ts';
import { GROUNDING_PROMPT } from '../../src/data/tasks/phrasings.ts';
import { REC_QUESTIONS } from '../../src/data/tasks/rec.ts';
import { REG_QUESTIONS } from '../../src/data/tasks/reg.ts';
import { RELATED_QUESTIONS, RELATION_QUESTIONS } from '../../src/data/tasks/relation.ts';
import { ROC_QUESTIONS } from '../../src/data/tasks/roc.ts';
import { fill } from '../../src/data/tasks/template.ts';
import { box, randomRecord } from './loader-records.ts';

/** Tasks that write conversations themselves; those about annotated ones have tests of their own. */
const TASKS = TASK_NAMES.filter(
  (name): name is ConversationTask => name !== 'contrastive' && !STORED_TASKS.has(name),
);
const literal = taskContext({ phrasing: 'literal', groundingPrompt: GROUNDING_PROMPT });

/** The worked example of the paper's formats: 640 x 480, deliberately out of order. */
const animals: ImageRecord = {
  id: 'animals',
  image: new Uint8Array(0),
  width: 640,
  height: 480,
  captions: ['A cat, a ball and a dog.'],
  objects: [
    { label: 'dog', phrase: 'dog', attributes: [], box: box(320, 240, 480, 400) },
    { label: 'cat', phrase: 'cat', attributes: [], box: box(32, 48, 160, 240) },
    { label: 'ball', phrase: 'ball', attributes: [], box: box(480, 60, 520, 100) },
  ],
  relations: [{ subject: 2, predicate: 'right of', object: 1 }],
};
const crowd = { label: 'person', phrase: 'person', attributes: [], box: box(0, 0, 640, 480), crowd: true };

const texts = (conversation: Conversation | null, record = animals) =>
  (conversation?.rounds ?? []).map(({ question, answer }) => [
    piecesText(question, record, 1000),
    piecesText(answer, record, 1000),
  ]);

let records: ImageRecord[];
beforeAll(async () => {
  records = await Promise.all(Array.from({ length: 12 }, (_, i) => randomRecord(i, 1 + (i % 6))));
});

describe('literal wording', () => {
  it('dense detection, in raster order', () => {
    expect(texts(conversationOf(animals, 'dense-detection', { ...literal, groundingPrompt: '' }))).toEqual([
      [
        'Please localize visible objects in the image in a raster scan order.',
        'The objects are: 1: cat [50, 100, 250, 500], 2: ball [750, 125, 812, 208], 3: dog [500, 500, 750, 833]',
      ],
    ]);
  });

  it('dense referring', () => {
    const conversation = conversationOf(animals, 'dense-referring', { ...literal, regionKind: 'box' });
    const [[question = '', answer = ''] = []] = texts(conversation);
    const names = /^Here are the categories: 1: (\w+), 2: (\w+), 3: (\w+)$/.exec(answer)?.slice(1) ?? [];
    const boxes = new Map([
      ['cat', '[50, 100, 250, 500]'],
      ['ball', '[750, 125, 812, 208]'],
      ['dog', '[500, 500, 750, 833]'],
    ]);
    expect([...names].sort()).toEqual(['ball', 'cat', 'dog']);
    const list = names.map((name, i) => `${i + 1}: ${boxes.get(name)} <region_fea>`).join(', ');
    expect(question).toBe(`Please classify the objects in the following locations. ${list}.`);
  });

  it('rec, with the grounding prompt', () => {
    const conversation = conversationOf(animals, 'rec', literal);
    expect(texts(conversation)).toContainEqual([
      `What is the location of cat in the image? ${GROUNDING_PROMPT}`,
      'cat [50, 100, 250, 500]',
    ]);
    expect(conversation?.rounds).toHaveLength(3);
  });

  it('roc', () => {
    const conversation = conversationOf(animals, 'roc', { ...literal, regionKind: 'box', labels: ['bird'] });
    for (const [question, answer] of texts(conversation)) {
      const match = /^Is the object \[.*\] <region_fea> of the image a (\w+) or a (\w+)\?$/.exec(
        question ?? '',
      );
      expect(match?.slice(1)).toContain(answer);
    }
  });

  it('relation, both ways, and no other', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const context = { ...literal, seed, regionKind: 'box' } as const;
      for (const [question = '', answer = ''] of texts(conversationOf(animals, 'relation', context))) {
        seen.add(`${question} ${answer}`);
      }
    }
    expect([...seen].sort()).toEqual([
      'What is right of cat? Include the coordinates for each mentioned object. ball [750, 125, 812, 208]',
      'What is the relation of [750, 125, 812, 208] <region_fea> to [50, 100, 250, 500] <region_fea>? right of',
    ]);
  });

  it('relation, from the boxes where nobody has annotated any', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const bare = { ...animals, relations: [] };
      const context = { ...literal, groundingPrompt: '', seed, regionKind: 'box' } as const;
      for (const [question = '', answer = ''] of texts(conversationOf(bare, 'relation', context))) {
        seen.add(`${question} ${answer}`);
      }
    }
    // Two are right of the cat and two above the dog: nobody is asked for those. Diagonal pairs stand in two relations.
    expect([...seen].sort()).toEqual([
      'What is below ball? dog [500, 500, 750, 833]',
      'What is below cat? dog [500, 500, 750, 833]',
      'What is left of dog? cat [50, 100, 250, 500]',
      'What is right of dog? ball [750, 125, 812, 208]',
      'What is the relation of [50, 100, 250, 500] <region_fea> to [750, 125, 812, 208] <region_fea>? left of',
      'What is the relation of [750, 125, 812, 208] <region_fea> to [50, 100, 250, 500] <region_fea>? right of',
    ]);
  });

  it('count and caption', () => {
    expect(texts(conversationOf(animals, 'count', literal))).toContainEqual([
      'How many dogs are in the image?',
      '1',
    ]);
    expect(texts(conversationOf(animals, 'caption', literal))).toEqual([
      ['Describe the image concisely.', 'A cat, a ball and a dog.'],
    ]);
  });
});

describe('every task', () => {
  it.each(TASKS)('%s is the same for the same seed, and differs between seeds', task => {
    const all = (seed: number) =>
      records.map(record => texts(conversationOf(record, task, taskContext({ seed })), record));
    expect(all(1)).toEqual(all(1));
    expect(all(1)).not.toEqual(all(2));
  });

  it.each(TASKS)('%s keeps its regions inside the image and its answers to its truths', task => {
    for (const record of records) {
      const conversation = conversationOf(record, task, taskContext({ labels: ['moon', 'sun'] }));
      if (!conversation) continue;
      expect(conversation.task).toBe(task);
      expect(conversation.image).toBe(task !== 'scene-text');
      for (const region of regionsOf(conversation)) {
        expect(regionPixels(region, record, 2, record.id).size).toBeGreaterThan(0);
      }
      for (const { answer, truth } of conversation.rounds) {
        const boxes = answer.flatMap(piece => (piece.kind === 'box' ? [piece.box] : []));
        expect(boxes).toEqual(truth.boxes ?? []);
        const text = piecesText(answer, record, 64);
        // Dense referring, also where scene-text borrows it, numbers its labels.
        if (truth.label && !text.startsWith('Here are the categories')) {
          expect(text.startsWith(truth.label)).toBe(true);
        }
      }
    }
  });

  it.each(TASKS)('%s gives nothing for a record without objects and captions', task => {
    const empty = { ...animals, objects: [], captions: [], relations: [] };
    expect(conversationOf(empty, task, taskContext({ labels: ['dog'] }))).toBeNull();
  });

  it.each(TASKS.filter(task => task !== 'negatives'))('%s never asks for one object of a crowd', task => {
    const crowded = { ...animals, objects: [crowd], captions: [], relations: [] };
    expect(conversationOf(crowded, task, taskContext({ labels: ['dog'] }))).toBeNull();
  });
});

describe('choices', () => {
  it('roc: the wrong option is never the label, both orders and all kinds of regions occur', () => {
    const orders = new Set<boolean>();
    const kinds = new Set<Region['kind'] | undefined>();
    for (let seed = 0; seed < 30; seed++) {
      for (const record of records) {
        const context = taskContext({ seed, phrasing: 'literal', labels: ['circle', 'square', 'moon'] });
        for (const { question, truth } of conversationOf(record, 'roc', context)?.rounds ?? []) {
          const text = piecesText(question, record, 64);
          expect(truth.distractor).not.toBe(truth.label);
          expect(text).toContain(`a ${truth.distractor}`);
          orders.add(text.indexOf(` a ${truth.label}`) < text.indexOf(` a ${truth.distractor}`));
          kinds.add(truth.region);
        }
      }
    }
    expect(orders.size).toBe(2);
    expect([...kinds].sort()).toEqual(['box', 'free-form', 'point']);
  });

  it('rec: asks only for what one phrase names alone', () => {
    const twins = {
      ...animals,
      objects: [...animals.objects, { ...animals.objects[0]!, box: box(0, 0, 9, 9) }],
    };
    const asked = conversationOf(twins, 'rec', literal)?.rounds.map(round => round.truth.label);
    expect(asked?.sort()).toEqual(['ball', 'cat']);
  });

  it('count: labels that are not there are 0', () => {
    const answers = new Set<string | undefined>();
    for (let seed = 0; seed < 40; seed++) {
      const context = taskContext({ seed, labels: ['zebra'] });
      for (const { question, truth } of conversationOf(animals, 'count', context)?.rounds ?? []) {
        const isZebra = piecesText(question, animals, 64).includes('zebras');
        expect(truth.label).toBe(isZebra ? '0' : '1');
        answers.add(truth.label);
      }
    }
    expect([...answers].sort()).toEqual(['0', '1']);
  });

  it('ocr: the digits of a region, and all of them', () => {
    const signs = {
      ...animals,
      objects: [
        { label: 'digit', phrase: 'red digit', attributes: ['red', '7'], box: box(0, 90, 9, 99) },
        { label: 'digit', phrase: 'digit 4', attributes: [], box: box(0, 0, 9, 9) },
        ...animals.objects,
      ],
    };
    const rounds = conversationOf(signs, 'ocr', literal)?.rounds ?? [];
    expect(
      rounds
        .slice(0, -1)
        .map(round => round.truth.label)
        .sort(),
    ).toEqual(['4', '7']);
    expect(piecesText(rounds.at(-1)?.answer ?? [], signs, 1000)).toMatch(/^4 \[.*\], 7 \[.*\]$/);
  });

  it('scene-text: tells what it asks for, in the form of every kind of answer', () => {
    const forms = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const conversation = conversationOf(animals, 'scene-text', taskContext({ seed, rounds: 6 }));
      const [[introduction = '', answer = ''] = []] = texts(conversation);
      expect(introduction).toContain('cat [50, 100, 250, 500]');
      for (const { truth } of conversation?.rounds ?? []) {
        for (const box of truth.boxes ?? []) expect(introduction).toContain(boxText(box, animals, 1000));
      }
      const rounds = conversation?.rounds.length;
      forms.add(
        rounds === 6 ? 'questions' : (/^(Here are|The objects are|A cat)/.exec(answer)?.[0] ?? answer),
      );
    }
    expect([...forms].sort()).toEqual(['A cat', 'Here are', 'The objects are', 'questions']);
  });

  it('scene-text: asks in another order than it tells, so that only the name says which is meant', () => {
    const agreed = [0, 0, 0];
    let told = 0;
    for (let seed = 0; seed < 600; seed++) {
      const conversation = conversationOf(animals, 'scene-text', taskContext({ seed, rounds: 3 }));
      if (conversation?.rounds.length !== 3) continue;
      const [[introduction = ''] = []] = texts(conversation);
      const places = animals.objects
        .map(({ box: place }) => introduction.indexOf(boxText(place, animals, 1000)))
        .sort((a, b) => a - b);
      for (const [i, { truth }] of conversation.rounds.entries()) {
        const asked = truth.boxes?.[0];
        if (!asked) continue;
        told++;
        const place = places.indexOf(introduction.indexOf(boxText(asked, animals, 1000)));
        if (place === i) agreed[i]!++;
      }
    }
    // A third by chance; all of them when order gives the answer away.
    expect(told).toBeGreaterThan(200);
    expect(agreed.reduce((a, b) => a + b)).toBeLessThan(told / 2);
  });

  it('dense detection: at most maxObjects, still in raster order', async () => {
    const record = await randomRecord(1, 15);
    const boxes = conversationOf(record, 'dense-detection', taskContext({ maxObjects: 6 }))?.rounds[0]?.truth
      .boxes;
    expect(boxes).toHaveLength(6);
    const keys = boxes!.map(({ x1, y1 }) => y1 * 1000 + x1);
    expect(keys).toEqual([...keys].sort((a, b) => a - b));
  });

  it('a scribble stays on its object', () => {
    for (const record of records) {
      const context = taskContext({ regionKind: 'free-form' });
      const conversation = conversationOf(record, 'reg', context)!;
      for (const [i, region] of regionsOf(conversation).entries()) {
        const label = conversation.rounds[i]?.truth.label;
        const owner = record.objects.find(object => object.phrase === label)!;
        const bounds = boundsOf(region.kind === 'free-form' ? region.mask : owner.mask!)!;
        expect(bounds.x1).toBeGreaterThanOrEqual(owner.box.x1);
        expect(bounds.y1).toBeGreaterThanOrEqual(owner.box.y1);
        expect(bounds.x2).toBeLessThanOrEqual(owner.box.x2);
        expect(bounds.y2).toBeLessThanOrEqual(owner.box.y2);
      }
    }
  });
});

describe('templates', () => {
  it('have at least eight phrasings for each task, all different', () => {
    const frequent = [
      GROUNDED_CAPTION_QUESTIONS,
      GROUNDED_COUNT_QUESTIONS,
      PHRASE_GROUNDING_QUESTIONS,
      READ_ALL_QUESTIONS,
      READ_REGION_QUESTIONS,
      [...RELATION_QUESTIONS, ...RELATED_QUESTIONS],

      CAPTION_QUESTIONS,
      COUNT_QUESTIONS,
      DENSE_DETECTION_QUESTIONS,
      DENSE_REFERRING_QUESTIONS,
      REC_QUESTIONS,
      REG_QUESTIONS,
      ROC_QUESTIONS,
    ];
    for (const questions of frequent) expect(new Set(questions).size).toBeGreaterThanOrEqual(8);
  });

  it('complain of a slot without a value', () => {
    expect(fill('a {b} c', { b: 'x' }).map(piece => (piece.kind === 'text' ? piece.text : '?'))).toEqual([
      'a ',
      'x',
      ' c',
    ]);
    expect(() => fill('a {b}', {})).toThrow(/no value for \{b\}/);
  });

  it('form plurals', () => {
    const nouns = [
      'dog',
      'bus',
      'sheep',
      'knife',
      'bench',
      'teddy bear',
      'person',
      'cherry',
      'key',
      'wine glass',
    ];
    expect(nouns.map(pluralOf)).toEqual([
      ...['dogs', 'buses', 'sheep', 'knives', 'benches', 'teddy bears', 'people', 'cherries', 'keys'],
      'wine glasses',
    ]);
  });

  it('contrastive is no conversation', () => {
    expect(() => conversationOf(animals, 'contrastive', literal)).toThrow(/makes no conversations/);
  });
});
