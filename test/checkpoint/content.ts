import { readFileSync } from 'node:fs';
import type { CheckpointContent, NamedArraySource } from '../../src/train/checkpoint.ts';

const config = JSON.parse(
  readFileSync(new URL('./model.json', import.meta.url), 'utf8'),
) as CheckpointContent['modelConfig'];

/** A small checkpoint in which every value follows from the step, so that any mixture of two is noticed. */
export function contentOf(step: number, values = 1000): CheckpointContent {
  const array = (salt: number, shape: readonly number[]): NamedArraySource => ({
    shape,
    data: Float32Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      (_, i) => step * 1000 + salt + i / 8,
    ),
  });
  return {
    state: {
      stage: 2,
      stageName: 'high-resolution dense alignment',
      step,
      steps: 40,
      samples: step * 16,
      tokens: step * 700,
      updates: step,
      seeds: { data: 7, init: 8 },
      loader: { epoch: 1, rows: [step, { cursor: step * 16 }] },
      firstLoss: 3.5,
      lastLosses: [3.5 / (step + 1)],
    },
    model: new Map([
      ['llm.lm_head.weight', array(1, [values, 2])],
      ['projector.global.0.weight', array(2, [3, 4])],
      ['contrastive.logit_scale', array(3, [])],
    ]),
    optimizer: {
      m: new Map([['projector.global.0.weight', array(4, [3, 4])]]),
      v: new Map([['projector.global.0.weight', array(5, [3, 4])]]),
    },
    recipe: `stage: 2\nsteps: 40 # at step ${step}\n`,
    modelConfig: config,
    tokenizer: new TextEncoder().encode('{"model":{}}'),
  };
}
