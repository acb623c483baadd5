import type { CheckpointContent, FrozenFile, NamedArraySource } from '../../src/train/checkpoint.ts';
import type { LoadedCheckpoint } from '../../src/train/reading.ts';
import { contentOf } from './content.ts';

/** A model whose every number follows from all earlier steps, so that a lost or doubled step is seen in the end. */
export interface Model {
  readonly step: number;
  readonly weights: Float32Array;
  readonly moments: Float32Array;
}

export const SAVE_EVERY = 2;

const NAME = 'projector.global.0.weight';
const SIZE = 3000;
const FROZEN_SIZE = 5000;

export const FIRST: Model = {
  step: 0,
  weights: Float32Array.from({ length: SIZE }, (_, i) => Math.sin(i)),
  moments: new Float32Array(SIZE),
};

export function advance({ step, weights, moments }: Model): Model {
  const next = moments.map((m, i) => 0.9 * m + 0.1 * Math.cos((weights[i] ?? 0) * (step + 1)));
  return { step: step + 1, weights: weights.map((w, i) => w - 0.3 * (next[i] ?? 0)), moments: next };
}

/** The model after so many steps without interruption. */
export function after(steps: number): Model {
  let model = FIRST;
  while (model.step < steps) model = advance(model);
  return model;
}

export function modelOf({ state, model, optimizer }: LoadedCheckpoint): Model {
  const weights = model.get(NAME)?.data;
  const moments = optimizer?.m.get(NAME)?.data;
  if (!weights || !moments) throw new Error('the checkpoint lacks a tensor');
  return { step: state.step, weights, moments };
}

export function frozenWeights(): Map<string, NamedArraySource> {
  const data = Float32Array.from({ length: FROZEN_SIZE }, (_, i) => 1 / (i + 1));
  return new Map([['llm.lm_head.weight', { shape: [FROZEN_SIZE], data }]]);
}

/** What a checkpoint of the model holds; arrays of its own. */
export function contentAt({ step, weights, moments }: Model, frozen: FrozenFile): CheckpointContent {
  const content = contentOf(step, 1);
  const array = (data: Float32Array): Map<string, NamedArraySource> =>
    new Map([[NAME, { shape: [SIZE], data: data.slice() }]]);
  return { ...content, model: array(weights), optimizer: { m: array(moments), v: array(moments) }, frozen };
}
