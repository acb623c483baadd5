import { textPiece } from '../conversation.ts';
import type { Task } from './context.ts';
import { phrase } from './template.ts';

/** LLaVA's brief captioning instructions. */
export const CAPTION_QUESTIONS = [
  'Describe the image concisely.',
  'Provide a brief description of the given image.',
  'Offer a succinct explanation of the picture presented.',
  'Summarize the visual content of the image.',
  'Give a short and clear explanation of the image.',
  'Share a concise interpretation of the image provided.',
  'Present a compact description of the key features of the photo.',
  'Relay a brief, clear account of the picture shown.',
  'What does the image show?',
] as const;

/** One caption of the image. */
export const caption: Task = (record, context, random) => {
  if (record.captions.length === 0) return null;
  const answer = context.phrasing === 'literal' ? record.captions[0]! : random.pick(record.captions);
  const question = phrase(CAPTION_QUESTIONS, {}, context, random);
  return {
    task: 'caption',
    image: true,
    rounds: [{ question, answer: [textPiece(answer)], truth: { label: answer } }],
  };
};
