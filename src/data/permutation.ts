import { hashSeed } from '../random.ts';

/**
 * A seeded shuffle of 0..size-1 that costs no memory: entry `index` of it in constant expected time. A four-round
 * Feistel network permutes the next power of four; entries beyond `size` walk on until they fall inside.
 */
export function permute(index: number, size: number, seed: number): number {
  if (!(index >= 0 && index < size)) throw new RangeError(`index ${index} of ${size}`);
  const bits = Math.max(Math.ceil(Math.log2(size) / 2), 1);
  const half = 2 ** bits;
  let value = index;
  do {
    let left = Math.floor(value / half);
    let right = value % half;
    for (let round = 0; round < 4; round++) {
      [left, right] = [right, left ^ (hashSeed(seed, round, right) & (half - 1))];
    }
    value = left * half + right;
  } while (value >= size);
  return value;
}
