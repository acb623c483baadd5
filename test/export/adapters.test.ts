import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readResolvedRecipe, recipeToYaml } from '../../src/config/resolved.ts';
import * as tf from '../../src/engine/tf.ts';
import { loadForInference } from '../../src/eval/load.ts';
import { exportHuggingFace } from '../../src/export/huggingface.ts';
import { exampleScores, largestDifference } from '../../src/export/merged.ts';
import { exportPeft } from '../../src/export/peft.ts';
import { openSafetensors } from '../../src/models/safetensors.ts';
import { buildModel, chooseAdapters } from '../../src/train/adapters.ts';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { snapshot, weightSources } from '../../src/train/weights.ts';
import { recipeIn } from '../eval/checkpoint.ts';
import { characterTokenizer, TINY } from '../eval/tiny.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { temporaryFolder } from '../helpers/folder.ts';

beforeAll(startTestEngine);

const codec = { read: readResolvedRecipe };

/** A checkpoint with adapters on the language model and an encoder, all of whose values are random, and an average. */
async function writeAdapted(folder: string): Promise<string> {
  const plain = recipeIn(folder);
  const lora = [
    { module: 'llm', rank: 2, alpha: 8, targets: ['q_proj', 'down_proj'] },
    { module: 'encoder.local', rank: 3 },
  ];
  const recipe = { model: TINY, stage: { ...plain.stage, train: [], lora, ema: { decay: 0.9 } } };
  const model = buildModel(recipe);
  model.parameters.allocate(5);
  const adapters = chooseAdapters(model.parameters, lora, model.unused);
  const trained = model.parameters.all.filter(p => /lora_[AB]/.test(p.name));
  const fill = (p: (typeof trained)[number], seed: number): void =>
    p.assign(tf.randomUniform([...p.shape], -0.3, 0.3, 'float32', seed));
  trained.forEach(fill);
  const average = await snapshot(weightSources(trained));
  for (const [i, p] of trained.entries()) fill(p, 1000 + i);
  const { path } = await saveCheckpoint(join(folder, 'run', 'stage3'), {
    state: {
      stage: 3,
      stageName: 'test',
      step: 5,
      steps: 5,
      samples: 20,
      tokens: 100,
      updates: 5,
      seeds: { stage: 0 },
      loader: null,
      firstLoss: 4,
      lastLosses: [3],
      adapters,
    },
    model: weightSources(model.parameters.all),
    average,
    optimizer: { m: new Map(), v: new Map() },
    recipe: recipeToYaml({ ...recipe, model: plain.model }),
    modelConfig: plain.model,
    tokenizer: new TextEncoder().encode(JSON.stringify(characterTokenizer())),
  });
  model.dispose();
  return path;
}

describe('a checkpoint with adapters and an average', () => {
  async function scores(
    checkpoint: string,
    options: Parameters<typeof loadForInference>[2],
  ): Promise<Float32Array> {
    const inference = await loadForInference(checkpoint, codec, options);
    try {
      return await exampleScores(inference);
    } finally {
      inference.dispose();
    }
  }

  it('answers alike with adapters merged and beside the weights, to 1e-5', async () => {
    const checkpoint = await writeAdapted(temporaryFolder());
    const kept = await scores(checkpoint, {});
    const size = kept.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
    expect(largestDifference(kept, await scores(checkpoint, { adapters: 'merge' })) / size).toBeLessThan(
      1e-5,
    );
    expect(largestDifference(kept, await scores(checkpoint, { ema: false }))).toBeGreaterThan(1e-3);
    expect(largestDifference(kept, await scores(checkpoint, { ema: true }))).toBe(0);
    expect(
      largestDifference(
        kept,
        kept.map(() => Number.NaN),
      ),
    ).toBe(Number.POSITIVE_INFINITY);
  });

  it("gives PEFT's files, which merged into the bare weights are what is exported merged", async () => {
    const folder = temporaryFolder();
    const checkpoint = await writeAdapted(folder);
    const out = (name: string): string => join(folder, name);
    const report = await exportPeft({ checkpoint, out: out('peft') });
    expect(report.folders.map(({ folder: name, layers, ranks }) => [name, layers, ranks])).toEqual([
      ['dinov2', 6 * TINY.local_encoder.num_hidden_layers, [3]],
      ['llm', 2 * TINY.llm.num_hidden_layers, [2]],
    ]);
    const config = JSON.parse(readFileSync(join(out('peft'), 'llm', 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ peft_type: 'LORA', r: 2, lora_alpha: 8, bias: 'none', rank_pattern: {} });
    expect(config.target_modules).toContain('model.layers.0.self_attn.q_proj');
    const file = await openSafetensors(join(out('peft'), 'llm', 'adapter_model.safetensors'));
    expect([...file.tensors.keys()]).toContain(
      'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight',
    );
    await file.close();

    const merged = await exportHuggingFace({ checkpoint, out: out('merged'), dtype: 'source' });
    expect(merged.adapters?.layers).toBe(report.folders.reduce((n, { layers }) => n + layers, 0));
    expect(merged.adapters?.largestChange).toBeGreaterThan(0.01);
    const lora = join(out('peft'), 'llm');
    await exportHuggingFace({ checkpoint, out: out('bare'), dtype: 'source', merge: false, lora });
    const bytes = (name: string, part: string): Buffer =>
      readFileSync(join(out(name), part, 'model.safetensors'));
    expect(bytes('bare', 'llm').equals(bytes('merged', 'llm'))).toBe(true);
    expect(bytes('bare', 'dinov2').equals(bytes('merged', 'dinov2'))).toBe(false);
    expect(bytes('bare', 'clip').equals(bytes('merged', 'clip'))).toBe(true);
  });
});
