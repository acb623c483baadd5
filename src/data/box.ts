/** The space in which a box's numbers live. */
export type BoxSpace =
  | 'pixels' // of the original image: 0..width, 0..height
  | 'unit' // fractions of the image's sides: 0..1
  | 'permille' // whole thousandths of the image's sides: 0..1000 (Qwen-VL, InternVL)
  | 'padded-square' // fractions of the image padded to a square around its centre: 0..1 (LLaVA, GroundingGPT)
  | 'bins'; // whole numbers 0..bins-1 of the image's sides (Ferret: 0..999)

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
export type PermilleBox = Box<'permille'>;
export type PaddedSquareBox = Box<'padded-square'>;

/** A box in bins says how many there are: 64 bins are another space than 1000. */
export interface BinBox extends Box<'bins'> {
  readonly bins: number;
}

/** Width and height of an image, pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** What is wrong with a box in an image of `size`, in words that follow "box"; null where nothing is. */
export function boxProblem({ x1, y1, x2, y2 }: PixelBox, { width, height }: Size): string | null {
  const corners = `[${x1}, ${y1}, ${x2}, ${y2}]`;
  if (![x1, y1, x2, y2].every(Number.isFinite)) return `${corners} is no box`;
  if (x1 >= x2 || y1 >= y2) return `${corners} is inverted or empty`;
  if (x1 >= 0 && y1 >= 0 && x2 <= width && y2 <= height) return null;
  return `${corners} leaves the image of ${width} x ${height} pixels`;
}
