import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import type { ConversationBatch } from '../models/batch.ts';
import type { Ferret } from '../models/ferret.ts';
import { disposeTensors, toTensors } from '../models/tensors.ts';
import { logitsOf, namedInputs } from './network.ts';
import type { OnnxSession, OnnxTensor } from './onnx/run.ts';
import type { OnnxModel } from './onnx-model.ts';

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
  if (!(there.data instanceof Float32Array)) throw new GroundError('export', `logits are ${there.type}`);
  const sum = { absolute: 0, largest: 0, otherTokens: 0 };
  addDifferences(sum, logits.data, there.data, logits.shape[2] ?? 1);
  const { absolute, largest, otherTokens } = sum;
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

/** How many tokens are decoded one at a time when an export in pieces is checked. */
export const DECODED = 16;

/**
 * Runs prompts and DECODED more tokens, those that the model itself says, through the pieces of an export and through the
 * model: the next token's scores after the prompt and after each of those tokens.
 */
export async function compareDecoding(
  onnx: OnnxModel,
  model: Ferret,
  batch: ConversationBatch,
): Promise<Difference[]> {
  const tensors = toTensors(batch);
  const visual = model.visual(tensors);
  let step = model.prefill(tensors, visual);
  disposeTensors(tensors);
  tf.dispose([visual.global, visual.local].filter(kept => kept !== null));
  const facts = {
    tokens: batch.length,
    tiles: batch.localPixels.shape[0] ?? 0,
    regions: batch.regions.count,
  };
  const sums = {
    prefill: { absolute: 0, largest: 0, otherTokens: 0 },
    decode: { absolute: 0, largest: 0, otherTokens: 0 },
  };
  try {
    const scoring = onnx.scoring(batch);
    let there = await scoring.start(DECODED);
    for (let decoded = 0; ; decoded++) {
      const here = await step.logits.data<'float32'>();
      if (there.scores.length !== here.length) {
        throw new GroundError(
          'export',
          `the exported decoder scores ${there.scores.length} tokens, expected ${here.length}`,
        );
      }
      const said = addDifferences(
        decoded === 0 ? sums.prefill : sums.decode,
        here,
        there.scores,
        there.words,
      );
      if (decoded === DECODED) break;
      const fed = tf.tensor1d(said, 'int32');
      const previous = step;
      step = model.decode(fed, previous.cache);
      tf.dispose([fed, previous.logits]);
      there = await scoring.next(said);
    }
  } finally {
    step.logits.dispose();
    model.release(step.cache);
  }
  return Object.entries(sums).map(([sample, { absolute, largest, otherTokens }]) => ({
    sample: sample === 'prefill' ? 'prefill' : `${DECODED} decode steps`,
    ...facts,
    absolute,
    relative: absolute / Math.max(largest, Number.MIN_VALUE),
    otherTokens,
  }));
}

/** Adds what differs between rows of scores; returns the likeliest token of each of the first's rows. */
function addDifferences(
  sum: { absolute: number; largest: number; otherTokens: number },
  here: Float32Array,
  there: Float32Array,
  words: number,
): Int32Array {
  const said = new Int32Array(here.length / words);
  for (let row = 0; row < said.length; row++) {
    let [bestHere, bestThere] = [0, 0];
    const [mine, its] = [here, there].map(all => all.subarray(row * words, (row + 1) * words)) as [
      Float32Array,
      Float32Array,
    ];
    for (let i = 0; i < words; i++) {
      const [a, b] = [mine[i] ?? Number.NaN, its[i] ?? Number.NaN];
      const difference = Math.abs(a - b);
      // Written so that a NaN on either side counts as the worst.
      if (!(difference <= sum.absolute))
        sum.absolute = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
      sum.largest = Math.max(sum.largest, Math.abs(a));
      if (a > (mine[bestHere] ?? 0)) bestHere = i;
      if (b > (its[bestThere] ?? 0)) bestThere = i;
    }
    if (bestHere !== bestThere) sum.otherTokens++;
    said[row] = bestHere;
  }
  return said;
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
