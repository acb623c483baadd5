/**
 * The image processors that published vision towers come with (preprocessor_config.json of CLIP and DINOv2, as
 * transformers' Pillow processors apply it): resize, centre crop, rescale, normalise.
 */
import { z } from 'zod';
import { GroundError } from '../errors.ts';
import type { Size } from './box.ts';
import { CLIP_NORMALISATION, type Normalisation } from './normalise.ts';
import { type FilterName, type Rgb, resize } from './resample.ts';

/** What a processor does to an image, in this order. */
export interface ImageProcessor {
  /** To a fixed size, or to a length of the shorter side; null leaves the size. */
  readonly resize: { readonly to: Size | number; readonly filter: FilterName } | null;
  /** The middle of the image, black around it where it is smaller; null keeps all. */
  readonly crop: Size | null;
  /** What each 8-bit level of red, green and blue becomes: rescaling and normalising as one table [256] each. */
  readonly levels: readonly [Float32Array, Float32Array, Float32Array];
}

/** An image as a vision tower reads it: 8-bit planes [3, height, width] and the same normalised. */
export interface ProcessedImage extends Size {
  readonly planes: Uint8Array;
  readonly values: Float32Array;
}

/** Pillow's numbers of resampling filters. */
const FILTER_NUMBERS: Readonly<Record<number, FilterName>> = { 2: 'bilinear', 3: 'bicubic' };

const side = z.number().int().positive();
const size = z.union([
  side,
  z.object({ height: side, width: side }),
  z.object({ shortest_edge: side, longest_edge: z.null().optional() }),
]);
const triple = z.tuple([z.number(), z.number(), z.number()]);

/** A key that may be absent or null. */
function key<T>(schema: z.ZodType<T>, fallback: T) {
  return schema.nullish().transform(value => value ?? fallback);
}

/** Keys that are absent have the defaults of CLIPImageProcessor. */
const configSchema = z.object({
  do_resize: key(z.boolean(), true),
  size: key(size, { shortest_edge: 224 }),
  resample: key(z.number(), 3),
  do_center_crop: key(z.boolean(), true),
  crop_size: key(size, 224),
  do_rescale: key(z.boolean(), true),
  rescale_factor: key(z.number(), 1 / 255),
  do_normalize: key(z.boolean(), true),
  image_mean: key<Normalisation['mean']>(triple, CLIP_NORMALISATION.mean),
  image_std: key<Normalisation['std']>(triple, CLIP_NORMALISATION.std),
});

/** A preprocessor_config.json, parsed. Throws GroundError('model') on what is not supported; `file` names it. */
export function imageProcessorOf(json: unknown, file: string): ImageProcessor {
  const parsed = configSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new GroundError('model', `${file}: ${issue?.path.join('.')}: ${issue?.message}`, {
      hint: 'the image processors of CLIP and DINOv2 are supported',
    });
  }
  const config = parsed.data;
  const filter = FILTER_NUMBERS[config.resample];
  if (filter === undefined) {
    throw new GroundError('model', `${file}: resample ${config.resample} is not supported`, {
      hint: 'use 3 (bicubic) or 2 (bilinear)',
    });
  }
  return {
    resize: config.do_resize ? { to: shapeOf(config.size), filter } : null,
    crop: config.do_center_crop ? squareOf(shapeOf(config.crop_size)) : null,
    levels: levelsOf(config),
  };
}

function shapeOf(given: z.infer<typeof size>): Size | number {
  if (typeof given === 'number') return given;
  return 'shortest_edge' in given ? given.shortest_edge : { width: given.width, height: given.height };
}

function squareOf(shape: Size | number): Size {
  return typeof shape === 'number' ? { width: shape, height: shape } : shape;
}

/** The value of each 8-bit level in each channel, rounded to float32 after every step as the reference does. */
function levelsOf(config: z.infer<typeof configSchema>): ImageProcessor['levels'] {
  const { do_rescale, rescale_factor, do_normalize, image_mean, image_std } = config;
  const channel = (c: 0 | 1 | 2): Float32Array =>
    Float32Array.from({ length: 256 }, (_, level) => {
      const value = Math.fround(do_rescale ? level * rescale_factor : level);
      if (!do_normalize) return value;
      return Math.fround(value - Math.fround(image_mean[c])) / Math.fround(image_std[c]);
    });
  return [channel(0), channel(1), channel(2)];
}

/** Applies a processor to decoded pixels. */
export function processImage(image: Rgb, processor: ImageProcessor): ProcessedImage {
  const { resize: resizing, crop, levels } = processor;
  const resized = resizing === null ? image : resize(image, targetOf(image, resizing.to), resizing.filter);
  const { width, height } = crop ?? resized;
  const planes = planesOf(resized, { width, height });
  const values = Float32Array.from(planes, (level, i) => levels[Math.floor(i / (width * height))]![level]!);
  return { width, height, planes, values };
}

/** A length is the shorter side's; the longer one is rounded down. */
function targetOf({ width, height }: Size, to: Size | number): Size {
  if (typeof to !== 'number') return to;
  const long = Math.trunc((to * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? { width: to, height: long } : { width: long, height: to };
}

/** The middle of an image as planes [3, height, width], black where it does not reach. */
function planesOf(image: Rgb, { width, height }: Size): Uint8Array {
  const left = Math.floor((image.width - width) / 2);
  const top = Math.floor((image.height - height) / 2);
  const planes = new Uint8Array(3 * width * height);
  for (let y = Math.max(0, -top); y < Math.min(height, image.height - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(width, image.width - left); x++) {
      const from = ((y + top) * image.width + x + left) * 3;
      for (let c = 0; c < 3; c++) planes[(c * height + y) * width + x] = image.data[from + c]!;
    }
  }
  return planes;
}
