/**
 * Any-resolution views (Ferret-v2 §3.2, and the released selection code): which grid of tiles an image gets, and how
 * its pixels lie in the resized canvas.
 */
import { GroundError } from '../errors.ts';
import type { Size } from './box.ts';

/** Columns and rows of tiles. */
export type Grid = readonly [columns: number, rows: number];

/** Where an image lies in a canvas: its resized size and its top-left corner. Stretched, it fills the canvas. */
export interface Placement {
  readonly canvas: Size;
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly top: number;
}

/**
 * The grid whose canvas keeps most of the image's pixels, then wastes least, then comes first. Pixels beyond the
 * original's own count for nothing, so small images get small grids. Throws `config` on an empty list.
 */
export function chooseGrid(image: Size, grids: readonly Grid[], side: number): Grid {
  let best: Grid | undefined;
  let bestKept = -1;
  let bestWaste = Number.POSITIVE_INFINITY;
  for (const grid of grids) {
    const width = grid[0] * side;
    const height = grid[1] * side;
    const scale = Math.min(width / image.width, height / image.height);
    const resized = Math.trunc(image.width * scale) * Math.trunc(image.height * scale);
    const kept = Math.min(resized, image.width * image.height);
    const waste = width * height - kept;
    if (kept > bestKept || (kept === bestKept && waste < bestWaste)) {
      best = grid;
      bestKept = kept;
      bestWaste = waste;
    }
  }
  if (best) return best;
  throw new GroundError('config', 'image.grids is empty', { hint: 'list at least [1, 1]' });
}

/** The image over the whole canvas, its aspect ratio lost: what the released code does. */
export function stretchInto(canvas: Size): Placement {
  return { canvas, width: canvas.width, height: canvas.height, left: 0, top: 0 };
}

/** The image as large as the canvas allows, centred, its aspect ratio kept (the free side is rounded up). */
export function padInto(image: Size, canvas: Size): Placement {
  const byWidth = canvas.width / image.width;
  const byHeight = canvas.height / image.height;
  const width = byWidth < byHeight ? canvas.width : Math.min(Math.ceil(image.width * byHeight), canvas.width);
  const height =
    byWidth < byHeight ? Math.min(Math.ceil(image.height * byWidth), canvas.height) : canvas.height;
  return {
    canvas,
    width,
    height,
    left: Math.floor((canvas.width - width) / 2),
    top: Math.floor((canvas.height - height) / 2),
  };
}

/** The image at its own size in the middle of the smallest square that holds it. */
export function squareAround({ width, height }: Size): Placement {
  const side = Math.max(width, height);
  const [left, top] = [Math.floor((side - width) / 2), Math.floor((side - height) / 2)];
  return { canvas: { width: side, height: side }, width, height, left, top };
}

/** A rectangle of a token map. */
export interface MapPart extends Size {
  readonly left: number;
  readonly top: number;
}

/**
 * The part of a token map that shows the image and not the padding around it (LLaVA-NeXT's `unpad_image`): padding is
 * rounded down, so the part may be a token larger than the image is.
 */
export function withoutPadding(image: Size, map: Size): MapPart {
  if (image.width / image.height > map.width / map.height) {
    const top = Math.floor((map.height - Math.trunc(image.height * (map.width / image.width))) / 2);
    return { left: 0, top, width: map.width, height: map.height - 2 * top };
  }
  const left = Math.floor((map.width - Math.trunc(image.width * (map.height / image.height))) / 2);
  return { left, top: 0, width: map.width - 2 * left, height: map.height };
}
