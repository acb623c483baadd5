/** The ways in which a training step can run: op by op, as one function or two, and compiled by XLA. */
import { describe, expect, test } from 'vitest';
import { observeRecordings } from '../../src/engine/compile.ts';
import { tensorCount } from '../../src/engine/memory.ts';
import type { CompileSetting } from '../../src/engine/mode.ts';
import { hasNativeOps } from '../../src/engine/native-ops.ts';
import * as tf from '../../src/engine/tf.ts';
import type { Batch, ConversationBatch } from '../../src/models/batch.ts';
import type { ModelConfig } from '../../src/models/config.ts';
import type { Ferret } from '../../src/models/ferret.ts';
import { buildModel } from '../../src/train/adapters.ts';
import { planTraining, type TrainingPlan } from '../../src/train/freeze.ts';
import { NonFiniteStep } from '../../src/train/nonfinite.ts';
import { adamwInPlace, guarded, initialState, updateVector } from '../../src/train/optimizer.ts';
import type { StageRecipe } from '../../src/train/recipe.ts';
import { type StepHooks, TrainStep } from '../../src/train/step.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { tinyBatch, tinyConfig, tinyContrastive } from '../helpers/tiny-ferret.ts';
import { recipeWith, valuesOf } from './techniques.ts';

const engine = await startTestEngine();
const recorded = engine.name === 'tensorflow';
const inPlace = recorded && hasNativeOps();

const STEPS = 100;
const RESUMED_AT = 90;

/** Text alone, through one block: what XLA takes seconds to compile. */
const text = {
  config: { ...tinyConfig, llm: { ...tinyConfig.llm, num_hidden_layers: 1 } },
  batches: [tinyBatch({ images: false, tiles: [], regions: [] })],
};
const pictures = { config: tinyConfig, batches: [tinyBatch(), tinyBatch({ regions: [2, 1] })] };
type Material = typeof text;

interface Training {
  readonly model: Ferret;
  readonly plan: TrainingPlan;
  readonly step: TrainStep;
  dispose(): void;
}

function begin(changes: Partial<StageRecipe> = {}, config: ModelConfig = tinyConfig): Training {
  const { stage } = recipeWith({
    train: ['projector', 'sampler', 'llm'],
    lr: 1e-3,
    steps: STEPS,
    ...changes,
  });
  const recipe = { model: config, stage };
  const model = buildModel(recipe);
  model.parameters.allocate(3);
  const plan = planTraining(model.parameters, recipe.stage, model.unused);
  const step = new TrainStep(model, plan, recipe.stage);
  const dispose = (): void => {
    step.dispose();
    model.dispose();
  };
  return { model, plan, step, dispose };
}

/** Weights and moments. */
function stateOf({ model, step }: Training) {
  const moments = step.moments.map(({ m, v }) => [
    m.dataSync<'float32'>().slice(),
    v.dataSync<'float32'>().slice(),
  ]);
  return { weights: valuesOf(model), moments };
}

/** Puts weights and moments of one into another. */
function restore(
  { model, step }: Training,
  { weights, moments }: ReturnType<typeof stateOf>,
  updates: number,
): void {
  for (const p of model.parameters.all) {
    p.assign(tf.tensor(weights.get(p.name) as Float32Array, [...p.shape], 'float32'));
  }
  const bank = ([m, v]: Float32Array[]) => ({
    m: tf.tensor1d(m as Float32Array),
    v: tf.tensor1d(v as Float32Array),
  });
  step.restore(moments.map(bank), updates);
}

/** Losses of STEPS steps; expects that going on from a copy gives the same bits, in losses and in the end. */
function lossesOf(compile: CompileSetting, { config, batches }: Material): number[] {
  const batchAt = (step: number): Batch[] => [batches[step % batches.length] as Batch];
  const whole = begin({ engine: { compile } }, config);
  const run = (training: Training, from: number, to: number): number[] =>
    Array.from({ length: to - from }, (_, i) => training.step.run(batchAt(from + i), from + i).loss);
  const losses = run(whole, 0, RESUMED_AT);
  const halfway = stateOf(whole);
  const rest = run(whole, RESUMED_AT, STEPS);
  const end = stateOf(whole);
  // XLA compiles anew for another step, and takes long for that.
  const second = compile === 'xla' ? whole : begin({ engine: { compile } }, config);
  restore(second, halfway, RESUMED_AT);
  expect(run(second, RESUMED_AT, STEPS)).toEqual(rest);
  expect(stateOf(second)).toEqual(end);
  whole.dispose();
  if (second !== whole) second.dispose();
  losses.push(...rest);
  expect(losses.at(-1)).toBeLessThan(0.9 * (losses[0] ?? 0));
  return losses;
}

function expectClose(losses: readonly number[], eager: readonly number[]): void {
  expect(losses).toHaveLength(eager.length);
  for (const [i, loss] of losses.entries()) {
    expect(Math.abs(loss - (eager[i] ?? Number.NaN)), `step ${i}`).toBeLessThan(1e-5);
  }
}

describe('modes', () => {
  test.runIf(recorded)(
    'graph gives the losses of op by op over 100 steps; both go on to the last bit',
    () => {
      expectClose(lossesOf('graph', pictures), lossesOf('off', pictures));
    },
  );

  test.runIf(recorded)('so does xla', () => {
    expectClose(lossesOf('xla', text), lossesOf('off', text));
  });

  test('auto is the executor where functions are recorded', () => {
    const training = begin();
    expect(training.step.mode).toBe(recorded ? 'graph' : 'off');
    training.dispose();
  });

  test.skipIf(recorded)('graph and xla are refused where nothing is recorded', () => {
    for (const compile of ['graph', 'xla'] as const) {
      expect(() => begin({ engine: { compile } })).toThrow('needs libtensorflow');
    }
  });

  test.runIf(recorded)('off records nothing', () => {
    let recordings = 0;
    const ignore = observeRecordings(() => recordings++);
    const training = begin({ engine: { compile: 'off' } });
    training.step.run([tinyBatch()], 0);
    ignore();
    training.dispose();
    expect(recordings).toBe(0);
  });
});

/** Whoever looks at gradients keeps the update apart. */
const apart: StepHooks = { gradients: () => undefined };

describe.runIf(inPlace)('one function', () => {
  test.each([
    ['a conversation', { train: ['encoder', 'projector', 'sampler', 'llm'] }, tinyBatch()],
    ['frozen encoders', { train: ['projector'] }, tinyBatch()],
    ['pictures contrasted', { train: ['encoder', 'text_encoder', 'contrastive'] }, tinyContrastive()],
    ['adapters with dropout', { train: [], lora: [{ module: 'llm', rank: 2, dropout: 0.5 }] }, tinyBatch()],
    ['blocks computed again', { train: ['llm'], checkpoint_activations: ['llm'] }, tinyBatch()],
  ] as const)('gives the bits of two: %s', (_, changes, batch) => {
    const names: string[] = [];
    const ignore = observeRecordings(({ key }) => names.push(key));
    const one = begin(changes);
    const two = begin(changes);
    const before = tensorCount();
    for (let i = 0; i < 4; i++) {
      const [a, b] = [one.step.run([batch], i), two.step.run([batch], i, apart)];
      expect(a).toEqual(b);
      expect(tensorCount()).toBe(before);
    }
    ignore();
    expect(names.map(name => name.split(' ')[0])).toEqual(['step', 'gradients']);
    expect(stateOf(one)).toEqual(stateOf(two));
    one.dispose();
    two.dispose();
  });

  test('is not recorded for shapes whose gradients alone have been', () => {
    const names: string[] = [];
    const training = begin();
    training.step.run([tinyBatch()], 0, apart);
    const ignore = observeRecordings(({ key }) => names.push(key));
    training.step.run([tinyBatch()], 1);
    training.step.run([tinyBatch({ texts: [4, 9] })], 2);
    ignore();
    training.dispose();
    expect(names).toEqual(['step conversation']);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('updates nothing when a pixel is %s', bad => {
    const training = begin({ train: ['encoder', 'llm'] });
    training.step.run([tinyBatch()], 0);
    const before = stateOf(training);
    const batch = tinyBatch();
    const spoilt: ConversationBatch = {
      ...batch,
      globalPixels: {
        ...batch.globalPixels,
        data: batch.globalPixels.data.map((x, i) => (i === 5 ? bad : x)),
      },
    };
    expect(() => training.step.run([spoilt], 1)).toThrow(NonFiniteStep);
    expect(stateOf(training)).toEqual(before);
    expect(training.step.updates).toBe(1);
    const { loss } = training.step.run([batch], 2);
    expect(loss).toBeGreaterThan(0);
    training.dispose();
  });

  test('updates nothing for the loss alone, with gradients that are finite', () => {
    const training = begin();
    const { banks } = training.plan;
    const trained = banks.flatMap(bank => bank.parameters);
    const optimizer = { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1, clip_norm: 1 } as const;
    const scalars = tf.tensor1d(updateVector({ lr: banks.map(() => 1), updates: 0 }, optimizer));
    const gradients = trained.map((p, i) => (i % 3 === 0 ? null : tf.fill([...p.shape], 0.01)));
    const update = (loss: number): number => {
      const guard = guarded(trained, gradients, tf.scalar(loss));
      return adamwInPlace(banks, initialState(banks), guard, scalars, optimizer).dataSync()[0] ?? 0;
    };
    const before = valuesOf(training.model);
    for (const loss of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(update(loss)).toBeNaN();
    }
    expect(valuesOf(training.model)).toEqual(before);
    const size = trained.reduce((n, p, i) => (i % 3 === 0 ? n : n + p.size), 0);
    expect(update(1)).toBeCloseTo(0.01 * Math.sqrt(size), 5);
    expect(valuesOf(training.model)).not.toEqual(before);
    training.dispose();
  });
});

test('micro-batches add up to what they are together, whatever runs them', () => {
  const parts = [tinyBatch(), tinyBatch({ texts: [2, 2] }), tinyBatch({ texts: [6, 1], supervised: true })];
  const norms = (recorded ? (['off', 'graph'] as const) : (['off'] as const)).map(compile => {
    const training = begin({ engine: { compile } });
    const before = tensorCount();
    const results = [0, 1, 2].map(i => training.step.run(parts, i));
    expect(tensorCount()).toBe(before);
    training.dispose();
    return results.map(({ loss, gradNorm }) => [loss, gradNorm]);
  });
  for (const other of norms.slice(1)) {
    for (const [i, pair] of other.entries()) {
      for (const [j, value] of pair.entries()) expect(value).toBeCloseTo(norms[0]?.[i]?.[j] ?? Number.NaN, 4);
    }
  }
});
