/** The fused ops of the engine as differentiable functions. Callers ask `hasNativeOps` first; the twins lie beside them. */
import { nativeOp } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import { fused } from './fused.ts';

/** Root-mean-square normalisation with gain: x [rows, width], gain [width] -> [rows, width]. */
export function nativeRmsNorm(x: tf.Tensor2D, gain: tf.Tensor, eps: number): tf.Tensor2D {
  return fused(
    [x, gain],
    () => {
      const [y, rstd] = nativeOp('GroundRmsNorm', [x, gain], { float: { eps } }, 2) as [tf.Tensor, tf.Tensor];
      return { value: y, saved: [x, gain, rstd] };
    },
    (dy, saved) => nativeOp('GroundRmsNormGradient', [dy, ...saved], {}, 2),
  );
}

/** Layer normalisation with gain and bias: x [rows, width] -> the same. */
export function nativeLayerNorm(x: tf.Tensor2D, gain: tf.Tensor, bias: tf.Tensor, eps: number): tf.Tensor2D {
  return fused(
    [x, gain, bias],
    () => {
      const [y, ...statistics] = nativeOp('GroundLayerNorm', [x, gain, bias], { float: { eps } }, 3);
      return { value: y as tf.Tensor, saved: [x, gain, ...statistics] };
    },
    (dy, saved) => nativeOp('GroundLayerNormGradient', [dy, ...saved], {}, 3),
  );
}

/** Products with at most so many rows are bound by reading the weight, which the fused op does faster than a product of matrices. */
const FEW_ROWS = 4;
/** Elements of the largest weight whose products are so short that calling libtensorflow's costs as much as computing them. */
const SMALL_WEIGHT = 2 ** 16;

/** Whether the fused op computes rows [rows, inputs] times a weight [outputs, inputs] faster than a product of matrices. */
export function nativeLinearPays(rows: number, weight: tf.Tensor2D): boolean {
  return rows <= FEW_ROWS || weight.size <= SMALL_WEIGHT;
}

/**
 * x Wᵀ + b: x [rows, inputs], weight [outputs, inputs], bias [outputs] or none. Has gradients of the input and, where
 * `trains`, of weight and bias.
 */
export function nativeLinear(
  x: tf.Tensor2D,
  weight: tf.Tensor2D,
  bias: tf.Tensor1D | undefined,
  trains: boolean,
): tf.Tensor2D {
  const parameters = bias === undefined ? [weight] : [weight, bias];
  return fused(
    trains ? [x, ...parameters] : [x],
    () => {
      const added = bias ?? tf.tensor1d([], 'float32');
      const [y] = nativeOp('GroundLinear', [x, weight, added], {}, 1) as [tf.Tensor];
      return { value: y, saved: trains ? [weight, x] : [weight] };
    },
    (dy, [matrix, input]) => {
      const dx = nativeOp('GroundLinearInputGradient', [dy, matrix as tf.Tensor], {}, 1);
      if (input === undefined) return dx;
      const own = nativeOp('GroundLinearWeightGradient', [dy, input], {}, 2);
      return [...dx, ...own.slice(0, parameters.length)];
    },
  );
}

/**
 * Rotary positions of x [rows, heads · width] by the angles of `cos` and `sin` [angles, width], where row r takes angle
 * row r mod angles (rows go batch by batch).
 */
export function nativeRotary(x: tf.Tensor2D, cos: tf.Tensor2D, sin: tf.Tensor2D): tf.Tensor2D {
  const turn = (y: tf.Tensor, tables: readonly tf.Tensor[], back: boolean): tf.Tensor =>
    nativeOp('GroundRotary', [y, ...tables], { bool: { back } }, 1)[0] as tf.Tensor;
  return fused(
    [x],
    () => ({ value: turn(x, [cos, sin], false), saved: [cos, sin] }),
    (dy, saved) => [turn(dy, saved, true)],
  );
}

/** silu(gate) · up, both [rows, width]. */
export function nativeSwiGlu(gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  return fused(
    [gate, up],
    () => ({ value: nativeOp('GroundSwiGlu', [gate, up], {}, 1)[0] as tf.Tensor, saved: [gate, up] }),
    (dy, saved) => nativeOp('GroundSwiGluGradient', [dy, ...saved], {}, 2),
  );
}

/** Forms of GELU by the number that the op knows them by. */
const GELU_KINDS = { exact: 0, quick: 1, tanh: 2 } as const;
export type GeluKind = keyof typeof GELU_KINDS;

/** GELU of x + bias: x [rows, width], bias [width]. */
export function nativeGelu(x: tf.Tensor2D, bias: tf.Tensor, form: GeluKind): tf.Tensor2D {
  const attributes = { int: { kind: GELU_KINDS[form] } };
  return fused(
    [x, bias],
    () => ({
      value: nativeOp('GroundGelu', [x, bias], attributes, 1)[0] as tf.Tensor,
      saved: [x, bias],
    }),
    (dy, saved) => nativeOp('GroundGeluGradient', [dy, ...saved], attributes, 2),
  );
}

/** How many heads, and who sees whom. */
export interface NativeAttentionOptions {
  readonly batch: number;
  readonly heads: number;
  readonly keyHeads: number;
  /** Whether a position sees none behind itself. */
  readonly causal: boolean;
  /** Positions see their own segment only: int32 [batch, length]; null where all are one. */
  readonly segments: tf.Tensor2D | null;
}

/**
 * softmax(q kᵀ / sqrt(width)) v for q [batch · length, heads · width] and k, v [batch · length, keyHeads · width], as the
 * projections leave them. Scores are never stored; the gradient computes them again.
 */
export function nativeAttention(
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  { batch, heads, keyHeads, causal, segments }: NativeAttentionOptions,
): tf.Tensor2D {
  const attributes = { int: { batch, heads, key_heads: keyHeads }, bool: { causal } };
  return fused(
    [q, k, v],
    () => {
      const labels = segments ?? tf.tensor1d([], 'int32');
      const [out, lse] = nativeOp('GroundAttention', [q, k, v, labels], attributes, 2) as [
        tf.Tensor,
        tf.Tensor,
      ];
      return { value: out, saved: [q, k, v, labels, out, lse] };
    },
    (dy, saved) => nativeOp('GroundAttentionGradient', [dy, ...saved], attributes, 3),
  );
}

/**
 * One token of each sample attends to a cache: q [batch, heads · width], k and v [batch, keyHeads · width], keys and values
 * [batch, keyHeads, slots, width]. Row b of `ranges` (int32 [batch, 4]: from, to, next, end) says that slots from..to-1 and
 * next..end-1 are seen. Slot end-1 of the cache is first WRITTEN with k and v, in place: no other tensor may share its
 * storage. Has no gradient.
 */
export function nativeCachedAttention(
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  cache: { readonly keys: tf.Tensor4D; readonly values: tf.Tensor4D },
  ranges: tf.Tensor2D,
): tf.Tensor2D {
  const inputs = [q, k, v, cache.keys, cache.values, ranges];
  return nativeOp('GroundCachedAttention', inputs, {}, 1)[0] as tf.Tensor2D;
}

/**
 * Σ weight · -log softmax(hidden tableᵀ)[target] over rows, scalar; the scores of all rows are never stored together.
 * hidden [rows, width], table [classes, width], targets int32 [rows], weights [rows]. Gradients are computed with the
 * value; `trainTable` false saves that of the table.
 */
export function nativeLinearCrossEntropy(
  hidden: tf.Tensor2D,
  table: tf.Tensor2D,
  targets: tf.Tensor1D,
  weights: tf.Tensor1D,
  trainTable: boolean,
): tf.Scalar {
  const inputs = trainTable ? [hidden, table] : [hidden];
  // Outside a gradient scope nobody will ask.
  const gradients = tf.engine().isTapeOn() ? inputs.length : 0;
  return fused(
    inputs,
    () => {
      const [losses, ...made] = nativeOp(
        'GroundLinearCrossEntropy',
        [hidden, table, targets, weights],
        { int: { gradients } },
        3,
      );
      return { value: tf.sum(losses as tf.Tensor), saved: made };
    },
    (dy, saved) => inputs.map((_, i) => tf.mul(saved[i] as tf.Tensor, dy)),
  );
}
