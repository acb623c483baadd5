import * as tf from '../engine/tf.ts';
import { dropout } from './dropout.ts';
import { uniform, zeros } from './init.ts';
import type { Parameter, Scope } from './parameter.ts';

/** How one layer is adapted. */
export interface AdapterOptions {
  /** Rank of the change, 1 to min(inputs, outputs). */
  readonly rank: number;
  /** The change is scaled by alpha / rank. */
  readonly alpha: number;
  /** Share of the adapter's inputs that are dropped while training, 0 to below 1. */
  readonly dropout: number;
  /** Number of the layer: no two layers of a model drop the same inputs. */
  readonly index: number;
}

/** A linear layer that can be given an adapter. */
export interface AdaptableLayer {
  readonly inputs: number;
  readonly outputs: number;
  adapt(options: AdapterOptions): void;
}

/**
 * The low-rank change of a linear layer (LoRA, arXiv 2106.09685): alpha / rank · B A x, with A [rank, inputs] started as
 * in PyTorch's linear layers (Kaiming-uniform with a = √5, that is U(-inputs^-0.5, inputs^-0.5)) and B [outputs, rank] at
 * zero, so that it changes nothing at first. Names and layouts are the PEFT library's.
 */
export class LowRankAdapter {
  readonly #a: Parameter;
  readonly #b: Parameter;
  readonly #scope: Scope;
  readonly #options: AdapterOptions;

  constructor(
    scope: Scope,
    { inputs, outputs }: Pick<AdaptableLayer, 'inputs' | 'outputs'>,
    options: AdapterOptions,
  ) {
    this.#scope = scope;
    this.#options = options;
    this.#a = scope.at('lora_A').parameter('weight', [options.rank, inputs], uniform(inputs ** -0.5));
    this.#b = scope.at('lora_B').parameter('weight', [outputs, options.rank], zeros);
  }

  /** What is added to the layer's output: [rows, inputs] -> [rows, outputs]. */
  apply(x: tf.Tensor2D): tf.Tensor2D {
    const { rank, alpha, dropout: rate, index } = this.#options;
    const seed = this.#scope.training?.dropout ?? null;
    const kept = seed === null || rate === 0 ? x : dropout(x, rate, seed, index);
    const narrow: tf.Tensor2D = tf.matMul(kept, this.#a.value as tf.Tensor2D, false, true);
    const wide = tf.matMul<tf.Tensor2D>(narrow, this.#b.value as tf.Tensor2D, false, true);
    return tf.mul(wide, tf.scalar(alpha / rank));
  }
}

/**
 * Adds scale · B A to a weight [rows, columns], in place and with sums in float64, and returns the largest change of a
 * value. `a` is [rank, columns], `b` [rows, rank].
 */
export function addLowRank(
  weight: { readonly values: Float32Array; readonly columns: number },
  a: Float32Array,
  b: Float32Array,
  scale: number,
): number {
  const { values, columns } = weight;
  const rank = a.length / columns;
  const change = new Float64Array(columns);
  let largest = 0;
  for (let row = 0; row * columns < values.length; row++) {
    change.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = scale * (b[row * rank + k] as number);
      for (let c = 0; c < columns; c++) change[c]! += factor * (a[k * columns + c] as number);
    }
    for (let c = 0; c < columns; c++) {
      largest = Math.max(largest, Math.abs(change[c] as number));
      values[row * columns + c]! += change[c] as number;
    }
  }
  return largest;
}
