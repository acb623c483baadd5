/** How two boxes lie to each other, as far as that is beyond doubt (TinyGroundingGPT-like limits). */
import type { PixelBox, Size } from '../box.ts';
import { boxIou } from '../rle.ts';

export type Position = 'left of' | 'right of' | 'above' | 'below' | 'inside' | 'overlapping';
export type Comparison = 'larger than' | 'smaller than';

/** Centres this share of the image's side apart lie to the side of each other, */
const GAP = 0.1;
/** a box with this share of it in another is inside, */
const INSIDE = 0.9;
/** two with this intersection over union overlap, */
const OVERLAP = 0.3;
/** and one of this many times the area is larger. */
const LARGER = 2;

/**
 * Where `a` lies to `b`; null where two answers would do: diagonally, or for a box that holds the other one.
 */
export function positionOf(a: PixelBox, b: PixelBox, { width, height }: Size): Position | null {
  const shared = sharedArea(a, b);
  if (shared > INSIDE * area(b)) return null;
  if (shared > INSIDE * area(a)) return 'inside';
  if (boxIou(a, b) > OVERLAP) return 'overlapping';
  const dx = (b.x1 + b.x2 - a.x1 - a.x2) / 2 / width;
  const dy = (b.y1 + b.y2 - a.y1 - a.y2) / 2 / height;
  if (Math.abs(dx) > GAP === Math.abs(dy) > GAP) return null;
  if (Math.abs(dx) > GAP) return dx > 0 ? 'left of' : 'right of';
  return dy > 0 ? 'above' : 'below';
}

/** Which box is larger; null where they are nearly equal. */
export function comparisonOf(a: PixelBox, b: PixelBox): Comparison | null {
  if (area(a) > LARGER * area(b)) return 'larger than';
  return area(b) > LARGER * area(a) ? 'smaller than' : null;
}

/** Whether somebody might say so of `a`, though `positionOf` would not: then another object is not the only one. */
export function mightBe(position: string, a: PixelBox, b: PixelBox): boolean {
  const dx = b.x1 + b.x2 - a.x1 - a.x2;
  const dy = b.y1 + b.y2 - a.y1 - a.y2;
  if (position === 'left of') return dx > 0;
  if (position === 'right of') return dx < 0;
  if (position === 'above') return dy > 0;
  if (position === 'below') return dy < 0;
  return sharedArea(a, b) > 0;
}

function sharedArea(a: PixelBox, b: PixelBox): number {
  const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1);
  const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1);
  return Math.max(width, 0) * Math.max(height, 0);
}

function area({ x1, y1, x2, y2 }: PixelBox): number {
  return (x2 - x1) * (y2 - y1);
}
