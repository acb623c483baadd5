import type { Box, BoxSpace } from '../../data/box.ts';

/** Area of a box in the units of its space, squared; 0 where the corners are swapped. */
export function boxArea(box: Box): number {
  return Math.max(0, box.x2 - box.x1) * Math.max(0, box.y2 - box.y1);
}

/**
 * Intersection over union of two boxes of the same space, 0..1. Sides are x2 - x1, without the +1 of the older pixel
 * convention, as in Ferret's evaluation. Two boxes without area have an IoU of 0.
 */
export function boxIou<S extends BoxSpace>(a: Box<S>, b: Box<NoInfer<S>>): number {
  const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1);
  const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1);
  const overlap = Math.max(0, width) * Math.max(0, height);
  const union = boxArea(a) + boxArea(b) - overlap;
  return union > 0 ? overlap / union : 0;
}
