import { hasNativeOps } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import { type ActivationName, activate, activateBiased } from './activation.ts';
import { type Initializer, normal, zeros } from './init.ts';
import { type AdapterOptions, LowRankAdapter } from './lora.ts';
import { nativeLinear, nativeLinearPays } from './native.ts';
import type { Parameter, Scope } from './parameter.ts';

export interface LinearOptions {
  readonly bias?: boolean;
  /** How the weight starts; N(0, inputs^-0.5) by default. */
  readonly weight?: Initializer;
  /** How the bias starts; zeros by default. */
  readonly biasStart?: Initializer;
  /** Shape in which the weight is stored, where it is not [outputs, inputs] (a 1×1 convolution: [out, in, 1]). */
  readonly storedShape?: readonly number[];
}

/** y = x Wᵀ + b with PyTorch's weight layout [outputs, inputs]. */
export class Linear {
  readonly inputs: number;
  readonly outputs: number;
  readonly weight: Parameter;
  readonly #bias: Parameter | undefined;
  readonly #scope: Scope;
  #adapter: LowRankAdapter | undefined;

  constructor(scope: Scope, inputs: number, outputs: number, options: LinearOptions = {}) {
    this.inputs = inputs;
    this.outputs = outputs;
    this.#scope = scope;
    const start = options.weight ?? normal(inputs ** -0.5);
    this.weight = scope.parameter('weight', options.storedShape ?? [outputs, inputs], start);
    if (options.bias ?? true) this.#bias = scope.parameter('bias', [outputs], options.biasStart ?? zeros);
    // What is stored in another shape is a convolution to everybody else, and its readers take the matrix.
    if (options.storedShape === undefined) scope.offer(this);
  }

  /** Adds a low-rank change to the weight, with parameters of its own below this layer's name; once at most. */
  adapt(options: AdapterOptions): void {
    this.#adapter = new LowRankAdapter(this.#scope, { inputs: this.inputs, outputs: this.outputs }, options);
  }

  /** Whether an adapter changes the layer: its matrix is then not all of it. */
  get adapted(): boolean {
    return this.#adapter !== undefined;
  }

  /** The weight as a matrix [outputs, inputs]. */
  get matrix(): tf.Tensor2D {
    const value = this.weight.value;
    return value.rank === 2 ? (value as tf.Tensor2D) : tf.reshape(value, [this.outputs, this.inputs]);
  }

  /** The bias [outputs], or undefined where there is none. */
  get bias(): tf.Tensor1D | undefined {
    return this.#bias?.value as tf.Tensor1D | undefined;
  }

  /** [rows, inputs] -> [rows, outputs]. */
  apply(x: tf.Tensor2D): tf.Tensor2D {
    return this.#product(x, this.bias);
  }

  /** The same followed by an activation. */
  applyActivated(x: tf.Tensor2D, activation: ActivationName): tf.Tensor2D {
    const { bias } = this;
    if (bias === undefined) return activate(activation, this.apply(x));
    return activateBiased(activation, this.#product(x, undefined), bias);
  }

  /** x Wᵀ, the bias given and the adapter's change. */
  #product(x: tf.Tensor2D, bias: tf.Tensor1D | undefined): tf.Tensor2D {
    const trained = this.#scope.training?.recompute.trained;
    const trains = (parameter: Parameter | undefined): boolean =>
      parameter !== undefined && (trained?.has(parameter) ?? true);
    const y = linear(x, this.matrix, bias, trains(this.weight) || trains(this.#bias));
    return this.#adapter === undefined ? y : tf.add(y, this.#adapter.apply(x));
  }
}

/** x Wᵀ + b: x [rows, inputs], weight [outputs, inputs], bias [outputs] or none. `trains`: whether the two may be asked for gradients. */
export function linear(
  x: tf.Tensor2D,
  weight: tf.Tensor2D,
  bias: tf.Tensor1D | undefined,
  trains: boolean,
): tf.Tensor2D {
  if (hasNativeOps() && nativeLinearPays(x.shape[0], weight)) return nativeLinear(x, weight, bias, trains);
  const y: tf.Tensor2D = tf.matMul(x, weight, false, true);
  return bias === undefined ? y : tf.add(y, bias);
}
