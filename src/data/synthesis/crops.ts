/** Crops of objects, and the picture that has them in a strip beside the scene. */
import type { Random } from '../../random.ts';
import type { PixelBox, Size } from '../box.ts';
import { Canvas } from '../canvas.ts';
import { type Rgb, resizeBicubic } from '../resample.ts';
import { boxIou } from '../rle.ts';

/** How a crop was changed, so that pixels alone do not give the match away. */
export type Change =
  | { readonly kind: 'none' | 'flip' }
  | { readonly kind: 'scale'; readonly factor: number }
  | { readonly kind: 'brightness'; readonly factor: number }
  | { readonly kind: 'jitter'; readonly dx: number; readonly dy: number };

/** A part of an image to be shown in the strip. */
export interface CropPlan {
  readonly box: PixelBox;
  readonly change: Change;
}

/** Share of its sides by which a box grows on each side before it is cut out. */
const MARGIN = 0.1;
/** Cells of the strip, and the blank between scene and strip and between crops, pixels. */
export const STRIP_CELLS = 4;
const GAP = 4;
/** The longer side of a crop is this many pixels at least, whatever its scale. */
const LEAST = 32;
const [SMALLEST, LARGEST] = [0.7, 1.3];
const BRIGHTNESS = 0.2;
const JITTER = 0.05;
/** Grey, as no scene is: between the pictures. */
const GROUND = [128, 128, 128] as const;
/** Boxes that overlap the object less than this do not show it. */
const ELSEWHERE = 0.3;
const TRIES = 24;

/** One of the five changes; flipping only where left and right do not matter. */
export function drawChange(random: Random, mayFlip: boolean): Change {
  const kind = random.pick(
    mayFlip
      ? (['none', 'flip', 'scale', 'brightness', 'jitter'] as const)
      : (['none', 'scale', 'brightness', 'jitter'] as const),
  );
  if (kind === 'scale') return { kind, factor: random.uniform(SMALLEST, LARGEST) };
  if (kind === 'brightness') return { kind, factor: 1 + random.uniform(-BRIGHTNESS, BRIGHTNESS) };
  if (kind !== 'jitter') return { kind };
  return { kind, dx: random.uniform(-JITTER, JITTER), dy: random.uniform(-JITTER, JITTER) };
}

/** The pixels that a crop shows: its box, moved as its change says, grown and clipped, in whole pixels. */
export function cropWindow({ box, change }: CropPlan, { width, height }: Size): PixelBox {
  const [w, h] = [box.x2 - box.x1, box.y2 - box.y1];
  const [dx, dy] = change.kind === 'jitter' ? [change.dx * w, change.dy * h] : [0, 0];
  const x1 = clamp(Math.floor(box.x1 - MARGIN * w + dx), 0, width - 1);
  const y1 = clamp(Math.floor(box.y1 - MARGIN * h + dy), 0, height - 1);
  const x2 = clamp(Math.ceil(box.x2 + MARGIN * w + dx), x1 + 1, width);
  const y2 = clamp(Math.ceil(box.y2 + MARGIN * h + dy), y1 + 1, height);
  return { space: 'pixels', x1, y1, x2, y2 };
}

/**
 * Boxes of the image, of the object's own size, that do not show the object nor each other; as many as were found.
 */
export function boxesElsewhere(
  box: PixelBox,
  { width, height }: Size,
  taken: readonly PixelBox[],
  count: number,
  random: Random,
): PixelBox[] {
  const found: PixelBox[] = [];
  const [w, h] = [box.x2 - box.x1, box.y2 - box.y1];
  for (let attempt = 0; attempt < TRIES && found.length < count; attempt++) {
    const [x1, y1] = [random.uniform(0, width - w), random.uniform(0, height - h)];
    const next: PixelBox = { space: 'pixels', x1, y1, x2: x1 + w, y2: y1 + h };
    if ([box, ...taken, ...found].every(other => isElsewhere(next, other))) found.push(next);
  }
  return found;
}

/** Whether a box shows something else than another one. */
export function isElsewhere(box: PixelBox, other: PixelBox): boolean {
  return boxIou(box, other) < ELSEWHERE;
}

/** The size of a scene with its strip, and the side of the strip's cells. */
export function layoutOf({ width, height }: Size): { readonly size: Size; readonly cell: number } {
  const cell = Math.max(
    Math.floor((height - (STRIP_CELLS - 1) * GAP) / STRIP_CELLS),
    Math.ceil(LEAST * LARGEST),
  );
  const strip = STRIP_CELLS * cell + (STRIP_CELLS - 1) * GAP;
  return { size: { width: width + GAP + cell, height: Math.max(height, strip) }, cell };
}

/** Where crop number `i` of the strip stands, its whole cell. */
export function cellBox(scene: Size, i: number): PixelBox {
  const { cell } = layoutOf(scene);
  const x1 = scene.width + GAP;
  const y1 = i * (cell + GAP);
  return { space: 'pixels', x1, y1, x2: x1 + cell, y2: y1 + cell };
}

/**
 * The scene, pixel for pixel at the left upper corner, and the crops below each other in a strip to its right, in the
 * middle of their cells.
 */
export function compose(scene: Rgb, crops: readonly Rgb[]): Rgb {
  const { size } = layoutOf(scene);
  const canvas = new Canvas(size, GROUND);
  canvas.paste(scene.data, scene, 0, 0);
  for (const [i, crop] of crops.entries()) {
    const { x1, y1, x2, y2 } = cellBox(scene, i);
    const left = x1 + Math.floor((x2 - x1 - crop.width) / 2);
    canvas.paste(crop.data, crop, left, y1 + Math.floor((y2 - y1 - crop.height) / 2));
  }
  return { ...size, data: canvas.data };
}

/** A crop as it is shown beside a scene of `scene`'s size: cut out, changed, and scaled to its cell. */
export function cutCrop(image: Rgb, plan: CropPlan, scene: Size): Rgb {
  const { change } = plan;
  const window = cropWindow(plan, image);
  const part = cut(image, window);
  const { cell } = layoutOf(scene);
  // The unchanged crop leaves room for the largest.
  const factor = change.kind === 'scale' ? change.factor : 1;
  const longer = clamp(Math.round((cell / LARGEST) * factor), LEAST, cell);
  const scale = longer / Math.max(part.width, part.height);
  const shown = resizeBicubic(part, {
    width: clamp(Math.round(part.width * scale), 1, cell),
    height: clamp(Math.round(part.height * scale), 1, cell),
  });
  if (change.kind === 'flip') return flip(shown);
  if (change.kind !== 'brightness') return shown;
  return { ...shown, data: shown.data.map(level => Math.min(255, Math.round(level * change.factor))) };
}

function cut({ width, data }: Rgb, { x1, y1, x2, y2 }: PixelBox): Rgb {
  const size = { width: x2 - x1, height: y2 - y1 };
  const out = new Uint8Array(size.width * size.height * 3);
  for (let y = 0; y < size.height; y++) {
    const from = ((y1 + y) * width + x1) * 3;
    out.set(data.subarray(from, from + size.width * 3), y * size.width * 3);
  }
  return { ...size, data: out };
}

function flip({ width, height, data }: Rgb): Rgb {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + width - 1 - x) * 3;
      out.set(data.subarray(from, from + 3), (y * width + x) * 3);
    }
  }
  return { width, height, data: out };
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
