/**
 * Coordinates as the model reads and writes them: whole numbers 0..bins-1 of the side of the unpadded original image
 * (Ferret: 1000 bins). Encoding clamps to [0, side-1], scales and truncates; decoding truncates again.
 */
import { GroundError } from '../errors.ts';
import type { PixelBox, Size } from './box.ts';
import type { PixelPoint } from './conversation.ts';

/** One pixel coordinate of a side of `side` pixels as a bin. Throws `data` when it is no finite number. */
export function encodeCoordinate(value: number, side: number, bins: number): number {
  if (!Number.isFinite(value)) {
    throw new GroundError('data', `a coordinate is ${value}`, {
      hint: 'boxes and points need finite numbers',
    });
  }
  return Math.trunc((Math.min(Math.max(value, 0), side - 1) * bins) / side);
}

/** A bin as a pixel coordinate: the pixel in which the bin begins. */
export function decodeCoordinate(bin: number, side: number, bins: number): number {
  return Math.trunc((bin * side) / bins);
}

/** [x1, y1, x2, y2] in bins. */
export function encodeBox(box: PixelBox, size: Size, bins: number): [number, number, number, number] {
  return [
    encodeCoordinate(box.x1, size.width, bins),
    encodeCoordinate(box.y1, size.height, bins),
    encodeCoordinate(box.x2, size.width, bins),
    encodeCoordinate(box.y2, size.height, bins),
  ];
}

/** The inverse of `encodeBox`, up to the truncation. */
export function decodeBox(
  box: readonly [number, number, number, number],
  size: Size,
  bins: number,
): PixelBox {
  return {
    space: 'pixels',
    x1: decodeCoordinate(box[0], size.width, bins),
    y1: decodeCoordinate(box[1], size.height, bins),
    x2: decodeCoordinate(box[2], size.width, bins),
    y2: decodeCoordinate(box[3], size.height, bins),
  };
}

/** "[380, 206, 591, 249]". */
export function boxText(box: PixelBox, size: Size, bins: number): string {
  return `[${encodeBox(box, size, bins).join(', ')}]`;
}

/** "[380, 206]". */
export function pointText(point: PixelPoint, size: Size, bins: number): string {
  return `[${encodeCoordinate(point.x, size.width, bins)}, ${encodeCoordinate(point.y, size.height, bins)}]`;
}
