import { regionPiece, textPiece } from '../conversation.ts';
import type { Task } from './context.ts';
import { singleObjects, someObjects } from './objects.ts';
import { pointAt, pointingKind } from './pointing.ts';
import { enumerate, phrase } from './template.ts';

export const DENSE_REFERRING_QUESTIONS = [
  'Please classify the objects in the following locations. {locations}.',
  'What are the objects in the following locations? {locations}.',
  'Name the object in each of these locations. {locations}.',
  'Please name what is in each location. {locations}.',
  'Identify the objects in these regions. {locations}.',
  'Which objects are in the following regions? {locations}.',
  'Tell me what each of these regions shows. {locations}.',
  'Please list the categories of the objects in these locations. {locations}.',
] as const;
export const DENSE_REFERRING_ANSWER = 'Here are the categories: {names}';

/** Many regions in, their categories out, in random order (so that the order gives nothing away). */
export const denseReferring: Task = (record, context, random) => {
  const objects = random.shuffle(someObjects(singleObjects(record.objects), context.maxObjects, random));
  if (objects.length === 0) return null;
  const kind = pointingKind(objects, context, random);
  const locations = enumerate(objects.map(object => [regionPiece(pointAt(object, kind, record, random))]));
  const names = enumerate(objects.map(object => [textPiece(object.label)]));
  return {
    task: 'dense-referring',
    image: true,
    rounds: [
      {
        question: phrase(DENSE_REFERRING_QUESTIONS, { locations }, context, random),
        answer: phrase([DENSE_REFERRING_ANSWER], { names }, context, random),
        truth: { label: objects.map(object => object.label).join(', '), region: kind },
      },
    ],
  };
};
