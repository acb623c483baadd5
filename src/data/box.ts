/** The space in which a box's numbers live. */
export type BoxSpace =
  | 'pixels' // of the original image: 0..width, 0..height
  | 'unit'; // fractions of the image's sides: 0..1

/** An axis-aligned box by two corners; x to the right, y down. Plain numbers never travel without their space. */
export interface Box<S extends BoxSpace = BoxSpace> {
  readonly space: S;
  readonly x1: number;
  readonly y1: number;
  readonly x2: number;
  readonly y2: number;
}

export type PixelBox = Box<'pixels'>;
export type UnitBox = Box<'unit'>;

/** Width and height of an image, pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}
