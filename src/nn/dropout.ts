import { after } from '../engine/after.ts';
import { statelessUniform } from '../engine/random-ops.ts';
import * as tf from '../engine/tf.ts';
import { fused } from './fused.ts';

/**
 * Dropout (inverted: what stays is scaled by 1 / (1 - rate)) whose mask follows from a seed: the same numbers on both
 * engines, in a recorded step and when the pass is computed again. The mask is drawn again for the backward pass instead
 * of being kept.
 *
 * @param rate share of the values that become 0, below 1
 * @param seed int32 [2], an input of the step
 * @param index tells layers apart that share a seed
 */
export function dropout(x: tf.Tensor2D, rate: number, seed: tf.Tensor1D, index: number): tf.Tensor2D {
  const masked = (values: tf.Tensor, from: tf.Tensor1D): tf.Tensor => {
    const own = tf.add<tf.Tensor1D>(from, tf.tensor1d([0, index], 'int32'));
    const stays = tf.cast(tf.greaterEqual(statelessUniform(x.shape, own), tf.scalar(rate)), 'float32');
    return tf.mul(values, tf.mul(stays, tf.scalar(1 / (1 - rate))));
  };
  return fused(
    [x],
    () => ({ value: masked(x, seed), saved: [seed] }),
    (dy, [again]) => [masked(dy, after(again as tf.Tensor1D, dy))],
  );
}
