import * as tf from '../../../src/engine/tf.ts';
import { symmetricInfoNce, unitRows } from '../../../src/nn/contrast.ts';
import { crossEntropy } from '../../../src/nn/cross-entropy.ts';
import { type FixtureCase, input, tensorOf, type Values } from '../fixture.ts';
import { Results } from './run.ts';

/** Cross-entropy in its forms, and InfoNCE. */
export function runLosses(fixture: FixtureCase): ReadonlyMap<string, Values> {
  const results = new Results();
  tf.tidy(() => {
    crossEntropies(fixture, results);
    contrasts(fixture, results);
  });
  return results.values;
}

function crossEntropies(fixture: FixtureCase, results: Results): void {
  const logits = tensorOf(input(fixture, 'in.logits')) as tf.Tensor3D;
  const labels = input(fixture, 'in.labels');
  const [batch, length, classes] = logits.shape;
  const kept = (keep: (i: number) => boolean, shift: number) => {
    const label = (i: number): number => (keep(i) ? (labels.data[i + shift] ?? -100) : -100);
    const all = Array.from(labels.data, (_, i) => label(i));
    return {
      targets: tf.tensor1d(
        all.map(l => Math.max(l, 0)),
        'int32',
      ),
      weights: tf.tensor1d(all.map(l => (l === -100 ? 0 : 1))),
    };
  };
  const plain = kept(() => true, 0);
  const shifted = kept(i => i % length < length - 1, 1);
  const weighted = (scale: number, { targets, weights }: typeof plain): tf.Tensor =>
    tf.mul(crossEntropy(tf.mul(tf.reshape(logits, [batch * length, classes]), scale), targets), weights);
  const mean = (scale: number, own: typeof plain): tf.Scalar =>
    tf.div(tf.sum(weighted(scale, own)), tf.sum(own.weights));
  const forms: Record<string, () => tf.Scalar> = {
    ce_mean: () => mean(1, plain),
    ce_sum: () => tf.sum(weighted(1, plain)),
    ce_shifted: () => mean(1, shifted),
    ce_big: () => mean(fixture.meta.params?.big ?? 1, plain),
  };
  results.add('out.ce_none', weighted(1, plain), labels.shape);
  for (const [name, loss] of Object.entries(forms)) addLoss(results, name, loss, { logits });
}

function contrasts(fixture: FixtureCase, results: Results): void {
  const read = (name: string): tf.Tensor => tensorOf(input(fixture, `in.${name}`));
  const [image, text, temperature] = [
    read('image') as tf.Tensor2D,
    read('text') as tf.Tensor2D,
    read('temperature'),
  ];
  const similarity = (): tf.Tensor2D =>
    tf.div(tf.matMul(unitRows(image), unitRows(text), false, true), temperature);
  const oneWay = (): tf.Scalar =>
    tf.mean(crossEntropy(similarity(), tf.range(0, image.shape[0], 1, 'int32')));
  addLoss(results, 'infonce_a2b', oneWay, { image, text, temperature });
  addLoss(results, 'infonce_sym', () => symmetricInfoNce(similarity()), { image, text, temperature });
}

function addLoss(
  results: Results,
  name: string,
  loss: () => tf.Scalar,
  inputs: Readonly<Record<string, tf.Tensor>>,
): void {
  const { value, grads } = tf.engine().gradients(loss, Object.values(inputs));
  results.add(`out.${name}`, value);
  for (const [i, key] of Object.keys(inputs).entries()) {
    results.add(`grad.${name}.in.${key}`, grads[i] as tf.Tensor, Object.values(inputs)[i]?.shape);
  }
}
