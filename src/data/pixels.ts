/** Sets of pixels as column segments: counting, picking and intersecting them never touches single pixels. */
import type { PixelBox, Size } from './box.ts';
import type { PixelPoint } from './conversation.ts';
import { type Rle, runsOf } from './rle.ts';

/** Whole pixels, both ends included. */
export interface PixelRange {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Pixels in a fixed order: columns from the left, each from the top. */
export interface PixelSet {
  readonly size: number;
  /** Pixel number `index`, 0..size-1. */
  at(index: number): PixelPoint;
}

/** The whole pixels a box covers, x2 and y2 included as in Ferret, clipped to the image; null where none is left. */
export function rangeOf(box: PixelBox, size: Size): PixelRange | null {
  const range = {
    left: Math.max(Math.trunc(box.x1), 0),
    top: Math.max(Math.trunc(box.y1), 0),
    right: Math.min(Math.trunc(box.x2), size.width - 1),
    bottom: Math.min(Math.trunc(box.y2), size.height - 1),
  };
  return range.left <= range.right && range.top <= range.bottom ? range : null;
}

/** All pixels of a range. */
export function pixelsOfRange(range: PixelRange): PixelSet {
  const height = range.bottom - range.top + 1;
  return {
    size: (range.right - range.left + 1) * height,
    at: index => ({ x: range.left + Math.floor(index / height), y: range.top + (index % height) }),
  };
}

/** The set pixels of a mask, those inside `range` only where one is given. Throws `data` on a damaged mask. */
export function pixelsOfMask(mask: Rle, range?: PixelRange): PixelSet {
  const [height, width] = mask.size;
  const { left, top, right, bottom } = range ?? { left: 0, top: 0, right: width - 1, bottom: height - 1 };
  const columns: number[] = [];
  const tops: number[] = [];
  /** Pixels before each segment. */
  const before: number[] = [];
  let size = 0;
  let position = 0;
  for (const [i, run] of runsOf(mask).entries()) {
    const end = position + run;
    while (i % 2 === 1 && position < end) {
      const x = Math.floor(position / height);
      const columnEnd = Math.min(end, (x + 1) * height);
      const first = Math.max(position - x * height, top);
      const last = Math.min(columnEnd - 1 - x * height, bottom);
      if (x >= left && x <= right && first <= last) {
        columns.push(x);
        tops.push(first);
        before.push(size);
        size += last - first + 1;
      }
      position = columnEnd;
    }
    position = end;
  }
  return {
    size,
    at(index) {
      const segment = lastAtMost(before, index);
      return { x: columns[segment]!, y: tops[segment]! + index - before[segment]! };
    },
  };
}

/** Index of the last entry <= value in an ascending list that begins with 0. */
function lastAtMost(ascending: readonly number[], value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ascending[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
