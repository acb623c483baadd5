import { CompiledFunctions } from '../engine/compile.ts';
import * as tf from '../engine/tf.ts';
import { ownValues } from '../engine/values.ts';
import type { Parameter } from '../nn/parameter.ts';
import type { NamedArray, NamedArraySource } from './checkpoint.ts';
import type { EmaConfig } from './recipe.ts';

/** How much of the new values goes into the average at an update, counted from 0. */
export function averageShare({ decay, warmup = true }: EmaConfig, update: number): number {
  return 1 - (warmup ? Math.min(decay, (1 + update) / (10 + update)) : decay);
}

/**
 * An exponential moving average of parameters (Polyak averaging): average += share · (value - average) after each
 * update. Lives in the engine until `dispose`.
 */
export class WeightAverage {
  readonly #parameters: readonly Parameter[];
  readonly #config: EmaConfig;
  readonly #functions = new CompiledFunctions(1);
  #averages: readonly tf.Tensor[];

  /** Starts as the parameters' values. */
  constructor(parameters: readonly Parameter[], config: EmaConfig) {
    this.#parameters = parameters;
    this.#config = config;
    // Memory of their own: an update may write parameters where they lie.
    this.#averages = parameters.map(p => tf.keep(tf.tidy(() => tf.add(p.value, tf.scalar(0)))));
  }

  /** Takes in the parameters' values after an update. */
  update(update: number): void {
    const share = tf.scalar(averageShare(this.#config, update));
    const values = this.#parameters.map(p => p.value);
    const next = this.#functions.call('update average', [...values, ...this.#averages, share], () =>
      this.#averages.map((average, i) =>
        tf.add(average, tf.mul(tf.sub(values[i] as tf.Tensor, average), share)),
      ),
    );
    tf.dispose(share);
    this.#replace(next);
  }

  /** Runs `f` while the parameters have their averages as values. */
  async during<T>(f: () => Promise<T>): Promise<T> {
    const values = this.#parameters.map((p, i) => p.exchange(this.#averages[i] as tf.Tensor));
    try {
      return await f();
    } finally {
      for (const [i, p] of this.#parameters.entries()) p.exchange(values[i] as tf.Tensor);
    }
  }

  /** The averages by parameter name, each read from the engine when it is wanted. */
  sources(): Map<string, NamedArraySource> {
    return new Map(
      this.#parameters.map((p, i) => [
        p.name,
        { shape: p.shape, data: () => ownValues(this.#averages[i] as tf.Tensor) },
      ]),
    );
  }

  /** Goes on from what a checkpoint has; parameters that it does not name keep their own values. */
  restore(arrays: ReadonlyMap<string, NamedArray>): void {
    this.#replace(
      this.#parameters.map((p, i) => {
        const array = arrays.get(p.name);
        if (array) return tf.tensor(array.data, [...p.shape], 'float32');
        return tf.add(this.#averages[i] as tf.Tensor, tf.scalar(0));
      }),
    );
  }

  dispose(): void {
    this.#replace([]);
    this.#functions.dispose();
  }

  #replace(averages: readonly tf.Tensor[]): void {
    tf.dispose([...this.#averages]);
    this.#averages = averages.map(average => tf.keep(average));
  }
}
