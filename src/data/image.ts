/**
 * Encoded files to the views a model sees: a global view and, where asked for, the tiles of a grid. Views stay 8-bit
 * (a quarter of the memory, and cacheable); normalise.ts turns them into the encoder's floats at the very end.
 */
import { GroundError, messageOf } from '../errors.ts';
import type { ImageConfig } from '../models/config.ts';
import { chooseGrid, type Grid, type Placement, padInto, stretchInto } from './anyres.ts';
import type { Size } from './box.ts';
import { decodePlainPng } from './png.ts';
import { type Rgb, resizeBicubic } from './resample.ts';
import { resizeToPlanes, type Window } from './resize-planes.ts';

/** An encoded image and what is said of it; every `ImageRecord` is one. */
export interface ImageInput {
  /** Names the image in errors. */
  readonly id: string;
  readonly image: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** True where the size, and whatever else is said of the image, is meant after its EXIF orientation; annotations mean it as stored. */
  readonly upright?: boolean;
}

/** Which views of an image the model gets: the low-resolution one, or tiles as well. */
export type ViewMode = 'global' | 'global+local';

/** Where an image lies in its views: a matter of its size alone. */
export interface PlacedViews {
  /** Of the original image, which all coordinates refer to. */
  readonly size: Size;
  readonly grid: Grid;
  readonly globalPlacement: Placement;
  readonly localPlacement: Placement;
}

/** What the encoders of one image get, before normalisation. */
export interface Views extends PlacedViews {
  /** [3, S, S] 8-bit; empty where no encoder needs to see it. */
  readonly global: Uint8Array;
  /** [tiles, 3, S, S] 8-bit, row after row of the grid; empty where only the global view is wanted, or none. */
  readonly tiles: Uint8Array;
  /** Absent where no features are kept. */
  readonly features?: KnownFeatures;
}

/** What frozen encoders have made of an image, so far as it is known. */
export interface KnownFeatures {
  /** Names the image. */
  readonly key: string;
  /** Tiles that the model gets. */
  readonly tiles: number;
  /** Rows of the global view, and of all tiles; null where they are not known. */
  readonly global: Float32Array | null;
  readonly local: Float32Array | null;
  /** Entries that could not be used, and why. */
  readonly damaged: readonly string[];
}

/** Pixels of the largest image that is decoded: its RGB takes 384 MiB. A file of a few bytes can claim any size. */
export const MAX_PIXELS = 2 ** 27;

/**
 * The pixels of a JPEG, PNG or WebP as 8-bit RGB, as Pillow's convert('RGB') gives them: alpha is dropped (not
 * composited), grey is repeated, an embedded colour profile is ignored; of an animation the first frame. The EXIF
 * orientation is left alone unless the input says so, or only the turned pixels have the size that annotations were made for.
 * Throws `data` on a file that is damaged or ends early, one of another size, and one of more than `MAX_PIXELS`.
 */
export async function decodeImage(input: ImageInput): Promise<Rgb> {
  const { default: sharp } = await import('sharp');
  const decode = async (oriented: boolean): Promise<Rgb> => {
    const options = { ...LIMITS, failOn: 'error', ignoreIcc: true, autoOrient: oriented } as const;
    const { data, info } = await sharp(input.image, options)
      .removeAlpha()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: toRgb(data, info.channels) };
  };
  let decoded: Rgb;
  try {
    decoded = decodePlainPng(input.image) ?? (await decode(input.upright === true));
    if (decoded.width !== input.width && decoded.width === input.height) decoded = await decode(true);
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
    const { autoOrient } = await sharp(bytes, LIMITS).metadata();
    return { id, image: bytes, width: autoOrient.width, height: autoOrient.height, upright: true };
  } catch (cause) {
    throw new GroundError('data', `${id} is no image: ${reasonOf(cause)}`, {
      hint: 'give a JPEG, PNG or WebP file',
      cause,
    });
  }
}

const LIMITS = { limitInputPixels: MAX_PIXELS } as const;

/** The decoder's complaint: it repeats itself on further lines. */
function reasonOf(thrown: unknown): string {
  const [complaint = ''] = messageOf(thrown).split('\n');
  return /pixel limit/.test(complaint) ? `it has more than ${MAX_PIXELS} pixels; scale it down` : complaint;
}

/** The grid of an image of a size, and its place in the views. */
export function placedViews({ width, height }: Size, config: ImageConfig): PlacedViews {
  const { side } = config;
  const size = { width, height };
  const grid = chooseGrid(size, config.grids, side);
  const place = (canvas: Size): Placement =>
    config.resize === 'pad' ? padInto(size, canvas) : stretchInto(canvas);
  const globalPlacement = place({ width: side, height: side });
  const localPlacement = place({ width: grid[0] * side, height: grid[1] * side });
  return { size, grid, globalPlacement, localPlacement };
}

/** The views of a decoded image; without `tiles` the grid is still chosen but nothing is cut. */
export function viewsOf(image: Rgb, config: ImageConfig, tiles: boolean): Views {
  const { side } = config;
  const placed = placedViews(image, config);
  const { grid, globalPlacement, localPlacement } = placed;
  const cell = { width: side, height: side };
  const cells = Array.from({ length: grid[0] * grid[1] }, (_, i) => ({
    ...cell,
    left: (i % grid[0]) * side,
    top: Math.floor(i / grid[0]) * side,
  }));
  return {
    ...placed,
    global: cut(image, globalPlacement, [{ ...cell, left: 0, top: 0 }]),
    tiles: tiles ? cut(image, localPlacement, cells) : new Uint8Array(0),
  };
}

/** Parts of a canvas on which an image was placed, as [parts, 3, height, width]; black where the image is not. */
function cut(image: Rgb, placement: Placement, parts: readonly Window[]): Uint8Array {
  const shown = parts.map(part => overlap(part, placement));
  const planes = resizeToPlanes(image, placement, shown, 'bicubic');
  if (shown.every((window, i) => covers(window, parts[i]!))) return planes;
  const out = new Uint8Array(parts.reduce((sum, { width, height }) => sum + 3 * width * height, 0));
  let from = 0;
  let start = 0;
  for (const [i, part] of parts.entries()) {
    const { width, height, ...at } = shown[i]!;
    const left = at.left + placement.left - part.left;
    const top = at.top + placement.top - part.top;
    for (let row = 0; row < 3 * height; row++, from += width) {
      const line = Math.floor(row / height) * part.height + top + (row % height);
      out.set(planes.subarray(from, from + width), start + line * part.width + left);
    }
    start += 3 * part.width * part.height;
  }
  return out;
}

/** What of a part of the canvas the image covers, in pixels of the resized image. */
function overlap(part: Window, placed: Placement): Window {
  const span = (start: number, length: number, origin: number, extent: number): [number, number] => {
    const from = Math.min(Math.max(start - origin, 0), extent);
    return [from, Math.max(Math.min(start + length - origin, extent), from)];
  };
  const [left, right] = span(part.left, part.width, placed.left, placed.width);
  const [top, bottom] = span(part.top, part.height, placed.top, placed.height);
  return { left, top, width: right - left, height: bottom - top };
}

function covers(window: Size, part: Size): boolean {
  return window.width === part.width && window.height === part.height;
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

function toRgb(data: Uint8Array, channels: number): Uint8Array {
  if (channels === 3) return data;
  const pixels = data.length / channels;
  const out = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i++) out.fill(data[i * channels]!, i * 3, i * 3 + 3);
  return out;
}
