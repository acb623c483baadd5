import type { Random } from '../../random.ts';
import { boxPiece, type Piece, type Round, textPiece } from '../conversation.ts';
import { type Annotations, describeObject, type ObjectAnnotation } from '../record.ts';
import { caption } from './caption.ts';
import type { Task, TaskContext } from './context.ts';
import { COUNT_QUESTIONS } from './count.ts';
import { denseDetection } from './dense-detection.ts';
import { denseReferring } from './dense-referring.ts';
import { countBy, pluralOf, singleObjects, someObjects, uniquelyNamed } from './objects.ts';
import { REC_QUESTIONS } from './rec.ts';
import { REG_QUESTIONS } from './reg.ts';
import { ROC_QUESTIONS } from './roc.ts';
import { phrase } from './template.ts';

export const SCENE_INTRODUCTION = 'The image shows {objects}. ';

/**
 * No image: the objects and their boxes are told in words, then asked for as other tasks ask when there is an image.
 * It teaches the language model to retrieve and to copy from its own context, and the form of all answers, before it
 * has eyes. One conversation in four writes a caption, one in four answers a dense task.
 */
export const sceneText: Task = (record, context, random) => {
  const told = random.shuffle(someObjects(singleObjects(record.objects), context.maxObjects, random));
  if (told.length === 0) return null;
  const form = random.pick(['questions', 'questions', 'caption', 'dense'] as const);
  // A caption speaks of colours and textures that the shortest phrase leaves out.
  const inFull = form === 'caption' || random.next() < 0.5;
  const objects = told.flatMap((object, i): Piece[] => [
    textPiece(`${i === 0 ? '' : ', '}${inFull ? describeObject(object) : object.phrase} `),
    boxPiece(object.box),
  ]);
  const borrowed = form === 'questions' ? null : borrow(form, { ...record, objects: told }, context, random);
  const [first, ...rest] = (borrowed ?? questions(told, context, random)) as [Round, ...Round[]];
  const introduction = phrase([SCENE_INTRODUCTION], { objects }, context, random);
  return {
    task: 'scene-text',
    image: false,
    rounds: [{ ...first, question: [...introduction, ...first.question] }, ...rest],
  };
};

/** The rounds of an image task, its regions as boxes in words. Null where the record cannot serve it. */
function borrow(
  form: 'caption' | 'dense',
  record: Annotations,
  context: TaskContext,
  random: Random,
): Round[] | null {
  const task = form === 'caption' ? caption : random.pick([denseDetection, denseReferring]);
  const conversation = task(record, { ...context, regionKind: 'box' }, random);
  const inWords = (piece: Piece): Piece =>
    piece.kind === 'region' && piece.region.kind === 'box' ? boxPiece(piece.region.box) : piece;
  return conversation?.rounds.map(round => ({ ...round, question: round.question.map(inWords) })) ?? null;
}

/** Questions of rec, reg, roc and count about the objects told. */
function questions(told: readonly ObjectAnnotation[], context: TaskContext, random: Random): Round[] {
  const unique = uniquelyNamed(told);
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
  // In an order of its own: asked in the order told, objects are found by counting, and names are never looked up.
  const asked = random.shuffle(told);
  return Array.from({ length: context.rounds }, (_, i) => ask(asked[i % asked.length]!));
}
