/** Which parameters that train ever get a gradient: one that never does is not learning, whatever the recipe says. */
import * as tf from '../engine/tf.ts';
import type { Parameter } from '../nn/parameter.ts';
import type { Gradients } from './step.ts';

/** Steps that are looked at, at least: adapters begin with factors of zero, whose partners get none at first. */
const LEAST_STEPS = 10;
/** And at most, where a source of the mixture is drawn that rarely. */
const MOST_STEPS = 200;

/** Why a parameter does not learn. */
export interface Unreached {
  readonly name: string;
  /** The loss does not depend on it, or its gradient was zero all the time. */
  readonly why: 'none' | 'zero';
}

/** Follows the gradients of the first steps until every source of the data has had its turn. */
export class GradientWatch {
  readonly #left: Map<string, Unreached['why']>;
  #steps = 0;
  #decided = false;

  constructor(trained: readonly Parameter[]) {
    this.#left = new Map(trained.map(({ name }) => [name, 'none']));
  }

  /** Whether there is nothing more to find out. */
  get decided(): boolean {
    return this.#decided;
  }

  /** Looks at the gradients of a step, in the order of `parameters`. Disposes none. */
  see(parameters: readonly Parameter[], gradients: Gradients): void {
    for (const [i, { name }] of parameters.entries()) {
      const gradient = gradients[i];
      if (!gradient || !this.#left.has(name)) continue;
      if (isZero(gradient)) this.#left.set(name, 'zero');
      else this.#left.delete(name);
    }
  }

  /**
   * Called after each step; yields what was never reached once that is certain, and null before and after.
   *
   * @param served samples of each source so far
   * @param last whether no step follows
   */
  verdict(served: readonly number[], last: boolean): Unreached[] | null {
    this.#steps++;
    if (this.#decided) return null;
    const seenAll = this.#steps >= LEAST_STEPS && served.every(count => count > 0);
    this.#decided = last || this.#left.size === 0 || seenAll || this.#steps >= MOST_STEPS;
    return this.#decided ? [...this.#left].map(([name, why]) => ({ name, why })) : null;
  }
}

function isZero(gradient: tf.Tensor): boolean {
  return tf.tidy(() => tf.max(tf.abs(gradient)).dataSync()[0] === 0);
}

/** Names shown of many. */
const SHOWN = 6;

/** The parameters that get no gradient, in one sentence. */
export function describeUnreached(unreached: readonly Unreached[]): string {
  const names = (why: Unreached['why']): string => {
    const found = unreached.filter(u => u.why === why).map(({ name }) => name);
    return found.slice(0, SHOWN).join(', ') + (found.length > SHOWN ? `, … (${found.length})` : '');
  };
  const none = names('none');
  const zero = names('zero');
  return [
    ...(none ? [`trains but receives no gradient: ${none}`] : []),
    ...(zero ? [`trains but its gradient is always 0: ${zero}`] : []),
  ].join('; ');
}
