import * as tf from './tf.ts';

/** How many tensors are alive: a step that leaks makes this grow. */
export function tensorCount(): number {
  return tf.memory().numTensors;
}
