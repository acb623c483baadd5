import * as tf from '../../../src/engine/tf.ts';
import type { ParameterTree } from '../../../src/nn/parameter.ts';
import { type FixtureCase, tensorOf, type Values, valuesOf } from '../fixture.ts';

/** Fills a tree from a case's weights. Throws when names differ on either side. */
export function loadWeights(tree: ParameterTree, fixture: FixtureCase): void {
  const names = new Set(fixture.weights.keys());
  for (const parameter of tree.all) {
    const values = fixture.weights.get(parameter.name);
    if (!values) throw new Error(`${fixture.meta.case} has no weight ${parameter.name}`);
    parameter.assign(tensorOf(values));
    names.delete(parameter.name);
  }
  if (names.size > 0) throw new Error(`weights that the model does not declare: ${[...names].join(', ')}`);
}

/** What a runner has computed so far, by the fixture's names. */
export class Results {
  readonly values = new Map<string, Values>();

  /** Reads a tensor back, in the shape given, and disposes it. */
  add(name: string, tensor: tf.Tensor, shape: readonly number[] = tensor.shape): void {
    this.values.set(name, { shape, data: valuesOf(tensor).data });
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
