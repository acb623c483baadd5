import { boxPiece, textPiece } from '../conversation.ts';
import type { Task } from './context.ts';
import { someObjects, uniquelyNamed } from './objects.ts';
import { grounded, phrase } from './template.ts';

export const REC_QUESTIONS = [
  'What is the location of {phrase} in the image?',
  'Where is {phrase} in the image?',
  'Find {phrase}.',
  'Please locate {phrase} in the image.',
  'Where can {phrase} be found?',
  'Give the location of {phrase}.',
  'Point out {phrase} in the image.',
  'Which region of the image shows {phrase}?',
  'Can you find {phrase} in the image?',
] as const;

/** Phrase to box: several questions about objects that their phrase names alone. */
export const rec: Task = (record, context, random) => {
  const objects = random.shuffle(someObjects(uniquelyNamed(record.objects), context.rounds, random));
  if (objects.length === 0) return null;
  return {
    task: 'rec',
    image: true,
    rounds: objects.map(object => ({
      question: grounded(
        // Commas separate phrases in grounding questions; Ferret's evaluation drops them from a single one.
        phrase(REC_QUESTIONS, { phrase: object.phrase.replaceAll(',', '') }, context, random),
        context,
      ),
      answer: [textPiece(`${object.phrase} `), boxPiece(object.box)],
      truth: { boxes: [object.box], label: object.phrase },
    })),
  };
};
