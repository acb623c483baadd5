import type * as tf from '../engine/tf.ts';
import { gelu } from '../nn/activation.ts';
import { uniform } from '../nn/init.ts';
import { Linear } from '../nn/linear.ts';
import type { Scope } from '../nn/parameter.ts';

/** LLaVA's `mlp2x_gelu`: Linear, exact GELU, Linear; names `0` and `2` as in PyTorch's Sequential. */
export class Projector {
  readonly #first: Linear;
  readonly #second: Linear;

  constructor(scope: Scope, inputs: number, outputs: number) {
    this.#first = new Linear(scope.at(0), inputs, outputs, torchDefaults(inputs));
    this.#second = new Linear(scope.at(2), outputs, outputs, torchDefaults(outputs));
  }

  /** Encoder features [n, inputs] -> tokens for the language model [n, outputs]. */
  apply(features: tf.Tensor2D): tf.Tensor2D {
    return this.#second.apply(gelu(this.#first.apply(features)));
  }
}

/** How PyTorch starts a Linear or a convolution: weight and bias U(-b, b), b = inputs^-0.5. */
export function torchDefaults(inputs: number) {
  const start = uniform(inputs ** -0.5);
  return { weight: start, biasStart: start };
}
