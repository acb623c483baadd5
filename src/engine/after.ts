import { tensorflowBackend } from './backend.ts';
import type * as tf from './tf.ts';

/**
 * The values of `x`, not to be used before `dependency` is known. While a function is recorded this is a node of its own
 * that waits for the other: TensorFlow's optimiser would find that what is computed from it has been computed before,
 * and keep the old results instead. Where ops run one by one, order is what the program says, and `x` itself is
 * returned. Has no gradient.
 */
export function after<T extends tf.Tensor>(x: T, dependency: tf.Tensor): T {
  const backend = tensorflowBackend();
  const delay = backend?.binding.after;
  if (!backend || !delay) return x;
  const [value, awaited] = backend.getInputTensorIds([x, dependency]) as [number, number];
  return backend.createOutputTensor(delay(value, awaited)) as T;
}
