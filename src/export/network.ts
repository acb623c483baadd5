import { recordKernels } from '../engine/record.ts';
import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import type { ModelConfig } from '../models/config.ts';
import type { Ferret } from '../models/ferret.ts';
import { type ConversationTensors, disposeTensors, toTensors } from '../models/tensors.ts';
import { Random } from '../random.ts';
import { type SampleSizes, syntheticBatch } from './synthetic.ts';
import type { SizedRecording } from './unify.ts';

/** Which views of an image the exported network takes. */
export type ExportViews = 'global' | 'global+local';

/** Fewer positions than this leave no room for the sizes that are recorded. */
const SHORTEST = 16;

/** A sample's tensors by the names that they have as inputs of the exported network. */
export function namedInputs(batch: ConversationTensors): Record<string, tf.Tensor> {
  const named: Record<string, tf.Tensor> = {};
  const visit = (path: string, value: unknown): void => {
    if (value instanceof tf.Tensor) named[path] = value;
    else if (typeof value === 'object' && value !== null) {
      for (const [key, part] of Object.entries(value)) visit(path === '' ? key : `${path}.${key}`, part);
    }
  };
  visit('', { ...batch, targets: null });
  return named;
}

/** The network that is exported: scores of the next token at each position, [1, T, vocab_size]. */
export function logitsOf(model: Ferret, batch: ConversationTensors): { logits: tf.Tensor3D } {
  return tf.tidy(() => ({ logits: model.logits(batch, model.visual(batch)) }));
}

/**
 * Records the network at several sizes, so that the number of tokens, tiles and regions can be left open.
 *
 * @param length the longest sequence that the export is to take
 * @throws GroundError('usage') when `length` is too short or beyond what the language model has positions for
 */
export function recordFerret(model: Ferret, length: number, views: ExportViews): SizedRecording[] {
  const { config } = model;
  requireLength(config, length);
  const parameters = new Map(model.parameters.all.map(p => [p.value, p.name]));
  return recordedSizes(length, views).map(sizes => {
    const batch = syntheticBatch(config, sizes, new Random('export', 'record'));
    const tensors = toTensors(batch);
    try {
      const recording = recordKernels(namedInputs(tensors), () => logitsOf(model, tensors), {
        names: parameters,
      });
      return { sizes: { ...sizes }, recording };
    } finally {
      disposeTensors(tensors);
    }
  });
}

/** Throws GroundError('usage') when `length` is too short or beyond what the language model has positions for. */
export function requireLength(config: ModelConfig, length: number): void {
  const longest = config.llm.max_position_embeddings;
  if (!Number.isInteger(length) || length < SHORTEST || length > longest) {
    throw new GroundError(
      'usage',
      `--length ${length}: expected a whole number from ${SHORTEST} to ${longest}`,
      {
        hint: "the upper bound is the language model's max_position_embeddings",
      },
    );
  }
}

/** The largest sizes, one variation of each, and one of all (see `unifyRecordings`); never 1, which would broadcast. */
function recordedSizes(length: number, views: ExportViews): SampleSizes[] {
  const tiles = (n: number): number => (views === 'global' ? 0 : n);
  const half = Math.floor(length / 2);
  const largest = { tokens: length, tiles: tiles(4), regions: 4 };
  const variations = [
    { ...largest, tokens: half },
    ...(views === 'global' ? [] : [{ ...largest, tiles: 3 }]),
    { ...largest, regions: 3 },
  ];
  return [largest, ...variations, { tokens: half - 3, tiles: tiles(2), regions: 2 }];
}
