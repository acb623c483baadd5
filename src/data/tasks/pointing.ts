/** How users point at objects: a point, a box or a scribble, one way for all regions of a turn. */
import type { Random } from '../../random.ts';
import type { Size } from '../box.ts';
import type { Region } from '../conversation.ts';
import { type PixelSet, pixelsOfMask } from '../pixels.ts';
import type { ObjectAnnotation } from '../record.ts';
import { distinct } from '../regions.ts';
import { encodeMask } from '../rle.ts';
import type { TaskContext } from './context.ts';

/** What one can point at. */
type Pointed = Pick<ObjectAnnotation, 'box' | 'mask'>;

/** The way of pointing for one turn: the context's, or drawn among those that all its objects allow. */
export function pointingKind(
  objects: readonly ObjectAnnotation[],
  context: TaskContext,
  random: Random,
): Region['kind'] {
  if (context.regionKind) return context.regionKind;
  const masked = objects.every(object => object.mask !== undefined);
  return random.pick(masked ? (['point', 'box', 'free-form'] as const) : (['point', 'box'] as const));
}

/**
 * The object as a user points at it. Point: of up to 1000 random pixels of its mask the one nearest to the middle of
 * its box, or without a mask a normal deviate around the middle (0.15 of each side), as Ferret's scripts do.
 * Free-form: a scribble inside the mask, or without a mask inside the box.
 */
export function pointAt(object: Pointed, kind: Region['kind'], size: Size, random: Random): Region {
  const { box, mask } = object;
  if (kind === 'box') return { kind, box, ...(mask && { mask }) };
  const pixels = mask && pixelsOfMask(mask);
  if (kind === 'free-form') return { kind, mask: scribble(object, pixels, size, random) };
  if (pixels && pixels.size > 0) {
    return { kind, point: centralPixel(object, pixels, random), ...(mask && { mask }) };
  }
  return { kind, point: aroundMiddle(object, random), within: box };
}

function centralPixel(object: Pointed, pixels: PixelSet, random: Random): { x: number; y: number } {
  const { x1, y1, x2, y2 } = object.box;
  const candidates = pixels.size <= 1000 ? range(pixels.size) : distinct(pixels.size, 1000, random);
  let best = pixels.at(0);
  let nearest = Number.POSITIVE_INFINITY;
  for (const index of candidates) {
    const pixel = pixels.at(index);
    const distance = (pixel.x - (x1 + x2) / 2) ** 2 + (pixel.y - (y1 + y2) / 2) ** 2;
    if (distance < nearest) {
      best = pixel;
      nearest = distance;
    }
  }
  return best;
}

function aroundMiddle({ box }: Pointed, random: Random): { x: number; y: number } {
  const along = (from: number, to: number): number => {
    // Rejection as in Ferret, but a box of no extent must end it.
    for (let attempt = 0; attempt < 20; attempt++) {
      const value = (from + to) / 2 + random.normal() * 0.15 * (to - from);
      if (value >= from && value < to) return Math.trunc(value);
    }
    return Math.trunc((from + to) / 2);
  };
  return { x: along(box.x1, box.x2), y: along(box.y1, box.y2) };
}

/** A stroke along three to five random pixels of the object, a tenth of its box wide, clipped to the object. */
function scribble(object: Pointed, pixels: PixelSet | undefined, size: Size, random: Random) {
  const { x1, y1, x2, y2 } = object.box;
  const inside = pixels && pixels.size > 0 ? pixels : null;
  const stop = () => (inside ? inside.at(random.int(0, inside.size)) : aroundMiddle(object, random));
  const stops = Array.from({ length: random.int(3, 6) }, stop);
  const radius = Math.max(Math.max(x2 - x1, y2 - y1) / 20, 0.5);
  const data = new Uint8Array(size.width * size.height);
  const reach = Math.ceil(radius);
  const dab = (cx: number, cy: number): void => {
    for (let y = Math.max(cy - reach, 0); y <= Math.min(cy + reach, size.height - 1); y++) {
      for (let x = Math.max(cx - reach, 0); x <= Math.min(cx + reach, size.width - 1); x++) {
        if ((x - cx) ** 2 + (y - cy) ** 2 <= radius * radius) data[y * size.width + x] = 1;
      }
    }
  };
  for (const [i, to] of stops.entries()) {
    const from = stops[Math.max(i - 1, 0)]!;
    const steps = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y), 1);
    for (let s = 0; s <= steps; s++) {
      dab(
        Math.round(from.x + ((to.x - from.x) * s) / steps),
        Math.round(from.y + ((to.y - from.y) * s) / steps),
      );
    }
  }
  const drawn = { width: size.width, height: size.height, data };
  if (!inside) return encodeMask(drawn);
  // Strokes between two pixels of a hollow object leave it: keep what lies on the object.
  const kept = new Uint8Array(data.length);
  for (let i = 0; i < inside.size; i++) {
    const { x, y } = inside.at(i);
    kept[y * size.width + x] = data[y * size.width + x]!;
  }
  return encodeMask({ ...drawn, data: kept });
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
