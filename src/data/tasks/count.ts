import { textPiece } from '../conversation.ts';
import { absentLabels } from './absence.ts';
import type { Task } from './context.ts';
import { countBy, pluralOf } from './objects.ts';
import { phrase } from './template.ts';

export const COUNT_QUESTIONS = [
  'How many {things} are in the image?',
  'How many {things} are there?',
  'Count the {things} in the image.',
  'What is the number of {things} in the image?',
  'How many {things} can you see?',
  'How many {things} does the image show?',
  'Please count the {things}.',
  'Tell me how many {things} are visible.',
] as const;

/** Label to number, in digits. One question in five is about a label that the image lacks. */
export const count: Task = (record, context, random) => {
  const counts = countBy(record.objects.map(object => object.label));
  const absent = record.absent
    ? absentLabels(record, context)
    : context.labels.filter(label => !counts.has(label));
  // A crowd is one annotation of nobody knows how many.
  const crowded = new Set(record.objects.filter(object => object.crowd).map(object => object.label));
  const countable = [...counts.keys()].filter(label => !crowded.has(label));
  const asked = random.shuffle(countable).slice(0, context.rounds);
  if (asked.length === 0) return null;
  const rounds = asked.map(present => {
    const label = absent.length > 0 && random.next() < 0.2 ? random.pick(absent) : present;
    const answer = String(counts.get(label) ?? 0);
    return {
      question: phrase(COUNT_QUESTIONS, { things: pluralOf(label) }, context, random),
      answer: [textPiece(answer)],
      truth: { label: answer },
    };
  });
  return { task: 'count', image: true, rounds };
};
