import { beforeAll, expect, it } from 'vitest';
import { startEngine } from '../../src/engine/engine.ts';
import * as tf from '../../src/engine/tf.ts';
import { randomTensor } from '../helpers/numbers.ts';

beforeAll(async () => {
  // Twice, as tests and commands do: the kernel must not be wrapped again.
  await startEngine({ engine: 'wasm' });
  await startEngine({ engine: 'wasm' });
});

it.each([
  ['small, left to tfjs', 3, 4, 5],
  ['large, transposed first', 40, 50, 60],
])('products of transposed matrices equal plain ones and leave nothing behind: %s', (_, m, k, n) => {
  const before = tf.memory().numDataBuffers;
  tf.tidy(() => {
    const a = randomTensor('a', [m, k]);
    const b = randomTensor('b', [k, n]);
    const want = tf.matMul(a, b);
    for (const [ta, tb] of [
      [true, false],
      [false, true],
      [true, true],
    ] as const) {
      const got = tf.matMul(ta ? tf.transpose(a) : a, tb ? tf.transpose(b) : b, ta, tb);
      expect(got.shape).toEqual([m, n]);
      expect(tf.max(tf.abs(tf.sub(got, want))).dataSync()[0]).toBeLessThan(1e-4);
    }
  });
  expect(tf.memory().numDataBuffers).toBe(before);
});
