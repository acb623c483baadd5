import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeShards } from '../../../src/data/shards.ts';
import { renderScenes } from '../../../src/data/sources/scenes.ts';
import * as tf from '../../../src/engine/tf.ts';
import { drawBatches, grouped } from '../../../src/train/plan/draw.ts';
import { planMemory, processBytes } from '../../../src/train/plan/memory.ts';
import { conversationBatch, largestBatches, sizesOf } from '../../../src/train/plan/sizes.ts';
import { measureSpeed } from '../../../src/train/plan/speed.ts';
import { planStage, type StagePlan, secondsPerStep } from '../../../src/train/plan/stage.ts';
import { traceStep } from '../../../src/train/plan/trace.ts';
import { startTestEngine } from '../../helpers/engine.ts';
import { sceneSizes, shippedStage, tinyStage } from './tiny-stage.ts';

beforeAll(async () => {
  await startTestEngine();
});

const GIB = 2 ** 30;

describe('the full-size recipe', () => {
  const plans = new Map<number, StagePlan>();

  beforeAll(async () => {
    for (const stage of [1, 2, 3]) {
      plans.set(stage, await planStage(shippedStage('ferret-v2', stage), 'tensorflow'));
    }
  });

  const plan = (stage: number): StagePlan => plans.get(stage) as StagePlan;
  const module = (stage: number, group: string) => plan(stage).modules.find(m => m.group === group);

  it('has the published numbers of parameters', () => {
    const counts = Object.fromEntries(plan(1).modules.map(m => [m.group, m.parameters]));
    expect(counts).toMatchObject({
      'encoder.global': 303_507_456,
      // facebook/dinov2-large: no registers.
      'encoder.local': 304_368_640,
      'projector.global': 20_979_712,
      'projector.local': 20_979_712,
      sampler: 44_069_900,
    });
    // Vicuna-7B and the two rows of <region_fea>, input and output.
    const rows = shippedStage('ferret-v2', 1).model.llm.vocab_size - 32_000;
    expect(counts.llm).toBe(6_738_415_616 + 2 * 4096 * rows);
  });

  it('trains what each stage says', () => {
    expect(plan(1).trainable).toBe(20_979_712);
    expect(plan(2).trainable).toBe(2 * 20_979_712 + 44_069_900);
    expect(module(3, 'llm')?.trainable).toBe(module(3, 'llm')?.parameters);
  });

  it('is planned without its data and without a weight', () => {
    expect([...plans.values()].map(p => p.source)).toEqual(['largest', 'largest', 'largest']);
    expect(tf.memory().numTensors).toBe(0);
    expect(process.memoryUsage().rss).toBeLessThan(4 * GIB);
  });

  it('takes the memory that its parts take', () => {
    for (const { memory, parameters, trainable } of plans.values()) {
      expect(memory.weights).toBe(4 * parameters);
      expect(memory.moments).toBe(8 * trainable);
      expect(memory.gradients).toBeGreaterThanOrEqual(4 * trainable * 0.98);
      expect(memory.gradients).toBeLessThanOrEqual(4 * trainable + 4);
      expect(memory.peak).toBeGreaterThan(memory.weights + memory.moments + memory.activations);
      expect(memory.resident).toBeGreaterThan(memory.peak);
      expect(memory.resident).toBeLessThan(1.25 * memory.peak + GIB);
    }
    // Weights and moments are written where they lie.
    expect(plan(3).memory.update).toBe(0);
  });

  it('costs about 2 operations a parameter and token forward, twice that with the way back', () => {
    const { largest, work, samplesPerStep } = plan(1);
    const tokens = samplesPerStep * (largest?.positions ?? 0);
    const perToken = work.flopsPerStep / tokens / (module(1, 'llm')?.parameters ?? 1);
    // Frozen: forward and the gradient of inputs; attention, encoder and projector come on top.
    expect(perToken).toBeGreaterThan(4);
    expect(perToken).toBeLessThan(5);
    expect(work.flopsPerSample * samplesPerStep).toBeCloseTo(work.flopsPerStep, -9);
  });
});

describe('a stage with data', () => {
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ground-plan-'));
    await writeShards(renderScenes(1, 12), join(folder, 'scenes'), { builder: 'test', source: {} });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('is planned from its batches', async () => {
    const set = ['batch.samples=2', 'from=null'];
    const bare = tinyStage(2, set);
    const dataset = join(folder, 'scenes');
    const stage = { ...bare.stage, data: bare.stage.data.map(source => ({ ...source, dataset })) };
    const drawn = await drawBatches(stage, bare.model);
    expect(drawn.source).toBe('data');
    expect(drawn.groups.reduce((sum, group) => sum + group.share, 0)).toBeCloseTo(1, 10);
    const plan = await planStage({ ...bare, stage }, 'tensorflow');
    const largest = await planStage(bare, 'tensorflow');
    expect(plan.source).toBe('data');
    expect(plan.memory.peak).toBeLessThan(largest.memory.peak);
    expect(plan.work.flopsPerStep).toBeLessThan(largest.work.flopsPerStep);
  });
});

describe('groups of batches', () => {
  it('are one for each size, the frequent ones first', () => {
    const { model } = tinyStage(2, ['from=null']);
    const small = conversationBatch(model, sceneSizes(2, 'global+local'));
    const large = conversationBatch(model, sceneSizes(4, 'global+local'));
    const groups = grouped([large, small, small, small]);
    expect(groups.map(({ batch, share }) => [batch.kind === 'conversation' && batch.size, share])).toEqual([
      [2, 0.75],
      [4, 0.25],
    ]);
  });

  it('without data hold the largest that the recipe allows', () => {
    const { model, stage } = tinyStage(2, ['from=null', 'batch.samples=3']);
    const [batch, ...rest] = largestBatches(stage, model);
    expect(rest).toEqual([]);
    expect(batch?.kind === 'conversation' && sizesOf(batch)).toMatchObject({
      samples: 3,
      positions: model.max_length,
      tiles: 12,
    });
    const kinds = (n: number): string[] => {
      const { model: m, stage: s } = tinyStage(n, ['from=null']);
      return largestBatches(s, m).map(b => b.kind);
    };
    expect(kinds(0)).toEqual(['contrastive', 'conversation']);
  });
});

describe('memory', () => {
  it('holds a second set of gradients where micro-batches are accumulated', async () => {
    const recipe = tinyStage(3, ['from=null']);
    const batch = conversationBatch(recipe.model, sceneSizes(2, 'global+local'));
    const once = await traceStep(recipe, [batch]);
    const twice = await traceStep(recipe, [batch, batch]);
    expect(twice.functions.map(f => f.kind)).toEqual(['gradients', 'gradients', 'add']);
    const around = twice.functions.map(f => f.around);
    expect((around[1] ?? 0) - (around[0] ?? 0)).toBeGreaterThanOrEqual(0.9 * once.gradientBytes);
    expect(planMemory(twice, { accumulate: 2 }).peak).toBeGreaterThan(
      planMemory(once, { accumulate: 1 }).peak,
    );
  });

  it('is higher where steps are not recorded', async () => {
    const recipe = tinyStage(2, ['from=null']);
    const batch = conversationBatch(recipe.model, sceneSizes(4, 'global+local'));
    const recorded = planMemory(await traceStep(recipe, [batch]), { accumulate: 1 });
    const eager = planMemory(await traceStep(recipe, [batch], 'wasm'), { accumulate: 1 });
    expect(eager.peak).toBeGreaterThan(2 * recorded.peak);
    expect(eager.activations).toBeGreaterThan(0);
    expect(processBytes(eager, 1000)).toBeGreaterThan(eager.resident + 1000);
  });
});

describe('time', () => {
  it('follows from what the machine was measured to do', () => {
    const before = tf.memory().numTensors;
    const product = { batch: 1, rows: 256, inner: 128, columns: 64 };
    const speed = measureSpeed([{ product, flops: 1e9 }]);
    expect(tf.memory().numTensors).toBe(before);
    for (const value of [speed.flops, speed.bytes, speed.perOp]) {
      expect(Number.isFinite(value) && value > 0).toBe(true);
    }
    const work = { flopsPerStep: 3e9, flopsPerSample: 1e9, bytesPerStep: 8e8, opsPerStep: 100 };
    expect(secondsPerStep(work, { flops: 1e9, bytes: 1e8, perOp: 0.01 })).toBeCloseTo(3 + 8 + 1, 10);
  });
});
