import type { Random } from '../../random.ts';
import { regionPiece, textPiece } from '../conversation.ts';
import type { ObjectAnnotation } from '../record.ts';
import type { Task, TaskContext } from './context.ts';
import { singleObjects, someObjects } from './objects.ts';
import { pointAt, pointingKind } from './pointing.ts';
import { phrase } from './template.ts';

export const REG_QUESTIONS = [
  'What is the object {location}?',
  'What is in the region {location}?',
  'Describe the object {location} in a short phrase.',
  'Name the object {location}.',
  'What does the region {location} show?',
  'Please describe the region {location}.',
  'What can be seen in {location}?',
  'Give a short description of {location}.',
] as const;

/** Region to phrase: an expression that people wrote for the object, else its phrase. */
export const reg: Task = (record, context, random) => {
  const objects = random.shuffle(someObjects(singleObjects(record.objects), context.rounds, random));
  if (objects.length === 0) return null;
  return {
    task: 'reg',
    image: true,
    rounds: objects.map(object => {
      const kind = pointingKind([object], context, random);
      const location = [regionPiece(pointAt(object, kind, record, random))];
      const said = saidOf(object, context, random);
      return {
        question: phrase(REG_QUESTIONS, { location }, context, random),
        answer: [textPiece(said)],
        truth: { label: said, region: kind },
      };
    }),
  };
};

function saidOf(
  { expressions = [], phrase }: ObjectAnnotation,
  context: TaskContext,
  random: Random,
): string {
  if (expressions.length === 0) return phrase;
  return context.phrasing === 'literal' ? expressions[0]! : random.pick(expressions);
}
