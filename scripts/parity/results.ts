import * as tf from '../../src/engine/tf.ts';
import type { ParameterTree } from '../../src/nn/parameter.ts';
import { type FixtureCase, type Tolerance, tensorOf, type Values, valuesOf } from './case.ts';
import { type Comparison, compareLists, EXACT, failed } from './compare.ts';

/**
 * Fills a tree from a case's weights. Throws when names differ on either side; `optional` parameters may be absent and
 * are then zero.
 */
export function loadWeights(
  tree: ParameterTree,
  fixture: FixtureCase,
  optional: readonly string[] = [],
): void {
  const names = new Set(fixture.weights.keys());
  for (const parameter of tree.all) {
    const values = fixture.weights.get(parameter.name);
    if (values) parameter.assign(tensorOf(values));
    else if (optional.includes(parameter.name)) parameter.assign(tf.zeros([...parameter.shape]));
    else throw new Error(`no weight ${parameter.name} in the file`);
    names.delete(parameter.name);
  }
  if (names.size > 0) throw new Error(`weights that the model does not declare: ${[...names].join(', ')}`);
}

/** What a runner has computed so far, by the fixture's names, and how it says that some of it be compared. */
export class Results {
  readonly values = new Map<string, Values>();
  readonly checks: Comparison[] = [];
  readonly #tolerances: { readonly pattern: RegExp; readonly tolerance: Tolerance }[] = [];
  readonly #leftOut: { readonly pattern: RegExp; readonly reason: string }[] = [];

  /** Reads a tensor back, in the shape given, and disposes it. */
  add(name: string, tensor: tf.Tensor, shape: readonly number[] = tensor.shape): void {
    this.values.set(name, { shape, data: valuesOf(tensor).data });
  }

  /** Numbers computed without the engine. */
  set(name: string, shape: readonly number[], data: Values['data']): void {
    this.values.set(name, { shape, data });
  }

  /** Whole numbers from pixels. */
  setBytes(name: string, shape: readonly number[], data: Uint8Array): void {
    this.set(name, shape, Int32Array.from(data));
  }

  /** Compares what is no tensor of the case: an entry of a table, a decoded file. */
  check(name: string, got: ArrayLike<number>, want: ArrayLike<number>, tolerance: Tolerance = EXACT): void {
    this.checks.push(compareLists(name, got, want, tolerance));
  }

  /** The same of anything that JSON can write: equal or not. */
  checkEqual(name: string, got: unknown, want: unknown): void {
    const equal = JSON.stringify(got) === JSON.stringify(want);
    this.checks.push(equal ? compareLists(name, [], [], EXACT) : failed(name));
  }

  /** A tolerance that the case gives in words. */
  compareWith(pattern: RegExp, tolerance: Tolerance): void {
    this.#tolerances.push({ pattern, tolerance });
  }

  tolerance(name: string): Tolerance | undefined {
    return this.#tolerances.find(({ pattern }) => pattern.test(name))?.tolerance;
  }

  /** Tensors of which the case's README says that they need not be compared. */
  leaveOut(pattern: RegExp, reason: string): void {
    this.#leftOut.push({ pattern, reason });
  }

  skipped(name: string): string | undefined {
    return this.#leftOut.find(({ pattern }) => pattern.test(name))?.reason;
  }

  /** The gradients of `loss` for a tree's parameters and named inputs, under `grad.<run>`; those not reached are absent. */
  addGradients(
    loss: () => tf.Scalar,
    tree: ParameterTree | undefined,
    inputs: Readonly<Record<string, tf.Tensor>>,
    run = '',
  ): void {
    const parameters = tree?.all ?? [];
    const xs = [...parameters.map(p => p.value), ...Object.values(inputs)];
    const names = [
      ...parameters.map(p => `param.${p.name}`),
      ...Object.keys(inputs).map(name => `in.${name}`),
    ];
    tf.tidy(() => {
      const { value, grads } = tf.engine().gradients(loss, xs, undefined, true);
      this.add(`out.${run}loss`, value);
      for (const [i, name] of names.entries()) {
        const gradient: tf.Tensor | undefined = grads[i];
        if (gradient) this.add(`grad.${run}${name}`, gradient, xs[i]?.shape);
      }
    });
  }
}
