import { describe, expect, it } from 'vitest';
import { Ferret } from '../../src/models/ferret.ts';
import { planTraining } from '../../src/train/freeze.ts';
import { freezeNotes, freezeTable } from '../../src/train/freeze-table.ts';
import { depthOf, rateFactors } from '../../src/train/rates.ts';
import type { StageRecipe } from '../../src/train/recipe.ts';
import { tinyConfig } from '../helpers/tiny-ferret.ts';
import { recipeWith } from './techniques.ts';

const { pretraining: _, ...conversing } = tinyConfig;
const model = new Ferret(conversing);
const plan = (changes: Partial<StageRecipe>) => {
  const { stage } = recipeWith(changes);
  return { stage, plan: planTraining(model.parameters, stage, model.unused) };
};
const trainedNames = (changes: Partial<StageRecipe>): string[] =>
  plan(changes).plan.banks.flatMap(bank => bank.parameters.map(p => p.name));
const ALL = ['llm', 'encoder', 'projector', 'sampler'];
const refusal = (changes: Partial<StageRecipe>): string => {
  try {
    plan(changes);
    return 'nothing refused';
  } catch (thrown) {
    const { message, hint } = thrown as Error & { hint: string };
    return `${message}\n  ${hint}`;
  }
};

describe('depthOf', () => {
  it.each([
    ['encoder.global.vision_model.encoder.layers.11.mlp.fc1.weight', 11],
    ['encoder.global.vision_model.embeddings.class_embedding', 'embeddings'],
    ['encoder.global.vision_model.embeddings.patch_embedding.weight', 'embeddings'],
    ['encoder.global.vision_model.pre_layrnorm.weight', 'embeddings'],
    ['encoder.global.vision_model.post_layernorm.weight', 'top'],
    ['encoder.local.embeddings.cls_token', 'embeddings'],
    ['encoder.local.encoder.layer.3.layer_scale1.lambda1', 3],
    ['encoder.local.layernorm.weight', 'top'],
    ['encoder.other.blocks.7.attn.qkv.weight', 7],
    ['llm.model.embed_tokens.weight', 'embeddings'],
    ['llm.model.layers.0.self_attn.q_proj.lora_A.weight', 0],
    ['llm.model.norm.weight', 'top'],
    ['llm.lm_head.weight', 'top'],
  ])('%s', (name, depth) => expect(depthOf(name)).toBe(depth));
});

describe('lr_decay', () => {
  it('multiplies once for each block below the last that trains, and once more for embeddings', () => {
    const names = ['embeddings.x', 'layers.0.w', 'layers.1.w', 'layers.2.w', 'norm.w'].map(
      n => `encoder.a.${n}`,
    );
    const factor = rateFactors({ 'encoder.a': 0.5 }, names);
    expect(names.map(factor)).toEqual([0.125, 0.25, 0.5, 1, 1]);
    expect(factor('llm.model.layers.0.w')).toBe(1);
  });

  it('takes the decay of the longest prefix', () => {
    const names = [
      'encoder.a.layers.0.w',
      'encoder.a.layers.1.w',
      'encoder.b.blocks.0.w',
      'encoder.b.blocks.1.w',
    ];
    const factor = rateFactors({ encoder: 0.5, 'encoder.b': 0.1 }, names);
    expect(names.map(factor)).toEqual([0.5, 1, 0.1, 1]);
  });

  it('makes banks of one rate, which the table and the log show', () => {
    const { plan: made, stage } = plan({
      train: ALL,
      lr: 1e-3,
      lr_decay: { 'encoder.local': 0.5, llm: 0.1 },
    });
    const rateOf = new Map(
      made.banks.flatMap(bank => bank.parameters.map(p => [p.name, bank.peakLr] as const)),
    );
    expect(rateOf.get('encoder.local.encoder.layer.1.norm1.weight')).toBe(1e-3);
    expect(rateOf.get('encoder.local.encoder.layer.0.norm1.weight')).toBe(5e-4);
    expect(rateOf.get('encoder.local.embeddings.position_embeddings')).toBe(2.5e-4);
    expect(rateOf.get('encoder.global.vision_model.embeddings.class_embedding')).toBe(1e-3);
    expect(rateOf.get('llm.model.embed_tokens.weight')).toBeCloseTo(1e-5, 12);
    const table = freezeTable(made, stage);
    expect(made.modules.find(m => m.group === 'encoder.local')).toMatchObject({ lr: 1e-3, lowestLr: 2.5e-4 });
    expect(made.modules.find(m => m.group === 'encoder.global')).not.toHaveProperty('lowestLr');
    expect(freezeNotes(table)).toEqual([
      'learning rates of encoder.local: block 1 0.001, block 0 0.0005, embeddings 0.00025',
      'learning rates of llm: block 1 0.001, top 0.001, block 0 0.0001, embeddings 0.00001',
    ]);
    expect(table.trained).toHaveLength(rateOf.size);
    expect([...table.trained.map(row => row.name), ...table.frozen].sort()).toEqual(
      model.parameters.all.map(p => p.name).sort(),
    );
  });

  it('refuses a module that does not train, or has no blocks', () => {
    expect(refusal({ train: ['llm'], lr_decay: { 'encoder.local': 0.5 } })).toContain(
      'lr_decay: nothing trains below "encoder.local"',
    );
    expect(refusal({ train: ['projector'], lr_decay: { projector: 0.5 } })).toContain(
      'has no blocks that train',
    );
  });
});

describe('patterns', () => {
  it('pick what trains of a group', () => {
    const only = trainedNames({ train: [{ group: 'llm', only: 'layers\\.1\\.' }] });
    expect(only.length).toBeGreaterThan(5);
    expect(only.every(name => name.startsWith('llm.model.layers.1.'))).toBe(true);
    const both = trainedNames({
      train: [
        'sampler',
        { group: 'encoder', only: ['layers?\\.0\\.', 'embeddings'], except: ['bias', 'norm'] },
      ],
    });
    const encoder = both.filter(name => name.startsWith('encoder.'));
    expect(encoder.length).toBeGreaterThan(5);
    for (const name of encoder) expect(name).toMatch(/^(?!.*(bias|norm)).*(layers?\.0\.|embeddings)/);
    expect(both.some(name => name.startsWith('sampler.'))).toBe(true);
  });

  it('of the longest entry decide, whatever a shorter one says', () => {
    const names = trainedNames({ train: ['llm', { group: 'llm.model.layers', except: 'mlp' }] });
    expect(names).toContain('llm.lm_head.weight');
    expect(names.some(name => name.includes('mlp'))).toBe(false);
    expect(names.some(name => name.includes('self_attn'))).toBe(true);
  });

  it('that match nothing are refused with near names', () => {
    expect(refusal({ train: [{ group: 'llm', only: 'layer\\.1\\.' }] })).toMatchInlineSnapshot(`
      "train: llm, only: "layer\\.1\\." matches none of 21 names
        near it: llm.model.layers.0.input_layernorm.weight, llm.model.layers.0.mlp.up_proj.weight, llm.model.layers.0.mlp.gate_proj.weight, llm.model.layers.0.mlp.down_proj.weight, llm.model.layers.0.self_attn.q_proj.weight"
    `);
    expect(refusal({ train: [{ group: 'llm', except: 'lm_haed' }] })).toMatchInlineSnapshot(`
      "train: llm, except: "lm_haed" matches none of 21 names
        near it: llm.lm_head.weight, llm.model.embed_tokens.weight, llm.model.norm.weight, llm.model.layers.0.input_layernorm.weight, llm.model.layers.0.mlp.up_proj.weight"
    `);
    expect(refusal({ train: [{ group: 'llm', only: '[' }] })).toContain('"[" is no regular expression');
    expect(refusal({ train: [{ group: 'llm', only: 'norm', except: 'norm' }] })).toContain('leave none of');
    const undecayed = { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1, clip_norm: 1 } as const;
    expect(refusal({ train: ['sampler'], optimizer: { ...undecayed, no_decay: 'embed_tokens' } })).toContain(
      'optimizer.no_decay: "embed_tokens" matches none of',
    );
  });

  it('spare matrices from decay', () => {
    const optimizer = { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1, clip_norm: 1 } as const;
    const { plan: made, stage } = plan({
      train: ['llm'],
      optimizer: { ...optimizer, no_decay: ['embed_tokens'] },
    });
    const decayOf = new Map(
      made.banks.flatMap(bank => bank.parameters.map(p => [p.name, bank.weightDecay] as const)),
    );
    expect(decayOf.get('llm.model.embed_tokens.weight')).toBe(0);
    expect(decayOf.get('llm.lm_head.weight')).toBe(0.1);
    expect(decayOf.get('llm.model.norm.weight')).toBe(0);
    expect(freezeNotes(freezeTable(made, stage))).toEqual([
      'not decayed: 5 tensors of rank 0 and 1, and by optimizer.no_decay llm.model.embed_tokens.weight',
    ]);
  });
});
