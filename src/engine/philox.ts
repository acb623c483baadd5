/**
 * TensorFlow's counter-based random numbers in JavaScript: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
 * as 1, 2, 3", 2011), keyed as `stateless_random_uniform` keys it.
 */

const MULTIPLIER_A = 0xd2511f53;
const MULTIPLIER_B = 0xcd9e8d57;
const WEYL_A = 0x9e3779b9;
const WEYL_B = 0xbb67ae85;
const ROUNDS = 10;

/** The key with which TensorFlow scrambles a seed into a key and a counter (tensorflow/core/kernels/stateless_random_ops.cc). */
const SCRAMBLE = [0x3ec8f720, 0x02461e29] as const;

/** The upper 32 bits of a product of two unsigned 32-bit numbers. */
function high(a: number, b: number): number {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  // Below 2^33: too long for `>>>`.
  const carried = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + (middle - (middle & 0xffff)) / 0x10000 + Math.floor(carried / 0x10000)) >>> 0;
}

/** Four random 32-bit numbers of a counter (4 words) under a key (2 words), written over the counter's copy `out`. */
function philox(counter: Uint32Array, keyA: number, keyB: number, out: Uint32Array): void {
  let [c0 = 0, c1 = 0, c2 = 0, c3 = 0] = counter;
  let [a, b] = [keyA, keyB];
  for (let round = 0; round < ROUNDS; round++) {
    const [highA, lowA] = [high(MULTIPLIER_A, c0), Math.imul(MULTIPLIER_A, c0) >>> 0];
    const [highB, lowB] = [high(MULTIPLIER_B, c2), Math.imul(MULTIPLIER_B, c2) >>> 0];
    [c0, c1, c2, c3] = [(highB ^ c1 ^ a) >>> 0, lowB, (highA ^ c3 ^ b) >>> 0, lowA];
    a = (a + WEYL_A) >>> 0;
    b = (b + WEYL_B) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** `count` numbers in [0, 1) with 23 random bits, those that TensorFlow's StatelessRandomUniform gives for this int32 seed. */
export function philoxUniform(first: number, second: number, count: number): Float32Array {
  // Seeds are widened with their sign.
  const seed = Uint32Array.of(first, first >> 31, second, second >> 31);
  const mixed = new Uint32Array(4);
  philox(seed, SCRAMBLE[0], SCRAMBLE[1], mixed);
  const [keyA = 0, keyB = 0, third = 0, fourth = 0] = mixed;
  const counter = Uint32Array.of(0, 0, third, fourth);
  const block = new Uint32Array(4);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 4) {
    counter[0] = i / 4;
    philox(counter, keyA, keyB, block);
    for (let j = 0; j < 4 && i + j < count; j++) values[i + j] = (block[j]! & 0x7fffff) / 0x800000;
  }
  return values;
}
