/**
 * Regions to the geometry of Ferret's visual sampler: pixels of the region, points among them, farthest points and
 * nearest neighbours, and the rows of the feature maps around each point. x runs along the width, y along the height
 * (the released code has them transposed; its weights would need that, ours do not).
 */
import { GroundError } from '../errors.ts';
import type { ModelConfig, SamplerConfig } from '../models/config.ts';
import type { Random } from '../random.ts';
import type { Size } from './box.ts';
import type { Region } from './conversation.ts';
import type { Views } from './image.ts';
import { type Corners, cornersOf, patchLayout } from './maps.ts';
import { farthestPoints, nearestPoints, pointsAt } from './neighbours.ts';
import { type PixelSet, pixelsOfMask, pixelsOfRange, rangeOf } from './pixels.ts';

/** One region's part of `RegionGeometry`; rows are those of its own image. */
export interface RegionSample {
  /** [M, 2], x and y in 0..1. */
  readonly points: Float32Array;
  readonly anchors: readonly Int32Array[];
  readonly neighbors: readonly Int32Array[];
  readonly global: Corners;
  /** Null where the image has no tiles. */
  readonly local: Corners | null;
}

/**
 * The pixels of a region. Point: the square window of `radius` pixels around it, within the object's mask or box where
 * known; box: its pixels (far edges included), within the mask where known; where such a product is empty, window or
 * box alone. Throws `data` when nothing lies inside the image; `id` names the sample.
 */
export function regionPixels(region: Region, size: Size, radius: number, id: string): PixelSet {
  if (region.kind === 'free-form') {
    checkMask(region.mask.size, size, id);
    return nonEmpty(pixelsOfMask(region.mask), region.kind, id);
  }
  const box =
    region.kind === 'box'
      ? region.box
      : {
          space: 'pixels' as const,
          x1: Math.trunc(region.point.x) - radius,
          y1: Math.trunc(region.point.y) - radius,
          x2: Math.trunc(region.point.x) + radius,
          y2: Math.trunc(region.point.y) + radius,
        };
  const range = rangeOf(box, size);
  if (!range) {
    const { x1, y1, x2, y2 } = box;
    const where = `[${x1}, ${y1}, ${x2}, ${y2}] in an image of ${size.width}x${size.height}`;
    throw new GroundError(
      'data',
      `${id}: a ${region.kind} region lies outside the image or is empty (${where})`,
      {
        hint: 'regions are given in pixels of the original image, x1 <= x2 and y1 <= y2',
      },
    );
  }
  if (region.mask) {
    checkMask(region.mask.size, size, id);
    const inside = pixelsOfMask(region.mask, range);
    if (inside.size > 0) return inside;
  } else if (region.kind === 'point' && region.within) {
    const around = rangeOf(region.within, size);
    const shared = around && {
      left: Math.max(range.left, around.left),
      top: Math.max(range.top, around.top),
      right: Math.min(range.right, around.right),
      bottom: Math.min(range.bottom, around.bottom),
    };
    if (shared && shared.left <= shared.right && shared.top <= shared.bottom) return pixelsOfRange(shared);
  }
  return pixelsOfRange(range);
}

/**
 * `count` points of a region as fractions of the image's sides [count, 2]: drawn without replacement, or, where the
 * region has fewer pixels, all of them and repeats drawn with replacement.
 */
export function drawPoints(pixels: PixelSet, count: number, size: Size, random: Random): Float32Array {
  const chosen =
    pixels.size > count
      ? distinct(pixels.size, count, random)
      : Array.from({ length: count }, (_, i) => (i < pixels.size ? i : random.int(0, pixels.size)));
  const out = new Float32Array(count * 2);
  for (const [i, index] of chosen.entries()) {
    const { x, y } = pixels.at(index);
    out[2 * i] = x / size.width;
    out[2 * i + 1] = y / size.height;
  }
  return out;
}

/** Anchors and neighbours of each block; the first point drawn is the first anchor. */
export function blocksOf(
  points: Float32Array,
  blocks: SamplerConfig['blocks'],
): { anchors: Int32Array[]; neighbors: Int32Array[] } {
  const anchors: Int32Array[] = [];
  const neighbors: Int32Array[] = [];
  let pool = points;
  for (const block of blocks) {
    const kept = farthestPoints(pool, block.points, 0);
    anchors.push(kept);
    neighbors.push(nearestPoints(pool, kept, block.neighbors));
    pool = pointsAt(pool, kept);
  }
  return { anchors, neighbors };
}

/** All of a region's geometry on its image's views. Throws as `regionPixels`. */
export function sampleRegion(
  region: Region,
  views: Views,
  model: ModelConfig,
  random: Random,
  id: string,
): RegionSample {
  const pixels = regionPixels(region, views.size, model.referring.point_radius, id);
  const points = drawPoints(pixels, model.sampler.points, views.size, random);
  const corners = cornersOf(points, views, patchLayout(model), model.referring.upsample);
  return { points, ...blocksOf(points, model.sampler.blocks), ...corners };
}

/** Floyd's algorithm: `count` distinct numbers below `size` in `count` draws, the order of drawing kept. */
export function distinct(size: number, count: number, random: Random): number[] {
  const chosen = new Set<number>();
  for (let top = size - count; top < size; top++) {
    const drawn = random.int(0, top + 1);
    chosen.add(chosen.has(drawn) ? top : drawn);
  }
  return [...chosen];
}

function nonEmpty(pixels: PixelSet, kind: string, id: string): PixelSet {
  if (pixels.size > 0) return pixels;
  throw new GroundError('data', `${id}: a ${kind} region has no pixels`, { hint: 'draw at least one pixel' });
}

function checkMask([height, width]: readonly [number, number], size: Size, id: string): void {
  if (height === size.height && width === size.width) return;
  throw new GroundError(
    'data',
    `${id}: a mask is ${width}x${height}, its image ${size.width}x${size.height} (width x height)`,
    { hint: 'masks are given at the size of the original image' },
  );
}
