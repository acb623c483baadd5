import * as tf from '../engine/tf.ts';
import { crossEntropy } from './cross-entropy.ts';
import { fused } from './fused.ts';

/**
 * Each row divided by its Euclidean length, [rows, width] -> the same. The 1e-12 under the root changes nothing that
 * float32 can show on features, and keeps rows of zeros (padding) zero.
 */
export function unitRows(x: tf.Tensor2D): tf.Tensor2D {
  return tf.mul(x, tf.rsqrt(tf.add(tf.sum(tf.mul(x, x), 1, true), 1e-12)));
}

/**
 * Symmetric InfoNCE (CLIP, arXiv 2103.00020): the mean of the two cross-entropies of `similarity` [n, n], rows against
 * columns and columns against rows, the pairs being on the diagonal. `blocked` [n, n] is added to the similarities:
 * 0 for true negatives, very negative for pairs that are none. `weights` [n] are 0 for pairs that only pad.
 */
export function symmetricInfoNce(
  similarity: tf.Tensor2D,
  pairs?: { readonly blocked: tf.Tensor2D; readonly weights: tf.Tensor1D },
): tf.Scalar {
  const n = similarity.shape[0];
  const diagonal = tf.range(0, n, 1, 'int32');
  const columns = tf.transpose(similarity);
  if (pairs === undefined) {
    return tf.mul(tf.mean(tf.add(crossEntropy(similarity, diagonal), crossEntropy(columns, diagonal))), 0.5);
  }
  // `blocked` hides padding by column, so that it serves both directions untransposed.
  const rowLoss = crossEntropy(tf.add(similarity, pairs.blocked), diagonal);
  const columnLoss = crossEntropy(tf.add(columns, pairs.blocked), diagonal);
  const counted = tf.maximum(tf.sum(pairs.weights), 1);
  return tf.mul(tf.div(tf.sum(tf.mul(tf.add(rowLoss, columnLoss), pairs.weights)), counted), 0.5);
}

/**
 * InfoNCE of every patch of n regions against the phrases of all: `patches` [n, k, width] (unit rows times the scale of
 * similarities), `phrases` [n, width], unit rows. Each patch is to find its region's phrase; a region's patches weigh
 * `shares` [n, k], which add up to 1, or to 0 where the region only pads. `pairs` as in `symmetricInfoNce`.
 */
export function patchInfoNce(
  patches: tf.Tensor3D,
  phrases: tf.Tensor2D,
  shares: tf.Tensor2D,
  pairs: { readonly blocked: tf.Tensor2D; readonly weights: tf.Tensor1D },
): tf.Scalar {
  const [n, k, width] = patches.shape;
  const similarity = tf.matMul(tf.reshape(patches, [n * k, width]), phrases, false, true);
  const allowed = tf.add(tf.reshape(similarity, [n, k, n]), tf.reshape(pairs.blocked, [n, 1, n]));
  const own = tf.reshape(tf.add(tf.zeros([n, k], 'int32'), tf.reshape(tf.range(0, n, 1, 'int32'), [n, 1])), [
    n * k,
  ]);
  const losses = crossEntropy(tf.reshape(allowed, [n * k, n]), own as tf.Tensor1D);
  const perRegion = tf.sum(tf.mul(tf.reshape(losses, [n, k]), shares), 1);
  return tf.div(tf.sum(tf.mul(perRegion, pairs.weights)), tf.maximum(tf.sum(pairs.weights), 1));
}

/**
 * SigLIP's loss (arXiv 2303.15343): every pair of rows and columns of `logits` [n, n] is a yes-or-no question of its own,
 * yes on the diagonal; the sum over a row's questions, averaged over the n rows.
 */
export function sigmoidContrast(logits: tf.Tensor2D): tf.Scalar {
  const n = logits.shape[0];
  const signs = tf.sub(tf.mul(tf.eye(n), 2), 1);
  return fused(
    [logits],
    () => {
      const agreement = tf.mul(logits, signs);
      // -log sigmoid(x) = max(-x, 0) + log(1 + exp(-|x|)), which overflows nowhere.
      const losses = tf.add(tf.relu(tf.neg(agreement)), tf.log1p(tf.exp(tf.neg(tf.abs(agreement)))));
      return { value: tf.div(tf.sum(losses), n), saved: [agreement, signs] };
    },
    (dy, saved) => {
      const [agreement, sign] = saved as [tf.Tensor, tf.Tensor];
      return [tf.mul(tf.mul(sign, tf.sub(tf.sigmoid(agreement), 1)), tf.div(dy, n))];
    },
  );
}
