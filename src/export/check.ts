import type * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import type { ConversationBatch } from '../models/batch.ts';
import type { Ferret } from '../models/ferret.ts';
import { disposeTensors, toTensors } from '../models/tensors.ts';
import { logitsOf, namedInputs } from './network.ts';
import type { OnnxSession, OnnxTensor } from './onnx/run.ts';

/** Largest difference that an export may have, absolute or relative to the largest score. */
export const TOLERANCE = 1e-4;

/** How far two runtimes are apart on one sample. */
export interface Difference {
  readonly sample: string;
  readonly tokens: number;
  readonly tiles: number;
  readonly regions: number;
  /** max |onnx - tfjs| over all scores. */
  readonly absolute: number;
  /** The same over the largest |score|. */
  readonly relative: number;
  /** Positions at which the two would choose another next token. */
  readonly otherTokens: number;
}

/** One sample as plain arrays: what goes into the network and the scores that TensorFlow.js gives. */
export interface WorkedSample {
  readonly inputs: Readonly<Record<string, OnnxTensor>>;
  readonly logits: OnnxTensor & { readonly data: Float32Array };
}

/** Runs the model itself on a batch of one. */
export function workSample(model: Ferret, batch: ConversationBatch): WorkedSample {
  const tensors = toTensors(batch);
  try {
    const { logits } = logitsOf(model, tensors);
    const scores = {
      data: logits.dataSync<'float32'>().slice(),
      shape: [...logits.shape],
      type: 'float32' as const,
    };
    logits.dispose();
    const inputs = Object.entries(namedInputs(tensors)).map(([name, tensor]) => [name, plain(name, tensor)]);
    return { inputs: Object.fromEntries(inputs), logits: scores };
  } finally {
    disposeTensors(tensors);
  }
}

/** Runs the exported file on a worked sample. */
export async function compareSample(
  session: OnnxSession,
  batch: ConversationBatch,
  { inputs, logits }: WorkedSample,
): Promise<Difference> {
  const there = (await session.run(inputs)).logits;
  if (there?.shape.join() !== logits.shape.join()) {
    throw new GroundError(
      'export',
      `the exported model's logits are [${there?.shape}], expected [${logits.shape}]`,
    );
  }
  const vocabulary = logits.shape[2] ?? 1;
  let [absolute, largest, otherTokens] = [0, 0, 0];
  for (let row = 0; row < logits.data.length; row += vocabulary) {
    let [bestHere, bestThere] = [row, row];
    for (let i = row; i < row + vocabulary; i++) {
      const [a, b] = [logits.data[i] ?? Number.NaN, there.data[i] ?? Number.NaN];
      const difference = Math.abs(a - b);
      // Written so that a NaN on either side counts as the worst.
      if (!(difference <= absolute))
        absolute = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
      largest = Math.max(largest, Math.abs(a));
      if (a > (logits.data[bestHere] ?? 0)) bestHere = i;
      if (b > (there.data[bestThere] ?? 0)) bestThere = i;
    }
    if (bestHere !== bestThere) otherTokens++;
  }
  return {
    sample: batch.sampleIds.join(' '),
    tokens: batch.length,
    tiles: batch.localPixels.shape[0] ?? 0,
    regions: batch.regions.count,
    absolute,
    relative: absolute / Math.max(largest, Number.MIN_VALUE),
    otherTokens,
  };
}

/** Throws GroundError('export') for the first difference beyond the tolerance. */
export function requireClose(differences: readonly Difference[]): void {
  for (const { sample, absolute, relative } of differences) {
    if (Math.min(absolute, relative) <= TOLERANCE) continue;
    throw new GroundError(
      'export',
      `on ${sample} the exported model differs from TensorFlow.js by ${absolute.toExponential(1)} ` +
        `(${relative.toExponential(1)} of the largest score), more than ${TOLERANCE}`,
      { hint: 'nothing was written; --no-check writes the model all the same, so that it can be looked at' },
    );
  }
}

function plain(name: string, tensor: tf.Tensor): OnnxTensor {
  const { dtype, shape } = tensor;
  if (dtype !== 'float32' && dtype !== 'int32') throw new GroundError('export', `input ${name} is ${dtype}`);
  return { data: tensor.dataSync<'float32' | 'int32'>().slice(), shape: [...shape], type: dtype };
}
