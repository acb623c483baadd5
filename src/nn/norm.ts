import { hasNativeOps } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import { fused } from './fused.ts';
import { ones, zeros } from './init.ts';
import { nativeLayerNorm, nativeRmsNorm } from './native.ts';
import type { Parameter, Scope } from './parameter.ts';

/**
 * (x - mean) / sqrt(variance + eps) over the last axis of [rows, width], with the closed form of its gradient:
 * dx = rstd · (dy - mean(dy) - y · mean(dy · y)).
 */
export function standardize(x: tf.Tensor2D, eps: number): tf.Tensor2D {
  return fused(
    [x],
    () => {
      const centred = tf.sub(x, tf.mean(x, -1, true));
      const rstd = tf.rsqrt(tf.add(tf.mean(tf.mul(centred, centred), -1, true), eps));
      const y = tf.mul(centred, rstd);
      return { value: y, saved: [y, rstd] };
    },
    (dy, saved) => {
      const [y, rstd] = saved as [tf.Tensor, tf.Tensor];
      const along = tf.mul(y, tf.mean(tf.mul(dy, y), -1, true));
      return [tf.mul(rstd, tf.sub(tf.sub(dy, tf.mean(dy, -1, true)), along))];
    },
  );
}

/** x / sqrt(mean(x²) + eps) over the last axis of [rows, width]; gradient rstd · (dy - y · mean(dy · y)). */
export function rmsStandardize(x: tf.Tensor2D, eps: number): tf.Tensor2D {
  return fused(
    [x],
    () => {
      const rstd = tf.rsqrt(tf.add(tf.mean(tf.mul(x, x), -1, true), eps));
      const y = tf.mul(x, rstd);
      return { value: y, saved: [y, rstd] };
    },
    (dy, saved) => {
      const [y, rstd] = saved as [tf.Tensor, tf.Tensor];
      return [tf.mul(rstd, tf.sub(dy, tf.mul(y, tf.mean(tf.mul(dy, y), -1, true))))];
    },
  );
}

/** Layer normalisation over the last axis with gain and bias (PyTorch `LayerNorm`). */
export class LayerNorm {
  readonly #weight: Parameter;
  readonly #bias: Parameter;
  readonly #eps: number;

  constructor(scope: Scope, width: number, eps: number) {
    this.#weight = scope.parameter('weight', [width], ones);
    this.#bias = scope.parameter('bias', [width], zeros);
    this.#eps = eps;
  }

  /** [rows, width] -> the same. */
  apply(x: tf.Tensor2D): tf.Tensor2D {
    if (hasNativeOps()) return nativeLayerNorm(x, this.#weight.value, this.#bias.value, this.#eps);
    // Gain and bias stay outside the fused part: frozen, their gradients are then never computed.
    return tf.add(tf.mul(standardize(x, this.#eps), this.#weight.value), this.#bias.value);
  }
}

/** Root-mean-square normalisation with gain (Llama's `RMSNorm`). */
export class RmsNorm {
  readonly #weight: Parameter;
  readonly #eps: number;

  constructor(scope: Scope, width: number, eps: number) {
    this.#weight = scope.parameter('weight', [width], ones);
    this.#eps = eps;
  }

  /** [rows, width] -> the same. */
  apply(x: tf.Tensor2D): tf.Tensor2D {
    if (hasNativeOps()) return nativeRmsNorm(x, this.#weight.value, this.#eps);
    return tf.mul(rmsStandardize(x, this.#eps), this.#weight.value);
  }
}
