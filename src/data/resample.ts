/**
 * Pillow's antialiased resampling of 8-bit images, to the bit: support widened by the reduction, horizontal pass first,
 * 22-bit fixed-point weights, each pass rounded and clipped to 8 bits (Pillow's Resample.c, which CLIP's image
 * processor uses).
 */
import type { Size } from './box.ts';

/** Pixels of an image, red, green, blue, row after row. */
export interface Rgb extends Size {
  readonly data: Uint8Array;
}

const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);

/** For each output position: first input position, number of taps, and the taps' fixed-point weights. */
export interface Taps {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  /** [outputs, stride]: the weights of an output's taps, in 1 / 2²², then zeros. */
  readonly weights: Int32Array;
  readonly stride: number;
}

/** A filter's weight at a distance in pixels, 0 beyond `support`. */
interface Filter {
  readonly support: number;
  readonly at: (distance: number) => number;
}

const FILTERS = {
  bicubic: { support: 2, at: cubic },
  bilinear: { support: 1, at: triangle },
} as const satisfies Record<string, Filter>;

/** The filters that images are resized with; Ferret's and CLIP's is `bicubic` (a = -0.5). */
export type FilterName = keyof typeof FILTERS;

/** The image at another size. Returns the same object where the size is its own. */
export function resize(image: Rgb, size: Size, filter: FilterName): Rgb {
  const wide = image.width === size.width ? image : resizeColumns(image, size.width, filter);
  return wide.height === size.height ? wide : resizeRows(wide, size.height, filter);
}

/** `resize` with the bicubic filter. */
export function resizeBicubic(image: Rgb, size: Size): Rgb {
  return resize(image, size, 'bicubic');
}

function resizeColumns(image: Rgb, width: number, filter: FilterName): Rgb {
  const { starts, counts, weights, stride } = tapsFor(image.width, width, filter);
  const out = new Uint8Array(width * image.height * 3);
  const { data } = image;
  for (let y = 0, o = 0; y < image.height; y++) {
    const row = y * image.width * 3;
    for (let x = 0; x < width; x++, o += 3) {
      let i = row + starts[x]! * 3;
      let [r, g, b] = [HALF, HALF, HALF];
      for (let w = x * stride, end = w + counts[x]!; w < end; w++, i += 3) {
        const weight = weights[w]!;
        r += data[i]! * weight;
        g += data[i + 1]! * weight;
        b += data[i + 2]! * weight;
      }
      out[o] = clip(r);
      out[o + 1] = clip(g);
      out[o + 2] = clip(b);
    }
  }
  return { width, height: image.height, data: out };
}

function resizeRows(image: Rgb, height: number, filter: FilterName): Rgb {
  const { starts, counts, weights, stride } = tapsFor(image.height, height, filter);
  const pitch = image.width * 3;
  const out = new Uint8Array(pitch * height);
  const sums = new Int32Array(pitch);
  const { data } = image;
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    for (let k = 0; k < counts[y]!; k++) {
      const weight = weights[y * stride + k]!;
      for (let x = 0, i = (starts[y]! + k) * pitch; x < pitch; x++, i++) {
        sums[x] = sums[x]! + data[i]! * weight;
      }
    }
    for (let x = 0, o = y * pitch; x < pitch; x++, o++) out[o] = clip(sums[x]!);
  }
  return { width: image.width, height, data: out };
}

function clip(sum: number): number {
  return Math.min(Math.max(sum >> PRECISION, 0), 255);
}

/** The taps that resize a line of `from` pixels to `to`. */
export function tapsFor(from: number, to: number, name: FilterName): Taps {
  const filter: Filter = FILTERS[name];
  const scale = from / to;
  const filterScale = Math.max(scale, 1);
  const support = filter.support * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const weights = new Int32Array(to * stride);
  const exact = new Float64Array(stride);
  for (let x = 0; x < to; x++) {
    const centre = (x + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const count = Math.min(Math.trunc(centre + support + 0.5), from) - start;
    let sum = 0;
    for (let k = 0; k < count; k++) {
      exact[k] = filter.at((k + start - centre + 0.5) / filterScale);
      sum += exact[k]!;
    }
    starts[x] = start;
    counts[x] = count;
    for (let k = 0; k < count; k++) {
      const weight = (sum === 0 ? exact[k]! : exact[k]! / sum) * (1 << PRECISION);
      weights[x * stride + k] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
  return { starts, counts, weights, stride };
}

/** Linear interpolation between neighbours. */
function triangle(position: number): number {
  return Math.max(1 - Math.abs(position), 0);
}

/** Keys' cubic convolution with a = -0.5. */
function cubic(position: number): number {
  const a = -0.5;
  const x = Math.abs(position);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}
