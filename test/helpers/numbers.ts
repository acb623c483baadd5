import { expect } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { Random } from '../../src/random.ts';

/** Standard normal values from a named stream. */
export function randomTensor<T extends tf.Tensor>(name: string, shape: readonly number[]): T {
  const random = new Random('test', name);
  const size = shape.reduce((n, d) => n * d, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, () => random.normal()),
    [...shape],
  ) as T;
}

/** Asserts that two tensors agree within `relative` times the largest value expected (plus 1e-7). */
export function expectClose(got: tf.Tensor, want: tf.Tensor, relative = 1e-5): void {
  expect(got.shape).toEqual(want.shape);
  const wanted = Array.from(want.dataSync());
  const largest = wanted.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  let gap = 0;
  got.dataSync().forEach((x, i) => {
    const d = Math.abs(x - (wanted[i] ?? Number.NaN));
    gap = Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(gap, d);
  });
  expect(gap).toBeLessThanOrEqual(1e-7 + relative * largest);
}

/**
 * Asserts that two functions of the same inputs agree, and so do the gradients of a random projection of their values.
 * `composed` is made of operations that tfjs differentiates itself.
 */
export function expectSameFunction(
  fused: (...inputs: tf.Tensor[]) => tf.Tensor,
  composed: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: readonly tf.Tensor[],
  relative = 1e-5,
): void {
  tf.tidy(() => {
    const want = composed(...inputs);
    expectClose(fused(...inputs), want, relative);
    const direction = randomTensor('direction', want.shape);
    const gradients = (f: (...inputs: tf.Tensor[]) => tf.Tensor) =>
      tf.engine().gradients(() => tf.sum(tf.mul(f(...inputs), direction)), [...inputs]).grads;
    const wanted = gradients(composed);
    for (const [i, got] of gradients(fused).entries()) {
      expectClose(got, wanted[i] as tf.Tensor, relative);
    }
  });
}
