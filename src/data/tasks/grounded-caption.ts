import { boxPiece, type Piece, textPiece } from '../conversation.ts';
import type { Annotations } from '../record.ts';
import type { Task } from './context.ts';
import { type CaptionMentions, mentionsOf } from './mentions.ts';
import { grounded, phrase } from './template.ts';

export const GROUNDED_CAPTION_QUESTIONS = [
  'Describe the image with the location of every object in it.',
  'Describe the image with the coordinates of each object in it.',
  'What does the image show, and where is it?',
  'Give a short description of the image with the location of each object.',
  'Summarize the image and locate every object.',
  'Tell me what you can see in the image, and where.',
  'Provide a description of the picture that has the location of all objects.',
  'Please describe what is in the image and locate each object.',
] as const;

/**
 * A caption with the boxes of what it names after each name: "a dog [..] beside two cats [..] [..]". Only captions of
 * which every object can be told serve, so that the answer grounds all it mentions.
 */
export const groundedCaption: Task = (record, context, random) => {
  const captions = groundedCaptions(record, context.maxObjects);
  if (captions.length === 0) return null;
  const chosen = context.phrasing === 'literal' ? captions[0]! : random.pick(captions);
  const answer = withBoxes(record, chosen);
  return {
    task: 'grounded-caption',
    image: true,
    rounds: [
      {
        question: grounded(phrase(GROUNDED_CAPTION_QUESTIONS, {}, context, random), context),
        answer,
        truth: { boxes: answer.flatMap(piece => (piece.kind === 'box' ? [piece.box] : [])) },
      },
    ],
  };
};

/** The captions whose every mention of an object is known, with one at least and no more boxes than `most`. */
export function groundedCaptions(record: Annotations, most: number): CaptionMentions[] {
  return record.captions
    .map((_, i) => mentionsOf(record, i))
    .filter(({ mentions, complete }) => {
      const boxes = mentions.reduce((sum, mention) => sum + mention.objects.length, 0);
      return complete && boxes > 0 && boxes <= most;
    });
}

/** A caption as pieces, the boxes of each mention behind it. */
export function withBoxes(record: Annotations, { caption, mentions }: CaptionMentions): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  for (const { end, objects } of mentions) {
    pieces.push(textPiece(`${caption.slice(from, end)} `), ...boxesOf(record, objects));
    from = end;
  }
  if (from < caption.length) pieces.push(textPiece(caption.slice(from)));
  return pieces;
}

/** The boxes of objects, blanks between them. */
export function boxesOf(record: Annotations, objects: readonly number[]): Piece[] {
  return objects.flatMap((object, i): Piece[] => [
    ...(i === 0 ? [] : [textPiece(' ')]),
    boxPiece(record.objects[object]!.box),
  ]);
}
