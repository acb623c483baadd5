/** Records of every shape that the schema allows, for properties: fields present or absent, lists empty or not. */
import fc from 'fast-check';
import type { Piece, Region } from '../../src/data/conversation.ts';
import {
  CONVERSATION_KINDS,
  type ImageRecord,
  type ObjectAnnotation,
  type StoredRound,
} from '../../src/data/record.ts';

/** Keys that may be absent, and are rather than undefined. */
function partly<T extends object, K extends keyof T>(
  model: { [P in keyof T]: fc.Arbitrary<T[P]> },
  keys: K[],
) {
  return fc.record(model, { requiredKeys: keys, noNullPrototype: true });
}

/** A plain object with all keys; given any option, fast-check's type takes keys for optional that are always there. */
function all<T extends object>(model: { [P in keyof T]: fc.Arbitrary<T[P]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

/** 'grapheme' strings are well formed; a lone surrogate has no UTF-8. The mark at the front is not to be lost. */
const text = fc.oneof(
  { weight: 9, arbitrary: fc.string({ unit: 'grapheme' }) },
  { weight: 1, arbitrary: fc.constantFrom('\ufeffmark', 'a\u0000b', '「猫」🐈‍⬛', '') },
);
const named = text.filter(value => value !== '');
const whole = fc.nat();
const number = fc.double({ noNaN: true });
const box = all({
  space: fc.constant('pixels' as const),
  x1: number,
  y1: number,
  x2: number,
  y2: number,
});
const mask = all({ size: fc.tuple(whole, whole), counts: text });
const point = all({ x: number, y: number });

const region: fc.Arbitrary<Region> = fc.oneof(
  partly({ kind: fc.constant('point' as const), point, within: box, mask }, ['kind', 'point']),
  partly({ kind: fc.constant('box' as const), box, mask }, ['kind', 'box']),
  all({ kind: fc.constant('free-form' as const), mask }),
);

const piece: fc.Arbitrary<Piece> = fc.oneof(
  all({ kind: fc.constant('text' as const), text }),
  all({ kind: fc.constant('box' as const), box }),
  all({ kind: fc.constant('region' as const), region }),
);

const pieces = fc.array(piece, { maxLength: 4 });
const round: fc.Arbitrary<StoredRound> = partly(
  { question: pieces, answer: pieces, accepted: fc.array(text, { minLength: 1, maxLength: 3 }) },
  ['question', 'answer'],
);

const object: fc.Arbitrary<ObjectAnnotation> = partly(
  {
    label: text,
    phrase: text,
    attributes: fc.array(text, { maxLength: 3 }),
    box,
    mask,
    crowd: fc.constant(true),
    expressions: fc.array(text, { minLength: 1, maxLength: 3 }),
  },
  ['label', 'phrase', 'attributes', 'box'],
);

/** Without `path`: what a path turns into depends on the folder. */
export const anyRecord: fc.Arbitrary<ImageRecord> = partly(
  {
    id: text,
    image: fc.uint8Array({ maxLength: 40 }),
    width: whole,
    height: whole,
    captions: fc.array(text, { maxLength: 3 }),
    objects: fc.array(object, { maxLength: 4 }),
    relations: fc.array(all({ subject: whole, predicate: text, object: whole }), { maxLength: 3 }),
    split: named,
    regions: fc.array(all({ phrase: text, box }), { minLength: 1, maxLength: 3 }),
    spans: fc.array(
      all({ caption: whole, start: whole, end: whole, objects: fc.array(whole, { maxLength: 3 }) }),
      { minLength: 1, maxLength: 3 },
    ),
    conversations: fc.array(
      all({ kind: fc.constantFrom(...CONVERSATION_KINDS), rounds: fc.array(round, { maxLength: 3 }) }),
      { minLength: 1, maxLength: 3 },
    ),
    absent: fc.array(text, { minLength: 1, maxLength: 3 }),
  },
  ['id', 'image', 'width', 'height', 'captions', 'objects', 'relations'],
);

/** A text-only record: no image, no size. */
export const textOnly: ImageRecord = {
  id: 'text-only',
  image: new Uint8Array(),
  width: 0,
  height: 0,
  captions: [],
  objects: [],
  relations: [],
  conversations: [
    {
      kind: 'chat',
      rounds: [
        {
          question: [{ kind: 'text', text: 'Wie heißt die Katze?' }],
          answer: [{ kind: 'text', text: '「ミケ」 🐈' }],
        },
      ],
    },
  ],
};

const at = { space: 'pixels', x1: 1, y1: 2, x2: 30.25, y2: 40 } as const;

/** A record that has every field there is. */
export const fullRecord: ImageRecord = {
  id: 'full-1',
  image: Uint8Array.of(0xff, 0xd8, 0, 0x80),
  width: 64,
  height: 48,
  captions: ['a cat on a mat.', 'un été 🐈 "quoted"'],
  objects: [
    {
      label: 'cat',
      phrase: 'black cat',
      attributes: ['black'],
      box: at,
      mask: { size: [48, 64], counts: '0<' },
      expressions: ['cat on the left'],
    },
    { label: 'cat', phrase: 'cat', attributes: [], box: { ...at, x1: 0 }, crowd: true },
  ],
  relations: [{ subject: 0, predicate: 'left of', object: 1 }],
  split: 'testA',
  regions: [{ phrase: 'cat holding a cup', box: at }],
  spans: [{ caption: 0, start: 2, end: 5, objects: [0, 1] }],
  conversations: [
    {
      kind: 'vqa',
      rounds: [
        {
          question: [
            { kind: 'text', text: 'What is ' },
            { kind: 'region', region: { kind: 'point', point: { x: 3, y: 4.5 }, within: at } },
            { kind: 'region', region: { kind: 'box', box: at, mask: { size: [48, 64], counts: '0<' } } },
            { kind: 'region', region: { kind: 'free-form', mask: { size: [48, 64], counts: '0<' } } },
          ],
          answer: [
            { kind: 'text', text: 'a cat ' },
            { kind: 'box', box: at },
          ],
          accepted: ['a cat', 'cat'],
        },
      ],
    },
    { kind: 'chat', rounds: [] },
  ],
  absent: ['dog'],
};
