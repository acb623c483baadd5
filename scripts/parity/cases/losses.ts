import { z } from 'zod';
import * as tf from '../../../src/engine/tf.ts';
import { sigmoidContrast, symmetricInfoNce, unitRows } from '../../../src/nn/contrast.ts';
import { crossEntropy } from '../../../src/nn/cross-entropy.ts';
import { type FixtureCase, input, tensorOf } from '../case.ts';
import { Results } from '../results.ts';

const paramsSchema = z.object({ params: z.object({ big: z.number(), smooth: z.number() }) });

/** Cross-entropy in its forms, InfoNCE and SigLIP's loss. */
export function runLosses(fixture: FixtureCase): Results {
  const results = new Results();
  tf.tidy(() => {
    crossEntropies(fixture, results);
    contrasts(fixture, results);
  });
  return results;
}

/** Targets and weights of labels of which -100 counts for nothing. */
function targetsOf(labels: readonly number[]) {
  return {
    targets: tf.tensor1d(
      labels.map(l => Math.max(l, 0)),
      'int32',
    ),
    weights: tf.tensor1d(labels.map(l => (l === -100 ? 0 : 1))),
  };
}

function crossEntropies(fixture: FixtureCase, results: Results): void {
  const { big, smooth } = paramsSchema.parse(fixture.rawMeta).params;
  const logits = tensorOf(input(fixture, 'in.logits')) as tf.Tensor3D;
  const labels = input(fixture, 'in.labels');
  const [batch, length, classes] = logits.shape;
  const plain = targetsOf([...labels.data]);
  const next = Array.from(labels.data, (_, i) =>
    i % length === length - 1 ? -100 : (labels.data[i + 1] ?? -100),
  );
  const weighted = (scale: number, { targets, weights }: typeof plain, smoothing = 0): tf.Tensor => {
    const rows: tf.Tensor2D = tf.mul(tf.reshape(logits, [batch * length, classes]), scale);
    return tf.mul(crossEntropy(rows, targets, smoothing), weights);
  };
  const mean = (scale: number, own: typeof plain, smoothing = 0): tf.Scalar =>
    tf.div(tf.sum(weighted(scale, own, smoothing)), tf.sum(own.weights));
  const shifted = targetsOf(next);
  const forms: Record<string, () => tf.Scalar> = {
    ce_mean: () => mean(1, plain),
    ce_sum: () => tf.sum(weighted(1, plain)),
    ce_shifted: () => mean(1, shifted),
    ce_smooth: () => mean(1, plain, smooth),
    ce_big: () => mean(big, plain),
  };
  results.add('out.ce_none', weighted(1, plain), labels.shape);
  for (const [name, loss] of Object.entries(forms)) addLoss(results, name, loss, { logits });
}

function contrasts(fixture: FixtureCase, results: Results): void {
  const read = (name: string): tf.Tensor => tensorOf(input(fixture, `in.${name}`));
  const [image, text] = [read('image') as tf.Tensor2D, read('text') as tf.Tensor2D];
  const temperature = read('temperature');
  const cosines = (a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D =>
    tf.matMul(unitRows(a), unitRows(b), false, true);
  const similarity = (): tf.Tensor2D => tf.div(cosines(image, text), temperature);
  const oneWay = (): tf.Scalar =>
    tf.mean(crossEntropy(similarity(), tf.range(0, image.shape[0], 1, 'int32')));
  addLoss(results, 'infonce_a2b', oneWay, { image, text, temperature });
  addLoss(results, 'infonce_sym', () => symmetricInfoNce(similarity()), { image, text, temperature });
  const siglip_logit_scale = read('siglip_logit_scale') as tf.Scalar;
  const siglip_logit_bias = read('siglip_logit_bias') as tf.Scalar;
  const scaled = (): tf.Tensor2D =>
    tf.add(tf.mul(cosines(text, image), tf.exp(siglip_logit_scale)), siglip_logit_bias);
  addLoss(results, 'siglip', () => sigmoidContrast(scaled()), {
    image,
    text,
    siglip_logit_scale,
    siglip_logit_bias,
  });
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
