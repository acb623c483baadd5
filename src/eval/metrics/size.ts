import type { Box, Size } from '../../data/box.ts';
import { boxArea } from './iou.ts';

/** Object sizes by which scores are split. */
export const SIZE_CLASSES = ['small', 'medium', 'large'] as const;
export type SizeClass = (typeof SIZE_CLASSES)[number];

/**
 * The class of a box by its side relative to the image's, both taken as the root of the area: large from 1/6 on,
 * medium from 1/12 on, else small.
 */
export function sizeClass(box: Box<'pixels'>, image: Size): SizeClass {
  const side = Math.sqrt(boxArea(box) / (image.width * image.height));
  if (side >= 1 / 6) return 'large';
  return side >= 1 / 12 ? 'medium' : 'small';
}
