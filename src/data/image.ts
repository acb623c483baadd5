/**
 * Encoded files to the views a model sees: a global view and, where asked for, the tiles of a grid. Views stay 8-bit
 * (a quarter of the memory, and cacheable); `normaliseInto` turns them into the encoder's floats at the very end.
 */
import { GroundError, messageOf } from '../errors.ts';
import type { ImageConfig } from '../models/config.ts';
import { chooseGrid, type Grid, type Placement, padInto, stretchInto } from './anyres.ts';
import type { Size } from './box.ts';
import { type Rgb, resizeBicubic } from './resample.ts';

/** An encoded image and what is said of it; every `ImageRecord` is one. */
export interface ImageInput {
  /** Names the image in errors. */
  readonly id: string;
  readonly image: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Which views of an image the model gets: the low-resolution one, or tiles as well. */
export type ViewMode = 'global' | 'global+local';

/** What the encoders of one image get, before normalisation. */
export interface Views {
  /** Of the original image, which all coordinates refer to. */
  readonly size: Size;
  readonly grid: Grid;
  /** [3, S, S] 8-bit. */
  readonly global: Uint8Array;
  readonly globalPlacement: Placement;
  /** [tiles, 3, S, S] 8-bit, row after row of the grid; empty where only the global view is wanted. */
  readonly tiles: Uint8Array;
  readonly localPlacement: Placement;
}

export interface Normalisation {
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

/** OpenAI CLIP's, for the global view. */
export const CLIP_NORMALISATION: Normalisation = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
};
/** ImageNet's, which DINOv2 uses, for tiles. */
export const IMAGENET_NORMALISATION: Normalisation = {
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};

/**
 * The pixels of a JPEG, PNG or WebP as 8-bit RGB, as Pillow's convert('RGB') gives them: alpha is dropped (not
 * composited), grey is repeated, an embedded colour profile is ignored. EXIF orientation is applied unless only the
 * unrotated pixels fit the size that the annotations were made for. Throws `data` on a damaged file or another size.
 */
export async function decodeImage(input: ImageInput): Promise<Rgb> {
  const { default: sharp } = await import('sharp');
  const decode = async (oriented: boolean): Promise<Rgb> => {
    const options = { failOn: 'error', ignoreIcc: true, autoOrient: oriented } as const;
    const { data, info } = await sharp(input.image, options)
      .removeAlpha()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: toRgb(data, info.channels) };
  };
  let decoded: Rgb;
  try {
    decoded = await decode(true);
    if (decoded.width !== input.width && decoded.width === input.height) decoded = await decode(false);
  } catch (cause) {
    throw new GroundError('data', `image ${input.id} cannot be decoded: ${reasonOf(cause)}`, {
      hint: '`ground data validate` lists every damaged image; remove it or build the dataset again',
      cause,
    });
  }
  if (decoded.width === input.width && decoded.height === input.height) return decoded;
  const found = `${decoded.width}x${decoded.height}`;
  throw new GroundError(
    'data',
    `image ${input.id} is ${found}, its record says ${input.width}x${input.height}`,
    {
      hint: 'the annotations belong to another version of the image',
    },
  );
}

/** An image file for prediction: bytes as they come, the size after EXIF orientation. Throws `data`. */
export async function imageInputOf(bytes: Uint8Array, id: string): Promise<ImageInput> {
  const { default: sharp } = await import('sharp');
  try {
    const { autoOrient } = await sharp(bytes).metadata();
    return { id, image: bytes, width: autoOrient.width, height: autoOrient.height };
  } catch (cause) {
    throw new GroundError('data', `${id} is no image: ${reasonOf(cause)}`, {
      hint: 'give a JPEG, PNG or WebP file',
      cause,
    });
  }
}

/** The decoder's complaint: it repeats itself on further lines. */
function reasonOf(thrown: unknown): string {
  return messageOf(thrown).split('\n')[0] ?? '';
}

/** The views of a decoded image; without `tiles` the grid is still chosen but nothing is cut. */
export function viewsOf(image: Rgb, config: ImageConfig, tiles: boolean): Views {
  const { side } = config;
  const grid = chooseGrid(image, config.grids, side);
  const place = (canvas: Size): Placement =>
    config.resize === 'pad' ? padInto(image, canvas) : stretchInto(canvas);
  const globalPlacement = place({ width: side, height: side });
  const localPlacement = place({ width: grid[0] * side, height: grid[1] * side });
  return {
    size: { width: image.width, height: image.height },
    grid,
    global: toPlanes(paint(image, globalPlacement), 0, 0, side),
    globalPlacement,
    tiles: tiles ? cutTiles(paint(image, localPlacement), grid, side) : new Uint8Array(0),
    localPlacement,
  };
}

/** Resizes an image and puts it in its place on a canvas of one colour, black by default. */
export function paint(
  image: Rgb,
  placement: Placement,
  background: readonly [number, number, number] = [0, 0, 0],
): Rgb {
  const resized = resizeBicubic(image, placement);
  const { canvas } = placement;
  if (resized.width === canvas.width && resized.height === canvas.height) return resized;
  const data = new Uint8Array(canvas.width * canvas.height * 3);
  if (background.some(level => level > 0)) {
    for (let i = 0; i < data.length; i += 3) data.set(background, i);
  }
  for (let y = 0; y < resized.height; y++) {
    const row = resized.data.subarray(y * resized.width * 3, (y + 1) * resized.width * 3);
    data.set(row, ((y + placement.top) * canvas.width + placement.left) * 3);
  }
  return { ...canvas, data };
}

/**
 * Writes (pixel / 255 - mean) / std of [n, 3, side, side] 8-bit planes into `out` at `offset`; returns the offset
 * behind what was written.
 */
export function normaliseInto(
  out: Float32Array,
  offset: number,
  planes: Uint8Array,
  pixels: number,
  { mean, std }: Normalisation,
): number {
  const tables = mean.map((m, c) => Float32Array.from({ length: 256 }, (_, v) => (v / 255 - m) / std[c]!));
  for (let start = 0, plane = 0; start < planes.length; start += pixels, plane++) {
    const table = tables[plane % 3]!;
    for (let i = 0; i < pixels; i++) out[offset + start + i] = table[planes[start + i]!]!;
  }
  return offset + planes.length;
}

function cutTiles(canvas: Rgb, [columns, rows]: Grid, side: number): Uint8Array {
  const bytes = 3 * side * side;
  const out = new Uint8Array(columns * rows * bytes);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      out.set(toPlanes(canvas, column * side, row * side, side), (row * columns + column) * bytes);
    }
  }
  return out;
}

/** The square at (left, top) as [3, side, side]. */
function toPlanes(image: Rgb, left: number, top: number, side: number): Uint8Array {
  const plane = side * side;
  const out = new Uint8Array(3 * plane);
  for (let y = 0, o = 0; y < side; y++) {
    let i = ((top + y) * image.width + left) * 3;
    for (let x = 0; x < side; x++, o++, i += 3) {
      out[o] = image.data[i]!;
      out[plane + o] = image.data[i + 1]!;
      out[2 * plane + o] = image.data[i + 2]!;
    }
  }
  return out;
}

function toRgb(data: Uint8Array, channels: number): Uint8Array {
  if (channels === 3) return data;
  const pixels = data.length / channels;
  const out = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i++) out.fill(data[i * channels]!, i * 3, i * 3 + 3);
  return out;
}
