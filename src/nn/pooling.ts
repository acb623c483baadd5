import { gatherRows } from '../engine/ops.ts';
import * as tf from '../engine/tf.ts';
import { fused } from './fused.ts';

/**
 * Weighted sums of table rows: out[i] = Σ_j weights[i, j] · table[rows[i, j]]. Bilinear sampling and average pooling
 * over a region are both this. table [n, width], rows int32 [m, k], weights [m, k] -> [m, width].
 */
export function weightedRows(table: tf.Tensor2D, rows: tf.Tensor2D, weights: tf.Tensor2D): tf.Tensor2D {
  const [count, terms] = rows.shape;
  const width = table.shape[1];
  const gathered = gatherRows(table, rows);
  return fused(
    [gathered],
    () => {
      const w = tf.reshape(weights, [count, terms, 1]);
      return { value: tf.sum(tf.mul(gathered, w), 1), saved: [w] };
    },
    (dy, saved) => [tf.mul(tf.reshape(dy, [count, 1, width]), saved[0] as tf.Tensor)],
  );
}

/**
 * Maximum over axis 1 of [n, k, width] -> [n, width]. Equal maxima share the gradient evenly: a region with fewer
 * pixels than points holds repeated points, and each would otherwise receive it whole.
 */
export function maxPool(x: tf.Tensor3D): tf.Tensor2D {
  return fused(
    [x],
    () => {
      const top = tf.max(x, 1, true);
      return { value: tf.squeeze(top, [1]), saved: [x, top] };
    },
    (dy, saved) => {
      const [input, top] = saved as [tf.Tensor, tf.Tensor];
      const winners = tf.cast(tf.equal(input, top), 'float32');
      const share = tf.div(tf.expandDims(dy, 1), tf.sum(winners, 1, true));
      return [tf.mul(winners, share)];
    },
  );
}

/** Mean over axis 1 of [n, k, width] -> [n, width]. */
export function meanPool(x: tf.Tensor3D): tf.Tensor2D {
  return tf.mean(x, 1);
}
