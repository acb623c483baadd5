/**
 * Images recognised again after they were saved anew: a 64-bit difference hash of the brightness, and a thumbnail that
 * says whether images with like hashes look alike. For keeping images of evaluation sets out of training sets.
 */
import { GroundError, messageOf } from '../errors.ts';
import type { Rgb } from './resample.ts';

/** Columns and rows of the thumbnail: nine columns have eight steps between neighbours, eight rows of them are 64. */
const COLUMNS = 9;
const ROWS = 8;
const VALUES = COLUMNS * ROWS * 3;

/**
 * Levels (of 255) by which a cell must be brighter than the one to its left. Without it the noise of a compressed plain
 * background would be bits: on rendered scenes three in four hashes moved by more than 8 bits when saved as JPEG.
 */
const STEP = 1;

/**
 * Hashes differ in so many bits and thumbnails by so many levels, on average, at the most, for two images to be the
 * same: either rule suffices. Saving as JPEG (quality 20 up), halving, and cropping 1.5 % of each side stay below the
 * second on photographs and on scenes, a tenth more brightness below the first; of different photographs (12,000 pairs)
 * none came below either.
 */
const SAME: readonly { readonly bits: number; readonly levels: number }[] = [
  { bits: 6, levels: 24 },
  { bits: 16, levels: 8 },
];

/** What is remembered of an image. */
export interface Fingerprint {
  /** Bit 63 first: 1 where a cell of the thumbnail is brighter than its left neighbour, row after row. */
  readonly hash: bigint;
  /** [8, 9, 3] mean colours of the image's cells, 0 to 255. */
  readonly thumbnail: Uint8Array;
}

/** The fingerprint of decoded pixels, RGB row after row; sizes and compression hardly change it. */
export function fingerprintOf({ width, height, data }: Rgb): Fingerprint {
  const across = cellsOf(width, COLUMNS);
  const down = cellsOf(height, ROWS);
  // Columns first: each row of the image shrinks to nine cells, which are then averaged down.
  const rows = new Float64Array(height * COLUMNS * 3);
  for (let y = 0; y < height; y++) {
    for (const [cell, { first, weights }] of across.entries()) {
      const out = (y * COLUMNS + cell) * 3;
      let from = (y * width + first) * 3;
      for (const weight of weights) {
        for (let c = 0; c < 3; c++) rows[out + c]! += weight * data[from++]!;
      }
    }
  }
  const means = new Float64Array(VALUES);
  for (const [cell, { first, weights }] of down.entries()) {
    for (const [i, weight] of weights.entries()) {
      const from = (first + i) * COLUMNS * 3;
      for (let k = 0; k < COLUMNS * 3; k++) means[cell * COLUMNS * 3 + k]! += weight * rows[from + k]!;
    }
  }
  return { hash: hashOf(means), thumbnail: Uint8Array.from(means, Math.round) };
}

/** The fingerprint of an encoded image, turned as its EXIF orientation says. Throws `data` where it cannot be decoded. */
export async function fingerprintImage(image: Uint8Array, id: string): Promise<Fingerprint> {
  const { default: sharp } = await import('sharp');
  try {
    const { data, info } = await sharp(image, { ignoreIcc: true, autoOrient: true })
      .removeAlpha()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    const rgb =
      channels === 3
        ? data
        : Uint8Array.from({ length: width * height * 3 }, (_, i) => grey(data, channels, i));
    return fingerprintOf({ width, height, data: rgb });
  } catch (cause) {
    throw new GroundError('data', `image ${id} cannot be decoded: ${messageOf(cause).split('\n')[0]}`, {
      hint: '`ground data validate` lists every damaged image; remove it or build the dataset again',
      cause,
    });
  }
}

/** Bits in which two hashes differ. */
export function hashDistance(a: bigint, b: bigint): number {
  const different = a ^ b;
  return onesIn(Number(different & LOW)) + onesIn(Number((different >> 32n) & LOW));
}

/** Whether two images are the same one, saved anew (compressed, scaled, cropped at the edge, a little brighter). */
export function isSameImage(a: Fingerprint, b: Fingerprint): boolean {
  return isSame(hashDistance(a.hash, b.hash), a.thumbnail, b.thumbnail, 0);
}

/** Fingerprints to look others up in; 224 bytes each, and a microsecond per hundred for a look. */
export class FingerprintIndex {
  readonly #ids: string[] = [];
  /** High and low half of each hash. */
  #halves = new Uint32Array(64);
  #thumbnails = new Uint8Array(32 * VALUES);

  get size(): number {
    return this.#ids.length;
  }

  add({ hash, thumbnail }: Fingerprint, id: string): void {
    const at = this.#ids.length;
    if (at * 2 === this.#halves.length) {
      this.#halves = grown(this.#halves, new Uint32Array(at * 4));
      this.#thumbnails = grown(this.#thumbnails, new Uint8Array(at * 2 * VALUES));
    }
    this.#ids.push(id);
    this.#halves[2 * at] = Number((hash >> 32n) & LOW);
    this.#halves[2 * at + 1] = Number(hash & LOW);
    this.#thumbnails.set(thumbnail, at * VALUES);
  }

  /** The id of the first image added that is the same one; null where there is none. */
  find({ hash, thumbnail }: Fingerprint): string | null {
    const high = Number((hash >> 32n) & LOW);
    const low = Number(hash & LOW);
    for (let i = 0; i < this.#ids.length; i++) {
      const bits = onesIn(high ^ this.#halves[2 * i]!) + onesIn(low ^ this.#halves[2 * i + 1]!);
      if (isSame(bits, thumbnail, this.#thumbnails, i * VALUES)) return this.#ids[i]!;
    }
    return null;
  }
}

const LOW = 0xffffffffn;

function isSame(bits: number, a: Uint8Array, b: Uint8Array, offset: number): boolean {
  if (SAME.every(rule => bits > rule.bits)) return false;
  let sum = 0;
  for (let i = 0; i < VALUES; i++) sum += Math.abs(a[i]! - b[offset + i]!);
  return SAME.some(rule => bits <= rule.bits && sum <= rule.levels * VALUES);
}

function hashOf(means: Float64Array): bigint {
  const brightness = (cell: number) =>
    0.299 * means[3 * cell]! + 0.587 * means[3 * cell + 1]! + 0.114 * means[3 * cell + 2]!;
  let hash = 0n;
  for (let y = 0; y < ROWS; y++) {
    for (let x = 1; x < COLUMNS; x++) {
      const cell = y * COLUMNS + x;
      hash = (hash << 1n) | (brightness(cell) > brightness(cell - 1) + STEP ? 1n : 0n);
    }
  }
  return hash;
}

interface Cell {
  /** First pixel of the cell, and the share of the cell that each pixel from there on makes up. */
  readonly first: number;
  readonly weights: readonly number[];
}

/** A side of `pixels` cut into `cells` equal parts; pixels on a border belong to both sides in part. */
function cellsOf(pixels: number, cells: number): Cell[] {
  const length = pixels / cells;
  return Array.from({ length: cells }, (_, i) => {
    const [from, to] = [i * length, (i + 1) * length];
    const first = Math.min(Math.floor(from), pixels - 1);
    const last = Math.min(Math.max(Math.ceil(to), first + 1), pixels);
    const shares = Array.from({ length: last - first }, (_, k) =>
      Math.max(Math.min(to, first + k + 1) - Math.max(from, first + k), 0),
    );
    const total = shares.reduce((sum, share) => sum + share, 0);
    return { first, weights: shares.map(share => share / total) };
  });
}

function grey(data: Uint8Array, channels: number, i: number): number {
  return data[Math.floor(i / 3) * channels]!;
}

/** Ones in the binary form of a 32-bit number. */
export function onesIn(number: number): number {
  let n = number - ((number >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

function grown<T extends Uint8Array | Uint32Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
