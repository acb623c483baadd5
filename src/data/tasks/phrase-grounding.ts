import type { PixelBox } from '../box.ts';
import { boxPiece, type Piece, type Round, textPiece } from '../conversation.ts';
import { type Annotations, expressionsOf } from '../record.ts';
import { distinct } from '../regions.ts';
import type { Task } from './context.ts';
import { mentionsOf } from './mentions.ts';
import { pluralOf, rasterOrder } from './objects.ts';
import { grounded, phrase } from './template.ts';

export const PHRASE_GROUNDING_QUESTIONS = [
  'What are the locations of {phrases}?',
  'Where can {phrases} be found in the image?',
  'Find {phrases} in the image.',
  'Please locate {phrases}.',
  'Give the locations of {phrases}.',
  'Locate {phrases} in the image.',
  'Which regions of the image show {phrases}?',
  'Point out {phrases} in the image.',
  'Tell me where {phrases} can be seen.',
] as const;

interface GroundedPhrase {
  readonly phrase: string;
  readonly boxes: readonly PixelBox[];
}

/**
 * Phrases of captions to all their boxes. Several in one turn, as Ferret asks, or one a turn; for scoring, each phrase
 * is a question of its own. Records without captions that name objects give described regions, expressions, phrases that
 * fit one object, and the plural of labels.
 */
export const phraseGrounding: Task = (record, context, random) => {
  const known = phrasesOf(record).filter(({ boxes }) => boxes.length <= context.maxObjects);
  if (known.length === 0) return null;
  const literal = context.phrasing === 'literal';
  const together = !literal && random.next() < 0.5;
  const most = together ? context.maxObjects : context.rounds;
  const chosen =
    known.length <= most || literal
      ? known.slice(0, most)
      : some(distinct(known.length, most, random), known);
  const turns = together
    ? turnsOf(chosen, context.maxObjects).slice(0, context.rounds)
    : chosen.map(one => [one]);
  return {
    task: 'phrase-grounding',
    image: true,
    rounds: turns.map((turn): Round => {
      const phrases = turn.map(one => one.phrase).join(', ');
      return {
        question: grounded(phrase(PHRASE_GROUNDING_QUESTIONS, { phrases }, context, random), context),
        answer: turn.flatMap((one, i): Piece[] => [
          textPiece(`${i === 0 ? '' : ', '}${one.phrase} `),
          ...one.boxes.flatMap((box, k): Piece[] => [...(k === 0 ? [] : [textPiece(' ')]), boxPiece(box)]),
        ]),
        truth: {
          boxes: turn.flatMap(one => one.boxes),
          ...(turn.length === 1 ? { label: turn[0]!.phrase } : {}),
        },
      };
    }),
  };
};

/** Every phrase of the record whose boxes are known; none that means different objects in two places. */
function phrasesOf(record: Annotations): GroundedPhrase[] {
  const found = record.captions.flatMap((_, i) => {
    const { caption, mentions } = mentionsOf(record, i);
    return mentions.map(({ start, end, objects }) => ({
      phrase: caption.slice(start, end).toLowerCase(),
      boxes: objects.map(object => record.objects[object]!.box),
    }));
  });
  return unambiguous(found.length > 0 ? found : namedObjects(record));
}

function namedObjects(record: Annotations): GroundedPhrase[] {
  const { objects, regions = [] } = record;
  const byPhrase = new Map<string, PixelBox[]>();
  for (const { phrase, box } of regions) byPhrase.set(phrase, [...(byPhrase.get(phrase) ?? []), box]);
  const crowded = new Set(objects.filter(object => object.crowd).map(object => object.label));
  const labels = [...new Set(objects.map(object => object.label))].filter(label => !crowded.has(label));
  return [
    ...[...byPhrase].map(([phrase, boxes]) => ({ phrase, boxes })),
    ...objects.flatMap((object, i) =>
      object.crowd ? [] : expressionsOf(objects, i).map(phrase => ({ phrase, boxes: [object.box] })),
    ),
    ...labels.flatMap(label => {
      const all = objects.filter(object => object.label === label);
      return all.length < 2
        ? []
        : [{ phrase: pluralOf(label), boxes: rasterOrder(all).map(object => object.box) }];
    }),
  ];
}

/** Each phrase once, without commas (they part phrases in a question), and only where all its uses have the same boxes. */
function unambiguous(phrases: readonly GroundedPhrase[]): GroundedPhrase[] {
  const byPhrase = new Map<string, GroundedPhrase | null>();
  for (const { phrase, boxes } of phrases) {
    const text = phrase.replaceAll(',', '').trim();
    if (text === '' || boxes.length === 0) continue;
    const before = byPhrase.get(text);
    const same = before === undefined || (before !== null && keyOf(before.boxes) === keyOf(boxes));
    byPhrase.set(text, same ? { phrase: text, boxes } : null);
  }
  return [...byPhrase.values()].filter(found => found !== null);
}

function keyOf(boxes: readonly PixelBox[]): string {
  return boxes
    .map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2].join(' '))
    .sort()
    .join(', ');
}

function some<T>(rows: readonly number[], items: readonly T[]): T[] {
  return [...rows].sort((a, b) => a - b).map(row => items[row]!);
}

/** Phrases in their order, as many a turn as have `most` boxes together. */
function turnsOf(phrases: readonly GroundedPhrase[], most: number): GroundedPhrase[][] {
  const turns: GroundedPhrase[][] = [];
  let boxes = Number.POSITIVE_INFINITY;
  for (const one of phrases) {
    if (boxes + one.boxes.length > most) {
      turns.push([]);
      boxes = 0;
    }
    turns.at(-1)!.push(one);
    boxes += one.boxes.length;
  }
  return turns;
}
