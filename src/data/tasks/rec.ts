import type { Random } from '../../random.ts';
import { boxPiece, type Round, textPiece } from '../conversation.ts';
import { type Annotations, expressionsOf, type ObjectAnnotation } from '../record.ts';
import { absentLabels } from './absence.ts';
import type { Task, TaskContext } from './context.ts';
import { someObjects } from './objects.ts';
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
export const ABSENT_ANSWER = 'There is no {phrase} in the image.';

/** Share of questions about what is not there, where annotators noted what they looked for in vain. */
const ABSENT_SHARE = 0.1;

/**
 * Phrase to box: several questions about objects that words tell apart from all others: an expression that people wrote,
 * else a phrase that fits nothing else. For scoring, every expression is a question. Where the record lists absent labels,
 * one question in ten asks for one of these instead.
 */
export const rec: Task = (record, context, random) => {
  const objects = random.shuffle(someObjects(tellable(record), context.rounds, random));
  if (objects.length === 0) return null;
  const literal = context.phrasing === 'literal';
  const absent = literal || !record.absent ? [] : absentLabels(record, context);
  const rounds = objects.flatMap((object): Round[] => {
    const words = expressionsOf(record.objects, record.objects.indexOf(object));
    const [first = object.phrase] = words;
    if (literal) return words.map(expression => recRound(object, expression, context, random));
    if (absent.length > 0 && random.next() < ABSENT_SHARE) {
      return [absentRound(random.pick(absent), context, random)];
    }
    return [recRound(object, words.length > 1 ? random.pick(words) : first, context, random)];
  });
  return { task: 'rec', image: true, rounds: rounds.slice(0, context.rounds) };
};

/** The question where something is that is not there, and its answer. */
export function absentRound(label: string, context: TaskContext, random: Random): Round {
  return {
    question: question(label, context, random),
    answer: phrase([ABSENT_ANSWER], { phrase: label }, context, random),
    truth: { boxes: [], absent: label },
  };
}

function recRound(object: ObjectAnnotation, expression: string, context: TaskContext, random: Random): Round {
  return {
    question: question(expression, context, random),
    answer: [textPiece(`${expression} `), boxPiece(object.box)],
    truth: { boxes: [object.box], label: expression },
  };
}

function question(words: string, context: TaskContext, random: Random) {
  // Commas separate phrases in grounding questions; Ferret's evaluation drops them from a single one.
  return grounded(phrase(REC_QUESTIONS, { phrase: words.replaceAll(',', '') }, context, random), context);
}

function tellable({ objects }: Annotations): ObjectAnnotation[] {
  return objects.filter((object, i) => !object.crowd && expressionsOf(objects, i).length > 0);
}
