import { boxPiece, type Round, regionPiece, textPiece } from '../conversation.ts';
import { textOf } from '../record.ts';
import type { Task } from './context.ts';
import { rasterOrder, singleObjects, someObjects } from './objects.ts';
import { pointAt, pointingKind } from './pointing.ts';
import { grounded, phrase } from './template.ts';

export const READ_REGION_QUESTIONS = [
  'What is written in {location}?',
  'Read the text in {location}.',
  'Which digit is in {location}?',
  'What does the text {location} say?',
  'What text is in {location}?',
  'Which text can be seen in {location}?',
  'Name the text in {location}.',
  'Give the text of the region {location}.',
] as const;
export const READ_ALL_QUESTIONS = [
  'Read all text in the image.',
  'What text is in the image?',
  'Which digits are in the image?',
  'List the text of the image.',
  'What is written in the image?',
  'Which text can be seen in the image?',
  'Give all text of the image.',
  'Please list all visible text.',
] as const;

/** Written digits: what stands in a region, and all of the image's with their boxes in raster order. */
export const ocr: Task = (record, context, random) => {
  const texts = singleObjects(record.objects).filter(object => textOf(object) !== null);
  if (texts.length === 0) return null;
  const asked = random.shuffle(someObjects(texts, Math.max(context.rounds - 1, 1), random));
  const rounds = asked.map((object): Round => {
    const kind = pointingKind([object], context, random);
    const location = [regionPiece(pointAt(object, kind, record, random))];
    const answer = textOf(object) ?? '';
    return {
      question: phrase(READ_REGION_QUESTIONS, { location }, context, random),
      answer: [textPiece(answer)],
      truth: { label: answer, region: kind },
    };
  });
  if (context.rounds > 1) {
    const all = rasterOrder(texts).slice(0, context.maxObjects);
    const answer = all.flatMap((object, i) => [
      textPiece(`${i === 0 ? '' : ', '}${textOf(object)} `),
      boxPiece(object.box),
    ]);
    const question = grounded(phrase(READ_ALL_QUESTIONS, {}, context, random), context);
    rounds.push({ question, answer, truth: { boxes: all.map(object => object.box) } });
  }
  return { task: 'ocr', image: true, rounds };
};
