import { beforeAll, describe, expect, it } from 'vitest';
import { tensorCount } from '../../src/engine/memory.ts';
import * as tf from '../../src/engine/tf.ts';
import { logitsOf } from '../../src/export/network.ts';
import type { Ferret } from '../../src/models/ferret.ts';
import { Ferret as Model } from '../../src/models/ferret.ts';
import { disposeTensors, toTensors } from '../../src/models/tensors.ts';
import { buildModel, chooseAdapters, mergeAdapters } from '../../src/train/adapters.ts';
import { planTraining } from '../../src/train/freeze.ts';
import type { LoraConfig } from '../../src/train/recipe.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { tinyBatch, tinyConfig } from '../helpers/tiny-ferret.ts';
import { recipeWith, train, valuesOf } from './techniques.ts';

beforeAll(startTestEngine);

const EVERYWHERE: LoraConfig[] = [
  { module: 'llm', rank: 2, alpha: 8, targets: ['all-linear', 'lm_head'] },
  { module: 'encoder', rank: 3, targets: 'layers?\\.0\\..*' },
  { module: 'projector', rank: 1, alpha: 2 },
];
const lora = (...entries: LoraConfig[]) => recipeWith({ train: [], lora: entries });

function logits(model: Ferret): Float32Array {
  const tensors = toTensors(tinyBatch());
  const { logits: scores } = logitsOf(model, tensors);
  const values = scores.dataSync<'float32'>().slice();
  tf.dispose(scores);
  disposeTensors(tensors);
  return values;
}

const largest = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, v, i) => Math.max(most, Math.abs(v - (b[i] ?? Number.NaN))), 0);

describe('adapters', () => {
  it('change nothing before the first step, and train alone', () => {
    const before = tensorCount();
    const plain = new Model(tinyConfig);
    plain.parameters.allocate(3);
    const untrained = train(lora(...EVERYWHERE), []);
    expect(logits(untrained.model)).toEqual(logits(plain));
    const start = valuesOf(untrained.model);
    untrained.dispose();
    const batch = tinyBatch();
    const trained = train(lora(...EVERYWHERE), Array(3).fill([batch]));
    const after = valuesOf(trained.model);
    for (const [name, values] of after) {
      const changed = largest(values, start.get(name) as Float32Array) > 0;
      expect(changed, name).toBe(/\.lora_[AB]\.weight$/.test(name));
    }
    expect(largest(logits(trained.model), logits(plain))).toBeGreaterThan(1e-3);
    plain.dispose();
    trained.dispose();
    expect(tensorCount()).toBe(before);
  });

  it('merged give the scores that they give beside the weights, to 1e-5', () => {
    const recipe = lora(...EVERYWHERE);
    const trained = train(recipe, Array(4).fill([tinyBatch()]));
    const { model } = trained;
    const weights = new Map(
      model.parameters.all.map(p => [p.name, { shape: p.shape, data: p.value.dataSync<'float32'>() }]),
    );
    const adapters = chooseAdapters(model.parameters, recipe.stage.lora ?? [], model.unused);
    const merged = new Model(tinyConfig);
    for (const [name, { shape, data }] of mergeAdapters(weights, adapters)) {
      merged.parameters.get(name)?.assign(tf.tensor(data, [...shape], 'float32'));
    }
    const [a, b] = [logits(model), logits(merged)];
    expect(largest(a, b)).toBeLessThan(1e-5);
    expect(largest(a, b)).toBeGreaterThan(0);
    merged.dispose();
    trained.dispose();
  });

  it('have the gradients of W + alpha / rank · B A, by hand', () => {
    // One step without clipping, decay or adaptation would hide a wrong factor: the gradients themselves are compared.
    const entry = { module: 'llm', rank: 2, alpha: 6, targets: 'layers\\.0\\.self_attn\\.q_proj' };
    const layer = 'llm.model.layers.0.self_attn.q_proj';
    const batch = tinyBatch();
    const adapted = buildModel(lora(entry));
    adapted.parameters.allocate(3);
    const b = adapted.parameters.get(`${layer}.lora_B.weight`)?.value as tf.Tensor2D;
    const a = adapted.parameters.get(`${layer}.lora_A.weight`)?.value as tf.Tensor2D;
    const full = train(recipeWith({ train: ['llm'] }), [[batch]]);
    const low = train(lora(entry), [[batch]]);
    const dW = tf.tensor2d(full.gradients.get(`${layer}.weight`) as Float32Array, [16, 12]);
    // dB = scale · dW Aᵀ and dA = scale · Bᵀ dW, where B is zero at first.
    const dB = tf.mul(tf.matMul(dW, a, false, true), 3).dataSync<'float32'>();
    expect(largest(low.gradients.get(`${layer}.lora_B.weight`) as Float32Array, dB)).toBeLessThan(1e-6);
    expect(Math.max(...dB.map(Math.abs))).toBeGreaterThan(1e-3);
    expect([...(low.gradients.get(`${layer}.lora_A.weight`) as Float32Array)].every(v => v === 0)).toBe(true);
    expect(b.shape).toEqual([16, 2]);
    tf.dispose(dW);
    adapted.dispose();
    full.dispose();
    low.dispose();
  });

  it('drop the same inputs for the same seed and step, others in another, none in evaluation', () => {
    const entry = { module: 'llm', rank: 2, dropout: 0.5 };
    const batch = tinyBatch();
    // A rate so small that two steps differ by what is dropped alone; B must not be zero for that.
    const run = (seed: number) =>
      train(recipeWith({ train: [], lora: [entry], seed }), Array(4).fill([batch]));
    const [one, same, other] = [run(1), run(1), run(2)];
    expect(one.losses).toEqual(same.losses);
    expect(other.losses[3]).not.toBe(one.losses[3]);
    expect(logits(one.model)).toEqual(logits(one.model));
    const plain = train(recipeWith({ train: [], lora: [{ module: 'llm', rank: 2 }] }), [[batch]]);
    expect(plain.losses[0]).toBe(one.losses[0]);
    for (const made of [one, same, other, plain]) made.dispose();
  });

  it('go with activation checkpointing, dropout included', () => {
    const recipe = { train: ['projector'], lora: [{ module: 'llm', rank: 2, dropout: 0.3 }] };
    const batches = Array(3).fill([tinyBatch()]);
    const plain = train(recipeWith(recipe), batches);
    const again = train(recipeWith({ ...recipe, checkpoint_activations: ['llm'] }), batches);
    for (const [i, loss] of again.losses.entries()) expect(loss).toBeCloseTo(plain.losses[i] as number, 5);
    plain.dispose();
    again.dispose();
  });
});

describe('the choice of layers', () => {
  const model = new Model(tinyConfig);
  const choose = (...entries: LoraConfig[]) =>
    chooseAdapters(model.parameters, entries, model.unused).map(({ layer }) => layer);

  it.each([
    [undefined, 2 * 7],
    ['all-linear', 2 * 7],
    [['q_proj', 'v_proj'], 4],
    ['layers\\.1\\.mlp\\..*', 3],
    ['.*', 2 * 7 + 1],
    ['lm_head', 1],
    [['q_proj', '.*\\.q_proj'], 2],
  ])('by targets %j', (targets, count) => {
    expect(choose({ module: 'llm', rank: 1, ...(targets === undefined ? {} : { targets }) })).toHaveLength(
      count,
    );
  });

  it('leaves out layers that no loss reads, and convolutions', () => {
    const { pretraining: _, ...config } = tinyConfig;
    const alone = new Model(config);
    const entry = { module: 'encoder.global', rank: 1 };
    const chosen = chooseAdapters(alone.parameters, [entry], alone.unused).map(({ layer }) => layer);
    expect(new Set(chosen.map(name => /layers\.(\d+)/.exec(name)?.[1]))).toEqual(new Set(['0']));
    expect(chosen).toHaveLength(6);
    expect(choose({ module: 'sampler', rank: 1, targets: '.*' }).join()).not.toMatch(/net\.0/);
  });

  it('refuses what cannot be', () => {
    const refused = (...entries: LoraConfig[]): string => {
      try {
        choose(...entries);
        return 'nothing';
      } catch (thrown) {
        const { message, hint } = thrown as Error & { hint: string };
        return `${message}\n  ${hint}`;
      }
    };
    expect(
      [
        refused({ module: 'llm', rank: 2, targets: 'q_porj' }),
        refused({ module: 'llm', rank: 2, targets: '(' }),
        refused({ module: 'llm', rank: 13 }),
        refused({ module: 'llm.model.norm', rank: 2 }),
        refused(
          { module: 'llm', rank: 2 },
          { module: 'llm.model.layers.0', rank: 2, targets: 'mlp.up_proj' },
        ),
      ].join('\n'),
    ).toMatchInlineSnapshot(`
      "lora.0.targets: "q_porj" matches none of 15 names
        near it: llm.model.layers.0.self_attn.q_proj, llm.model.layers.0.mlp.up_proj, llm.model.layers.0.mlp.gate_proj, llm.model.layers.0.mlp.down_proj, llm.model.layers.0.self_attn.k_proj
      lora.0.targets: "(" is no regular expression
        write \\. for a dot, and (10|11) for one of two
      lora.0.rank: 13 is too large for llm.model.layers.0.self_attn.q_proj, which is [16, 12]
        a low rank is at most 12 there, and usefully far less
      lora.0.module: "llm.model.norm" has no linear layer that a loss reads
        there are some in encoder.global, encoder.local, projector.global, projector.local, sampler, llm, text_encoder, contrastive
      lora.1: llm.model.layers.0.mlp.up_proj has an adapter from another entry of lora already
        make the targets of the entries differ"
    `);
    const both = recipeWith({ train: ['llm'], lora: [{ module: 'llm', rank: 2 }] });
    const built = buildModel(both);
    expect(() => planTraining(built.parameters, both.stage, built.unused)).toThrow(
      'llm.model.layers.0.self_attn.q_proj has an adapter and trains itself',
    );
  });
});
