import { hasNativeOps, nativeOp } from './native-ops.ts';
import * as tf from './tf.ts';

/**
 * Rows of a table by number: out[...] = table[rows[...]], [..., width]. Rows may repeat. tfjs's own gather has no
 * gradient on the wasm engine and reads its indices back on the other.
 *
 * @param table float32 [n, width]
 * @param rows int32, any shape, each in 0..n-1
 */
export function gatherRows(table: tf.Tensor2D, rows: tf.Tensor): tf.Tensor {
  const [count, width] = table.shape;
  const gather = tf.customGrad((...args) => {
    const [x, save] = args as [tf.Tensor, tf.GradSaveFunc];
    save([rows]);
    return {
      value: tf.gather(x, rows),
      gradFunc: (dy, saved) => {
        const [index] = saved as [tf.Tensor];
        return sumRows(tf.reshape(dy, [-1, width]), tf.reshape(index, [-1]), count);
      },
    };
  });
  return gather(table);
}

/** out[r] = sum of values[i] over all i with rows[i] = r; [count, width]. */
function sumRows(values: tf.Tensor2D, rows: tf.Tensor1D, count: number): tf.Tensor2D {
  if (values.shape[0] === 0) return tf.zeros([count, values.shape[1]]);
  if (tf.getBackend() === 'wasm') {
    return tf.scatterND(tf.expandDims(rows, 1), values, [count, values.shape[1]]);
  }
  if (hasNativeOps())
    return nativeOp('GroundSumRows', [values, rows], { int: { count } }, 1)[0] as tf.Tensor2D;
  return tf.unsortedSegmentSum(values, rows, count);
}

/**
 * Rows of a table where no row is read twice (a permutation, or a part of one): out[i] = table[source[i]], [n, width].
 * Then the gradient is a gather too, which needs no sum and runs at memory speed.
 *
 * @param table float32 [rows, width]
 * @param source int32 [n], the row that each output reads
 * @param inverse int32 [rows], the output that reads each row, n where none does (its gradient is zero). A row that
 *   must not get a gradient, such as a shared row of zeros, may be read often: it says n here.
 */
export function gatherOnce(table: tf.Tensor2D, source: tf.Tensor1D, inverse: tf.Tensor1D): tf.Tensor2D {
  const gather = tf.customGrad((...args) => {
    const [x, save] = args as [tf.Tensor2D, tf.GradSaveFunc];
    save([inverse]);
    return {
      value: tf.gather(x, source),
      gradFunc: (dy, saved) => {
        const [index] = saved as [tf.Tensor1D];
        return tf.gather(tf.concat([dy as tf.Tensor2D, tf.zeros([1, x.shape[1]])], 0), index);
      },
    };
  });
  return gather(table) as tf.Tensor2D;
}
