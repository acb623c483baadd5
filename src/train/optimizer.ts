import { nativeOp } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import type { Parameter } from '../nn/parameter.ts';
import type { ParameterBank } from './freeze.ts';
import type { OptimizerConfig } from './recipe.ts';

/** AdamW's moments of one bank, each all parameters of the bank end to end [size]. */
export interface BankState {
  readonly m: tf.Tensor1D;
  readonly v: tf.Tensor1D;
}

/** What an update needs besides tensors of the model; all of it changes from step to step. */
export interface UpdateScalars {
  /** Learning rate of each bank. */
  readonly lr: readonly number[];
  /** Updates done before this one. */
  readonly updates: number;
}

/**
 * The scalars as one vector [2 + banks]: 1/(1-β1^t), 1/sqrt(1-β2^t), then each bank's learning rate. A vector, and not
 * numbers, because a recorded step takes everything that changes as input.
 */
export function updateVector(scalars: UpdateScalars, optimizer: OptimizerConfig): Float32Array {
  const t = scalars.updates + 1;
  const [beta1, beta2] = optimizer.betas;
  return Float32Array.of(1 / (1 - beta1 ** t), 1 / Math.sqrt(1 - beta2 ** t), ...scalars.lr);
}

/** All of a bank's tensors end to end [size]; null stands for zeros. */
function flatten(bank: ParameterBank, tensors: readonly (tf.Tensor | null)[]): tf.Tensor1D {
  const flat = bank.parameters.map((p, i) => {
    const t = tensors[i];
    return t ? tf.reshape(t, [p.size]) : tf.fill([p.size], 0);
  });
  return flat.length === 1 ? (flat[0] as tf.Tensor1D) : tf.concat1d(flat as tf.Tensor1D[]);
}

/** The reverse of `flatten`. */
function unflatten(bank: ParameterBank, flat: tf.Tensor1D): tf.Tensor[] {
  const sizes = bank.parameters.map(p => p.size);
  const parts = sizes.length === 1 ? [flat] : tf.split(flat, sizes);
  return bank.parameters.map((p, i) => tf.reshape(parts[i] as tf.Tensor, [...p.shape]));
}

/** Moments of zero for every bank. */
export function initialState(banks: readonly ParameterBank[]): BankState[] {
  return banks.map(bank => {
    const size = bank.parameters.reduce((n, p) => n + p.size, 0);
    // Filled by the engine: zeros from JavaScript would be copied from there.
    return { m: tf.fill([size], 0) as tf.Tensor1D, v: tf.fill([size], 0) as tf.Tensor1D };
  });
}

export interface Update {
  /** New values of each bank's parameters. */
  readonly values: readonly (readonly tf.Tensor[])[];
  readonly state: readonly BankState[];
  /** Global norm of all gradients before clipping, scalar. */
  readonly gradNorm: tf.Scalar;
}

/** What all gradients are multiplied by: at most 1, and 1 always where `largest` is 0 (torch's `clip_grad_norm_`). */
export function clipFactor(gradNorm: tf.Scalar, largest: number): tf.Scalar {
  if (largest === 0) return tf.scalar(1);
  return tf.minimum(tf.scalar(1), tf.div(tf.scalar(largest), tf.add(gradNorm, tf.scalar(1e-6))));
}

/**
 * One AdamW update (Loshchilov & Hutter, arXiv 1711.05101; torch.optim.AdamW's arithmetic): decay before the step,
 * bias correction, epsilon added after it. Gradients are first scaled down to a global norm of `clip_norm`, dividing
 * by norm + 1e-6 as torch.nn.utils.clip_grad_norm_ does. A bank is updated as one vector, so the number of kernels
 * does not grow with the number of parameters.
 *
 * @param gradients per bank and parameter, null where a parameter received none
 * @param scalars what `updateVector` computes [2 + banks]
 */
export function adamw(
  banks: readonly ParameterBank[],
  state: readonly BankState[],
  gradients: readonly (readonly (tf.Tensor | null)[])[],
  scalars: tf.Tensor1D,
  optimizer: OptimizerConfig,
): Update {
  const [beta1, beta2] = optimizer.betas;
  const at = (i: number): tf.Scalar => tf.reshape(tf.slice1d(scalars, i, 1), []);
  const flat = banks.map((bank, i) => flatten(bank, gradients[i] ?? []));
  const gradNorm = tf.sqrt(tf.addN(flat.map(g => tf.sum(tf.square(g))))) as tf.Scalar;
  const clip = clipFactor(gradNorm, optimizer.clip_norm);
  const values: tf.Tensor[][] = [];
  const next: BankState[] = [];
  for (const [i, bank] of banks.entries()) {
    const before = state[i] as BankState;
    const lr = at(2 + i);
    const g = tf.mul(flat[i] as tf.Tensor1D, clip);
    const m = tf.add(tf.mul(before.m, tf.scalar(beta1)), tf.mul(g, tf.scalar(1 - beta1))) as tf.Tensor1D;
    const v = tf.add(
      tf.mul(before.v, tf.scalar(beta2)),
      tf.mul(tf.square(g), tf.scalar(1 - beta2)),
    ) as tf.Tensor1D;
    const denominator = tf.add(tf.mul(tf.sqrt(v), at(1)), tf.scalar(optimizer.eps));
    const p = flatten(
      bank,
      bank.parameters.map(parameter => parameter.value),
    );
    const decayed =
      bank.weightDecay > 0 ? tf.mul(p, tf.sub(tf.scalar(1), tf.mul(lr, tf.scalar(bank.weightDecay)))) : p;
    const stepped = tf.sub(decayed, tf.mul(tf.div(m, denominator), tf.mul(lr, at(0)))) as tf.Tensor1D;
    values.push(unflatten(bank, stepped));
    next.push({ m, v });
  }
  return { values, state: next, gradNorm };
}

/**
 * The same update by one op that writes parameters and moments where they lie, so that nothing is held twice. Yields
 * the global norm before clipping; where that is not finite, nothing was written. Only where the engine has fused ops.
 *
 * @param gradients per parameter, bank after bank; null where one received none
 * @param scalars what `updateVector` computes [2 + banks]
 */
export function adamwInPlace(
  banks: readonly ParameterBank[],
  state: readonly BankState[],
  gradients: readonly (tf.Tensor | null)[],
  scalars: tf.Tensor1D,
  optimizer: OptimizerConfig,
): tf.Scalar {
  const parameters = banks.flatMap(bank => bank.parameters.map(p => p.value));
  const [beta1, beta2] = optimizer.betas;
  return tf.tidy(() => {
    const nothing = tf.tensor1d([]);
    const [norm] = nativeOp(
      'GroundAdamW',
      [
        scalars,
        ...gradients.map(gradient => gradient ?? nothing),
        ...parameters,
        ...state.map(({ m }) => m),
        ...state.map(({ v }) => v),
      ],
      {
        int: { count: parameters.length, banks: banks.length },
        ints: { bank: banks.flatMap((bank, i) => bank.parameters.map(() => i)) },
        floats: { decay: banks.map(bank => bank.weightDecay) },
        float: { beta1, beta2, eps: optimizer.eps, clip_norm: optimizer.clip_norm },
      },
      1,
    );
    return norm as tf.Scalar;
  });
}

/**
 * The gradients, not finite where `loss` is not, so that an update in place, which writes nothing then, can be part of the
 * function that computes both. One of the smallest stands for all of them: a select copies every bit of it. A parameter that
 * the loss does not reach has a gradient of zeros, which is what null means.
 */
export function guarded(
  trained: readonly Parameter[],
  gradients: readonly (tf.Tensor | null)[],
  loss: tf.Scalar,
): (tf.Tensor | null)[] {
  const sizes = trained.map(p => p.size);
  const guard = sizes.indexOf(Math.min(...sizes));
  return gradients.map((gradient, i) => {
    if (i !== guard) return gradient;
    const shape = [...(trained[i]?.shape ?? [])];
    return tf.where(tf.isFinite(loss), gradient ?? tf.fill(shape, 0), tf.fill(shape, Number.NaN));
  });
}
