import { regionPiece, textPiece } from '../conversation.ts';
import type { Task } from './context.ts';
import { singleObjects, someObjects } from './objects.ts';
import { pointAt, pointingKind } from './pointing.ts';
import { phrase } from './template.ts';

export const ROC_QUESTIONS = [
  'Is the object {location} of the image a {first} or a {second}?',
  'Is {location} a {first} or a {second}?',
  'Does the region {location} show a {first} or a {second}?',
  'Which is it in {location}, a {first} or a {second}?',
  'Is there a {first} or a {second} in {location}?',
  'A {first} or a {second}: what is the object {location}?',
  'What is {location}, a {first} or a {second}?',
  'Choose the name of the object {location}: {first} or {second}.',
] as const;

/**
 * Region and two labels, the right one and one that is never the object's. Half of the wrong options are other labels
 * of the same image, where it has any: those tell looking at the region from looking at the image.
 */
export const roc: Task = (record, context, random) => {
  const here = [...new Set(record.objects.map(object => object.label))];
  const known = [...new Set([...here, ...context.labels])];
  const answerable = singleObjects(record.objects).filter(o => known.some(label => label !== o.label));
  const objects = random.shuffle(someObjects(answerable, context.rounds, random));
  if (objects.length === 0) return null;
  return {
    task: 'roc',
    image: true,
    rounds: objects.map(object => {
      const kind = pointingKind([object], context, random);
      const location = [regionPiece(pointAt(object, kind, record, random))];
      const [near, all] = [here, known].map(labels => labels.filter(label => label !== object.label)) as [
        string[],
        string[],
      ];
      const wrong = random.pick(near.length > 0 && random.next() < 0.5 ? near : all);
      const swap = random.next() < 0.5;
      const options = swap ? { first: wrong, second: object.label } : { first: object.label, second: wrong };
      return {
        question: phrase(ROC_QUESTIONS, { location, ...options }, context, random),
        answer: [textPiece(object.label)],
        truth: { label: object.label, distractor: wrong, region: kind },
      };
    }),
  };
};
