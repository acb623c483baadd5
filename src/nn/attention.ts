import * as tf from '../engine/tf.ts';
import { fused } from './fused.ts';

/** What stands in for minus infinity in additive masks: large enough that exp underflows to 0, far from overflow. */
const BLOCKED = -1e9;

/**
 * softmax(q kᵀ / sqrt(width) + bias) v with its own gradient, which keeps the probabilities and nothing else of that
 * size. Grouped queries: query head h reads key head floor(h / (H / Hk)), without repeating keys.
 * q [batch, H, queries, width]; k, v [batch, Hk, keys, width]; bias broadcasts to [batch, H, queries, keys].
 */
export function attend(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  bias: tf.Tensor4D | null,
): tf.Tensor4D {
  const [batch, heads, queries, width] = q.shape;
  const [, keyHeads, keys] = k.shape;
  const rows = batch * keyHeads;
  const grouped = (heads / keyHeads) * queries;
  const scale = width ** -0.5;
  const fold = (x: tf.Tensor, length: number): tf.Tensor3D => tf.reshape(x, [rows, length, width]);
  return fused(
    [q, k, v],
    () => {
      const scaled = fold(tf.mul(q, scale), grouped);
      const key = fold(k, keys);
      const value = fold(v, keys);
      const scores = tf.reshape(tf.matMul(scaled, key, false, true), [batch, heads, queries, keys]);
      const p = tf.softmax(bias === null ? scores : tf.add(scores, bias));
      const out = tf.matMul(tf.reshape(p, [rows, grouped, keys]), value);
      return { value: tf.reshape(out, q.shape), saved: [scaled, key, value, p] };
    },
    (dy, saved) => {
      const [scaled, key, value, p] = saved as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D, tf.Tensor];
      const dOut = fold(dy, grouped);
      const p3: tf.Tensor3D = tf.reshape(p, [rows, grouped, keys]);
      const dP: tf.Tensor3D = tf.matMul(dOut, value, false, true);
      const dScores: tf.Tensor3D = tf.mul(p3, tf.sub(dP, tf.sum(tf.mul(dP, p3), -1, true)));
      const dQ = tf.mul(tf.matMul(dScores, key), scale);
      const dK = tf.matMul(dScores, scaled, true, false);
      const dV = tf.matMul(p3, dOut, true, false);
      return [tf.reshape(dQ, q.shape), tf.reshape(dK, k.shape), tf.reshape(dV, v.shape)];
    },
  );
}

/** Keys and values [batch, Hk, slots, width] with an additive mask that broadcasts to [batch, H, queries, slots]. */
export interface AttentionPart {
  readonly keys: tf.Tensor4D;
  readonly values: tf.Tensor4D;
  readonly bias: tf.Tensor4D;
}

/**
 * `attend` over several pieces as if they lay behind each other, without putting them together: only their scores are.
 * For decoding; it has no gradient of its own.
 */
export function attendParts(q: tf.Tensor4D, parts: readonly AttentionPart[]): tf.Tensor4D {
  const [batch, heads, queries, width] = q.shape;
  const keyHeads = parts[0]?.keys.shape[1] ?? heads;
  const rows = batch * keyHeads;
  const grouped = (heads / keyHeads) * queries;
  const scaled: tf.Tensor3D = tf.reshape(tf.mul(q, width ** -0.5), [rows, grouped, width]);
  const scores = parts.map(({ keys, bias }) => {
    const slots = keys.shape[2];
    const products = tf.matMul(scaled, tf.reshape(keys, [rows, slots, width]) as tf.Tensor3D, false, true);
    return tf.add<tf.Tensor4D>(tf.reshape(products, [batch, heads, queries, slots]), bias);
  });
  const shares = tf.split(
    tf.softmax(tf.concat(scores, 3)),
    parts.map(({ keys }) => keys.shape[2]),
    3,
  );
  const read = parts.map(({ values }, i) => {
    const slots = values.shape[2];
    const share: tf.Tensor3D = tf.reshape(shares[i] as tf.Tensor, [rows, grouped, slots]);
    return tf.matMul(share, tf.reshape(values, [rows, slots, width]) as tf.Tensor3D);
  });
  return tf.reshape(tf.addN(read), q.shape);
}

/** [batch · length, heads · width] -> [batch, heads, length, width]. */
export function splitHeads(x: tf.Tensor2D, batch: number, heads: number): tf.Tensor4D {
  const [rows, columns] = x.shape;
  return tf.transpose(tf.reshape(x, [batch, rows / batch, heads, columns / heads]), [0, 2, 1, 3]);
}

/** The inverse of `splitHeads`. */
export function mergeHeads(x: tf.Tensor4D): tf.Tensor2D {
  const [batch, heads, length, width] = x.shape;
  return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch * length, heads * width]);
}

/**
 * An additive mask [1, 1, queries, length] that hides from each of the last `queries` positions, all by default, what
 * comes after it.
 */
export function causalBias(length: number, queries: number = length): tf.Tensor4D {
  return tf.tidy(() => {
    const positions = tf.range(0, length, 1, 'float32');
    const asking = queries === length ? positions : tf.range(length - queries, length, 1, 'float32');
    const later = tf.greater(tf.reshape(positions, [1, length]), tf.reshape(asking, [queries, 1]));
    return tf.reshape(tf.mul(tf.cast(later, 'float32'), BLOCKED), [1, 1, queries, length]);
  });
}

/**
 * An additive mask [batch, 1, length, length] for rows of several sequences: hides from each position what comes after
 * it and what has another number in `segments`, int32 [batch, length].
 */
export function segmentBias(segments: tf.Tensor2D): tf.Tensor4D {
  return tf.tidy(() => {
    const [batch, length] = segments.shape;
    const numbers = tf.cast(segments, 'float32');
    const others = tf.notEqual(
      tf.reshape(numbers, [batch, 1, length, 1]),
      tf.reshape(numbers, [batch, 1, 1, length]),
    );
    const hidden: tf.Tensor4D = tf.mul(tf.cast(others, 'float32'), BLOCKED);
    return tf.minimum(hidden, causalBias(length));
  });
}

/** Who sees whom among the positions of a sequence, in words that a fused op understands. */
export interface AttentionPattern {
  /** Whether a position sees none behind itself. */
  readonly causal: boolean;
  /** Positions see their own segment only: int32 [batch, length]; null where all are one. Only with `causal`. */
  readonly segments: tf.Tensor2D | null;
}

/** The additive mask that a pattern stands for, or null where all see all. */
export function patternBias({ causal, segments }: AttentionPattern, length: number): tf.Tensor4D | null {
  if (segments !== null) return segmentBias(segments);
  return causal ? causalBias(length) : null;
}

/** An additive mask [batch, 1, 1, keys] that hides keys where `visible` [batch, keys] is 0. */
export function keyBias(visible: tf.Tensor2D): tf.Tensor4D {
  return tf.tidy(() => {
    const [batch, keys] = visible.shape;
    return tf.reshape(tf.mul(tf.sub(tf.cast(visible, 'float32'), 1), -BLOCKED), [batch, 1, 1, keys]);
  });
}

/** Both masks at once, [batch, 1, queries, length], for the last `queries` positions, all by default. */
export function causalKeyBias(visible: tf.Tensor2D, queries: number = visible.shape[1]): tf.Tensor4D {
  return tf.tidy(() => tf.minimum(causalBias(visible.shape[1], queries), keyBias(visible)));
}
