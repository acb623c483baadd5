import { tensorflowBackend } from './backend.ts';
import type * as tf from './tf.ts';

/** Values of a float32 tensor, row-major, in memory that is the caller's alone: one copy, and no second one to be sure. */
export function ownValues(tensor: tf.Tensor): Float32Array {
  // tfjs keeps the array that a tensor was made from until something is computed with it, and would hand out that.
  tensorflowBackend()?.getInputTensorIds([tensor]);
  return tensor.dataSync<'float32'>();
}
