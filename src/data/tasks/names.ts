/**
 * What is asked of an image. `contrastive` yields image-text and region-text pairs, all others conversations;
 * `scene-text` describes the scene in words and has no image (it teaches the language model alone).
 */
export const TASK_NAMES = [
  'contrastive',
  'scene-text',
  'caption',
  'dense-referring',
  'dense-detection',
  'rec', // referring expression comprehension: phrase to box
  'reg', // referring expression generation: region to phrase
  'roc', // referring object classification: region and two options
  'relation',
  'count',
  'ocr',
  'grounded-caption', // a caption with the boxes of all it names
  'phrase-grounding', // phrases of a caption to all their boxes
  'negatives', // what is asked for is not there
  'grounded-count', // label to number and boxes
  'conversation', // a chat that was annotated, about an image
  'text-conversation', // one without an image
  'vqa', // annotated questions with short answers
  'presence', // annotated questions answered yes or no
] as const;

export type TaskName = (typeof TASK_NAMES)[number];

/** Tasks without an image: their batches are their own. */
export const TEXT_TASKS: ReadonlySet<TaskName> = new Set(['scene-text', 'text-conversation']);

/** Tasks about annotated conversations, of which as many rounds are taken as the model has room for. */
export const STORED_TASKS: ReadonlySet<TaskName> = new Set([
  'conversation',
  'text-conversation',
  'vqa',
  'presence',
]);
