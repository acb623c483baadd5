import * as tf from '../engine/tf.ts';
import { fused } from './fused.ts';

/**
 * -log softmax(logits)[target] of each row, with the gradient softmax - one-hot.
 * logits [rows, classes], targets int32 [rows] -> [rows]. A target outside 0..classes-1 matches no class: give such
 * rows weight 0. With `smoothing` the target's share is 1 - smoothing and the rest is spread over all classes evenly
 * (label smoothing, arXiv 1512.00567, as torch.nn.functional.cross_entropy has it).
 */
export function crossEntropy(logits: tf.Tensor2D, targets: tf.Tensor1D, smoothing = 0): tf.Tensor1D {
  const [rows, classes] = logits.shape;
  return fused(
    [logits],
    () => {
      const shifted = tf.sub(logits, tf.max(logits, 1, true));
      const exponentials = tf.exp(shifted);
      const total = tf.sum(exponentials, 1, true);
      // Cast afterwards: asked for float32, the wasm kernel writes the bits of integers.
      const oneHot = tf.cast(tf.oneHot(targets, classes), 'float32');
      const wanted = smoothing === 0 ? oneHot : tf.add(tf.mul(oneHot, 1 - smoothing), smoothing / classes);
      const hit = tf.sum(tf.mul(wanted, shifted), 1, true);
      const loss = tf.reshape(tf.sub(tf.log(total), hit), [rows]);
      return { value: loss, saved: [exponentials, total, wanted] };
    },
    (dy, saved) => {
      const [exponentials, total, wanted] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
      return [tf.mul(tf.sub(tf.div(exponentials, total), wanted), tf.reshape(dy, [rows, 1]))];
    },
  );
}
