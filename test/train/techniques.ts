/** Training steps of a model of a few thousand parameters, with the techniques that a recipe may ask for. */
import { expect } from 'vitest';
import type { Batch } from '../../src/models/batch.ts';
import type { Ferret } from '../../src/models/ferret.ts';
import { buildModel } from '../../src/train/adapters.ts';
import { planTraining } from '../../src/train/freeze.ts';
import type { Recipe, StageRecipe } from '../../src/train/recipe.ts';
import { TrainStep } from '../../src/train/step.ts';
import { tinyConfig } from '../helpers/tiny-ferret.ts';

export function recipeWith(changes: Partial<StageRecipe>): Recipe {
  return {
    model: tinyConfig,
    stage: {
      stage: 2,
      name: 'test',
      from: null,
      train: ['llm'],
      copy: [],
      lr: 1e-2,
      optimizer: { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01, clip_norm: 1 },
      schedule: { kind: 'constant', warmup: 0, floor: 0 },
      views: 'global+local',
      grounding_prompt: '',
      data: [],
      batch: { samples: 2, accumulate: 1 },
      steps: 10,
      seed: 7,
      log: { every: 1 },
      checkpoint: { every: 1, keep: 1 },
      eval: { every: 0, samples: 1, data: [] },
      ...changes,
    },
  };
}

/** A model that has been trained for some steps, and what was seen on the way. The caller disposes of it. */
export interface Trained {
  readonly model: Ferret;
  readonly step: TrainStep;
  readonly losses: readonly number[];
  /** Gradients of the first step by parameter. */
  readonly gradients: ReadonlyMap<string, Float32Array | null>;
  dispose(): void;
}

export function train(recipe: Recipe, steps: readonly (readonly Batch[])[]): Trained {
  const model = buildModel(recipe);
  model.parameters.allocate(3);
  const plan = planTraining(model.parameters, recipe.stage, model.unused);
  const step = new TrainStep(model, plan, recipe.stage);
  const gradients = new Map<string, Float32Array | null>();
  const losses = steps.map((batches, i) => {
    const result = step.run(batches, i, {
      gradients: (parameters, values) => {
        if (i > 0) return;
        for (const [j, p] of parameters.entries()) {
          gradients.set(p.name, values[j]?.dataSync<'float32'>().slice() ?? null);
        }
      },
    });
    return result.loss;
  });
  return {
    model,
    step,
    losses,
    gradients,
    dispose: () => {
      step.dispose();
      model.dispose();
    },
  };
}

export function valuesOf(model: Ferret): Map<string, Float32Array> {
  return new Map(model.parameters.all.map(p => [p.name, p.value.dataSync<'float32'>().slice()]));
}

/** Expects equal maps of numbers, each within `tolerance` of the largest of its tensor (at least of 1e-3). */
export function expectClose(
  got: ReadonlyMap<string, Float32Array | null>,
  want: ReadonlyMap<string, Float32Array | null>,
  tolerance: number,
): void {
  expect([...got.keys()]).toEqual([...want.keys()]);
  for (const [name, wanted] of want) {
    const values = got.get(name);
    if (!wanted || !values) {
      expect(values ?? null, name).toBe(wanted ?? null);
      continue;
    }
    const scale = wanted.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-3);
    const off = wanted.reduce((most, v, i) => Math.max(most, Math.abs(v - (values[i] ?? Number.NaN))), 0);
    expect(off / scale, `${name}: off by ${off} of ${scale}`).toBeLessThanOrEqual(tolerance);
  }
}
