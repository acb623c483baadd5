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
] as const;

export type TaskName = (typeof TASK_NAMES)[number];
