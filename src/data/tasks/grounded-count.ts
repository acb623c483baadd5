import { boxPiece, type Piece, textPiece } from '../conversation.ts';
import { absentLabels } from './absence.ts';
import type { Task } from './context.ts';
import { countBy, pluralOf, rasterOrder } from './objects.ts';
import { grounded, phrase } from './template.ts';

export const GROUNDED_COUNT_QUESTIONS = [
  'How many {things} are in the image, and where is each one?',
  'Count the {things} in the image and list the location of each.',
  'How many {things} are there, and where?',
  'Count the {things} and locate each one.',
  'What is the number of {things} in the image, and where can each be found?',
  'How many {things} can you see? Locate each one.',
  'Please count the {things} and list the locations.',
  'Tell me how many {things} are visible, and where.',
] as const;

/**
 * Label to number and boxes, in raster order: "2: [..], [..]". One question in five is about a label that the image lacks.
 * Labels with a crowd or with more objects than may be listed are not asked for.
 */
export const groundedCount: Task = (record, context, random) => {
  const crowded = new Set(record.objects.filter(object => object.crowd).map(object => object.label));
  const counts = countBy(record.objects.map(object => object.label));
  const countable = [...counts].filter(([label, n]) => !crowded.has(label) && n <= context.maxObjects);
  const asked = random.shuffle(countable.map(([label]) => label)).slice(0, context.rounds);
  if (asked.length === 0) return null;
  const absent = absentLabels(record, context);
  return {
    task: 'grounded-count',
    image: true,
    rounds: asked.map(present => {
      const label = absent.length > 0 && random.next() < 0.2 ? random.pick(absent) : present;
      const boxes = rasterOrder(record.objects.filter(object => object.label === label)).map(
        object => object.box,
      );
      const number = String(boxes.length);
      return {
        question: grounded(
          phrase(GROUNDED_COUNT_QUESTIONS, { things: pluralOf(label) }, context, random),
          context,
        ),
        answer: [
          textPiece(number),
          ...boxes.flatMap((box, i): Piece[] => [textPiece(i === 0 ? ': ' : ', '), boxPiece(box)]),
        ],
        truth: { label: number, boxes },
      };
    }),
  };
};
