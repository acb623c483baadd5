import type { PixelBox } from '../../data/box.ts';

/**
 * How far boxes stand in raster order, top edge by top edge: the share of neighbours of which the second begins no higher than the
 * first, 0..1. `expected` is the number of boxes that there should be: where that is two or more, fewer than two boxes
 * have no order and give 0; null where one box was all there was to order. A malformed box (null) stands in no order.
 */
export function rasterScore(boxes: readonly (PixelBox | null)[], expected: number): number | null {
  if (boxes.length < 2) return expected < 2 ? null : 0;
  let inOrder = 0;
  for (let i = 1; i < boxes.length; i++) {
    const [before, after] = [boxes[i - 1], boxes[i]];
    if (before && after && before.y1 <= after.y1) inOrder++;
  }
  return inOrder / (boxes.length - 1);
}
