import { boxPiece, type Piece, type Round, textPiece } from '../conversation.ts';
import type { ObjectAnnotation } from '../record.ts';
import type { Task } from './context.ts';
import { COUNT_QUESTIONS } from './count.ts';
import { countBy, pluralOf, singleObjects, someObjects, uniquelyNamed } from './objects.ts';
import { REC_QUESTIONS } from './rec.ts';
import { REG_QUESTIONS } from './reg.ts';
import { ROC_QUESTIONS } from './roc.ts';
import { phrase } from './template.ts';

export const SCENE_INTRODUCTION = 'The image shows {objects}. ';

/**
 * No image: the objects and their boxes are told in words, then asked for with the questions of rec, reg, roc and
 * count. It teaches the language model to retrieve and to copy from its own context before it has eyes.
 */
export const sceneText: Task = (record, context, random) => {
  const told = random.shuffle(someObjects(singleObjects(record.objects), context.maxObjects, random));
  if (told.length === 0) return null;
  const unique = uniquelyNamed(told);
  const objects = told.flatMap((object, i): Piece[] => [
    textPiece(`${i === 0 ? '' : ', '}${object.phrase} `),
    boxPiece(object.box),
  ]);
  const labels = [...new Set([...told.map(object => object.label), ...context.labels])];
  const counts = countBy(told.map(object => object.label));
  const ask = (object: ObjectAnnotation): Round => {
    const kinds = ['reg', 'count'];
    if (unique.includes(object)) kinds.push('rec', 'rec', 'rec');
    if (labels.length > 1) kinds.push('roc');
    const kind = random.pick(kinds);
    const location = [boxPiece(object.box)];
    if (kind === 'rec') {
      return {
        question: phrase(REC_QUESTIONS, { phrase: object.phrase }, context, random),
        answer: [textPiece(`${object.phrase} `), boxPiece(object.box)],
        truth: { boxes: [object.box], label: object.phrase },
      };
    }
    if (kind === 'reg') {
      return {
        question: phrase(REG_QUESTIONS, { location }, context, random),
        answer: [textPiece(object.phrase)],
        truth: { label: object.phrase },
      };
    }
    if (kind === 'count') {
      const number = String(counts.get(object.label) ?? 0);
      return {
        question: phrase(COUNT_QUESTIONS, { things: pluralOf(object.label) }, context, random),
        answer: [textPiece(number)],
        truth: { label: number },
      };
    }
    const wrong = random.pick(labels.filter(label => label !== object.label));
    const [first, second] = random.shuffle([object.label, wrong]) as [string, string];
    return {
      question: phrase(ROC_QUESTIONS, { location, first, second }, context, random),
      answer: [textPiece(object.label)],
      truth: { label: object.label, distractor: wrong },
    };
  };
  const rounds = Array.from({ length: context.rounds }, (_, i) => ask(told[i % told.length]!));
  const [first, ...rest] = rounds as [Round, ...Round[]];
  const introduction = phrase([SCENE_INTRODUCTION], { objects }, context, random);
  return {
    task: 'scene-text',
    image: false,
    rounds: [{ ...first, question: [...introduction, ...first.question] }, ...rest],
  };
};
