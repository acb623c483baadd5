/**
 * Boxes from pixels into every other space and back. Into a space, corners are clamped to the image first, as Ferret
 * does. Back, nothing is clamped: whoever reads annotations must see that a box leaves its image (`boxProblem`).
 */
import { GroundError } from '../errors.ts';
import type { BinBox, Box, BoxSpace, PaddedSquareBox, PermilleBox, PixelBox, Size, UnitBox } from './box.ts';
import { encodeBox } from './coordinates.ts';

const PERMILLE = 1000;

/** Fractions of the sides. Throws `data` on corners that are no finite numbers, as all conversions from pixels do. */
export function toUnit(box: PixelBox, image: Size): UnitBox {
  return mapped(
    clampBox(box, image),
    'unit',
    x => x / image.width,
    y => y / image.height,
  );
}

/** The inverse of `toUnit`, up to float rounding. */
export function fromUnit(box: UnitBox, image: Size): PixelBox {
  return mapped(
    box,
    'pixels',
    x => x * image.width,
    y => y * image.height,
  );
}

/** Thousandths of the sides, rounded to the nearest. */
export function toPermille(box: PixelBox, image: Size): PermilleBox {
  const { width, height } = image;
  return mapped(
    clampBox(box, image),
    'permille',
    x => Math.round((x * PERMILLE) / width),
    y => Math.round((y * PERMILLE) / height),
  );
}

/** The inverse of `toPermille`: within half a thousandth of the side of what went in, and the same thousandths again. */
export function fromPermille(box: PermilleBox, image: Size): PixelBox {
  return mapped(
    box,
    'pixels',
    x => (x * image.width) / PERMILLE,
    y => (y * image.height) / PERMILLE,
  );
}

/**
 * Fractions of the square that the image is padded to: whole pixels on both sides of the shorter axis, the odd one after
 * the image (LLaVA's `expand2square`, GroundingGPT's `postprocess_box`).
 */
export function toPaddedSquare(box: PixelBox, image: Size): PaddedSquareBox {
  const { side, left, top } = squareOf(image);
  return mapped(
    clampBox(box, image),
    'padded-square',
    x => (x + left) / side,
    y => (y + top) / side,
  );
}

/** The inverse of `toPaddedSquare`, up to float rounding; what lies in the padding comes out beyond the image. */
export function fromPaddedSquare(box: PaddedSquareBox, image: Size): PixelBox {
  const { side, left, top } = squareOf(image);
  return mapped(
    box,
    'pixels',
    x => x * side - left,
    y => y * side - top,
  );
}

/** Bins by Ferret's rule: corners clamped to [0, side - 1], scaled, truncated. */
export function toBins(box: PixelBox, image: Size, bins: number): BinBox {
  const [x1, y1, x2, y2] = encodeBox(box, image, bins);
  return { space: 'bins', x1, y1, x2, y2, bins };
}

/**
 * The middle of each bin: within half a bin of what went in, and the same bins again. Annotations are read so. Ferret's
 * evaluation takes the bin's first pixel instead, which loses up to a bin and a pixel: `decodeBox` of coordinates.ts.
 */
export function fromBins(box: BinBox, image: Size): PixelBox {
  const { bins } = box;
  return mapped(
    box,
    'pixels',
    x => ((x + 0.5) * image.width) / bins,
    y => ((y + 0.5) * image.height) / bins,
  );
}

function squareOf({ width, height }: Size): { side: number; left: number; top: number } {
  const side = Math.max(width, height);
  return { side, left: Math.floor((side - width) / 2), top: Math.floor((side - height) / 2) };
}

/** The part of a box inside its image; a box outside becomes empty. */
export function clampBox(box: PixelBox, { width, height }: Size): PixelBox {
  const { x1, y1, x2, y2 } = box;
  if (![x1, y1, x2, y2].every(Number.isFinite)) {
    throw new GroundError('data', `[${x1}, ${y1}, ${x2}, ${y2}] is no box`, {
      hint: 'boxes need finite numbers',
    });
  }
  return mapped(
    box,
    'pixels',
    x => Math.min(Math.max(x, 0), width),
    y => Math.min(Math.max(y, 0), height),
  );
}

function mapped<S extends BoxSpace>(
  { x1, y1, x2, y2 }: Box,
  space: S,
  ofX: (x: number) => number,
  ofY: (y: number) => number,
): Box<S> {
  return { space, x1: ofX(x1), y1: ofY(y1), x2: ofX(x2), y2: ofY(y2) };
}
