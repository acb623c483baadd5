/**
 * Masks as COCO stores them: run lengths down the columns, beginning with a run of zeros, in a compact ASCII string.
 * Follows `maskApi.c` of pycocotools to the bit, the polygon rasteriser (upsampled boundary) included.
 */
import { GroundError } from '../errors.ts';
import type { PixelBox } from './box.ts';

/** A mask of `size` [height, width]; `counts` is COCO's compressed string. */
export interface Rle {
  readonly size: readonly [height: number, width: number];
  readonly counts: string;
}

/** A decoded mask: one byte a pixel, 0 or 1, row after row. */
export interface Bitmap {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Run lengths to COCO's string: from the fourth on as a difference to the one two before, five bits a character. */
export function encodeCounts(runs: readonly number[]): string {
  let text = '';
  for (let i = 0; i < runs.length; i++) {
    let x = (runs[i] ?? 0) - (i > 2 ? (runs[i - 2] ?? 0) : 0);
    let more = true;
    while (more) {
      let c = x & 0x1f;
      x >>= 5;
      more = c & 0x10 ? x !== -1 : x !== 0;
      if (more) c |= 0x20;
      text += String.fromCharCode(c + 48);
    }
  }
  return text;
}

/** COCO's string to run lengths. Throws `data` where it ends in the middle of a number or holds a negative run. */
export function decodeCounts(counts: string): number[] {
  const runs: number[] = [];
  let position = 0;
  while (position < counts.length) {
    let x = 0;
    let shift = 0;
    for (;;) {
      const c = counts.charCodeAt(position) - 48;
      // NaN past the end fails the comparison as well.
      if (!(c >= 0 && c < 64) || shift > 30) {
        throw broken(`"${counts.slice(0, 40)}" has no valid number at character ${position}`);
      }
      x |= (c & 0x1f) << shift;
      position++;
      shift += 5;
      if (!(c & 0x20)) {
        if (c & 0x10 && shift < 32) x |= -1 << shift;
        break;
      }
    }
    if (runs.length > 2) x += runs[runs.length - 2] ?? 0;
    if (x < 0) throw broken(`run ${runs.length} is negative (${x})`);
    runs.push(x);
  }
  return runs;
}

/** The runs of a mask; throws `data` where they do not add up to height · width. */
export function runsOf(rle: Rle): number[] {
  const runs = decodeCounts(rle.counts);
  checkTotal(runs, rle.size);
  return runs;
}

/** A mask from run lengths (COCO's "uncompressed RLE", `counts` a list); throws `data` on runs that do not fit. */
export function rleFromRuns(runs: readonly number[], size: readonly [number, number]): Rle {
  for (const [i, run] of runs.entries()) {
    if (!Number.isInteger(run) || run < 0) throw broken(`run ${i} is ${run}, not a whole number from 0 up`);
  }
  checkTotal(runs, size);
  return { size: [size[0], size[1]], counts: encodeCounts(runs) };
}

/** A mask from pixels: anything but 0 counts as set. */
export function encodeMask(mask: Bitmap): Rle {
  const { width, height, data } = mask;
  const runs: number[] = [];
  let current = 0;
  let length = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0, i = x; y < height; y++, i += width) {
      const value = data[i] ? 1 : 0;
      if (value !== current) {
        runs.push(length);
        length = 0;
        current = value;
      }
      length++;
    }
  }
  runs.push(length);
  return { size: [height, width], counts: encodeCounts(runs) };
}

/** The pixels of a mask; throws `data` on a damaged string. */
export function decodeMask(rle: Rle): Bitmap {
  const [height, width] = rle.size;
  const data = new Uint8Array(width * height);
  for (const [start, end] of setRuns(runsOf(rle))) {
    let x = Math.floor(start / height);
    let y = start % height;
    for (let left = end - start; left > 0; left--) {
      data[y * width + x] = 1;
      if (++y === height) {
        y = 0;
        x++;
      }
    }
  }
  return { width, height, data };
}

/** Set pixels. */
export function areaOf(rle: Rle): number {
  return setPixels(runsOf(rle));
}

/**
 * The tight box around the set pixels, x2 and y2 exclusive (the pixel's far edge), or null for an empty mask.
 * Equal to pycocotools' `toBbox` as [x1, y1, x2 - x1, y2 - y1].
 */
export function boundsOf(rle: Rle): PixelBox | null {
  const [height] = rle.size;
  let [x1, y1, x2, y2] = [Number.POSITIVE_INFINITY, height, -1, -1];
  for (const [start, end] of setRuns(runsOf(rle))) {
    const [first, last] = [Math.floor(start / height), Math.floor((end - 1) / height)];
    x1 = Math.min(x1, first);
    x2 = Math.max(x2, last);
    // A run that turns the column's end touches the first row and the last.
    y1 = Math.min(y1, first === last ? start % height : 0);
    y2 = Math.max(y2, first === last ? (end - 1) % height : height - 1);
  }
  return x2 < 0 ? null : { space: 'pixels', x1, y1, x2: x2 + 1, y2: y2 + 1 };
}

/** Pixels set in any of the masks. Throws `data` on no mask or on different sizes. */
export function unionOf(rles: readonly Rle[]): Rle {
  return combine(rles, (a, b) => a || b);
}

/** Pixels set in all of the masks. Throws `data` on no mask or on different sizes. */
export function intersectionOf(rles: readonly Rle[]): Rle {
  return combine(rles, (a, b) => a && b);
}

/**
 * Intersection over union of two masks; where the second is a crowd, intersection over the area of the first (COCO's
 * rule: any part of a crowd matches it fully). 0 where both are empty.
 */
export function iouOf(a: Rle, b: Rle, crowd = false): number {
  const shared = areaOf(intersectionOf([a, b]));
  const whole = crowd ? areaOf(a) : areaOf(a) + areaOf(b) - shared;
  return whole === 0 ? 0 : shared / whole;
}

/** The same of two boxes. */
export function boxIou(a: PixelBox, b: PixelBox, crowd = false): number {
  const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1);
  const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  const areaA = (a.x2 - a.x1) * (a.y2 - a.y1);
  const areaB = (b.x2 - b.x1) * (b.y2 - b.y1);
  const shared = width * height;
  return shared / (crowd ? areaA : areaA + areaB - shared);
}

function setPixels(runs: readonly number[]): number {
  let area = 0;
  for (let i = 1; i < runs.length; i += 2) area += runs[i] ?? 0;
  return area;
}

function* setRuns(runs: readonly number[]): Generator<[start: number, end: number]> {
  let position = 0;
  for (const [i, run] of runs.entries()) {
    if (i % 2 === 1 && run > 0) yield [position, position + run];
    position += run;
  }
}

function combine(rles: readonly Rle[], operation: (a: boolean, b: boolean) => boolean): Rle {
  const [first, ...rest] = rles;
  if (!first) throw broken('there is no mask to combine');
  let runs = runsOf(first);
  for (const other of rest) {
    if (other.size[0] !== first.size[0] || other.size[1] !== first.size[1]) {
      throw broken(`sizes [${first.size.join(', ')}] and [${other.size.join(', ')}] cannot be combined`);
    }
    runs = combineRuns(runs, runsOf(other), operation);
  }
  return { size: [first.size[0], first.size[1]], counts: encodeCounts(runs) };
}

function combineRuns(
  a: readonly number[],
  b: readonly number[],
  operation: (a: boolean, b: boolean) => boolean,
): number[] {
  const out: number[] = [];
  let [i, j] = [0, 0];
  let [leftA, leftB] = [a[0] ?? 0, b[0] ?? 0];
  let current = false;
  let length = 0;
  while (i < a.length && j < b.length) {
    const step = Math.min(leftA, leftB);
    if (step > 0) {
      const value = operation(i % 2 === 1, j % 2 === 1);
      if (value !== current) {
        out.push(length);
        length = 0;
        current = value;
      }
      length += step;
    }
    leftA -= step;
    leftB -= step;
    if (leftA === 0) leftA = a[++i] ?? 0;
    if (leftB === 0) leftB = b[++j] ?? 0;
  }
  out.push(length);
  return out;
}

function checkTotal(runs: readonly number[], size: readonly [number, number]): void {
  const total = runs.reduce((sum, run) => sum + run, 0);
  if (total !== size[0] * size[1]) {
    throw broken(`runs add up to ${total}, not to ${size[0]} rows of ${size[1]} columns`);
  }
}

function broken(what: string): GroundError {
  return new GroundError('data', `mask: ${what}`, {
    hint: 'counts must be a COCO run-length encoding of size [height, width]',
  });
}
