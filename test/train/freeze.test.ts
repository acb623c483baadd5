import { describe, expect, it } from 'vitest';
import { zeros } from '../../src/nn/init.ts';
import { ParameterTree } from '../../src/nn/parameter.ts';
import { planTraining } from '../../src/train/freeze.ts';
import type { StageRecipe } from '../../src/train/recipe.ts';

function tree(): ParameterTree {
  const t = new ParameterTree();
  for (const name of [
    'encoder.global.w',
    'encoder.local.w',
    'encoder.local.mask_token',
    'projector.global.0.weight',
  ]) {
    t.root.parameter(name, [2, 3], zeros);
  }
  t.root.parameter('projector.global.0.bias', [2], zeros);
  t.root.parameter('projector.local.0.weight', [2, 3], zeros);
  t.root.parameter('sampler.norm', [4], zeros);
  t.root.parameter('llm.model.w', [5, 5], zeros);
  return t;
}

function stage(train: string[], lr: StageRecipe['lr'] = 1e-3): StageRecipe {
  return {
    stage: 2,
    name: 'test',
    from: null,
    train,
    copy: [],
    lr,
    optimizer: { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1, clip_norm: 1 },
    schedule: { kind: 'constant', warmup: 0, floor: 0 },
    views: 'global',
    grounding_prompt: '',
    data: [],
    batch: { samples: 1, accumulate: 1 },
    steps: 1,
    seed: 0,
    log: { every: 1 },
    checkpoint: { every: 1, keep: 1 },
    eval: { every: 0, samples: 1, data: [] },
  };
}

const names = (train: string[], lr?: StageRecipe['lr'], unused: string[] = []) =>
  planTraining(tree(), stage(train, lr), new Set(unused)).banks.map(b => [
    b.group,
    b.peakLr,
    b.weightDecay,
    b.parameters.map(p => p.name),
  ]);

describe('planTraining', () => {
  it('puts matrices and vectors of an entry in banks of their own, decay on matrices only', () => {
    expect(names(['projector', 'sampler'])).toEqual([
      ['projector', 1e-3, 0.1, ['projector.global.0.weight', 'projector.local.0.weight']],
      ['projector', 1e-3, 0, ['projector.global.0.bias']],
      ['sampler', 1e-3, 0, ['sampler.norm']],
    ]);
  });

  it('gives a parameter to the longest entry that names it', () => {
    expect(names(['encoder', 'encoder.local'], { encoder: 1, 'encoder.local': 2 })).toEqual([
      ['encoder', 1, 0.1, ['encoder.global.w']],
      ['encoder.local', 2, 0.1, ['encoder.local.w', 'encoder.local.mask_token']],
    ]);
  });

  it('partitions the parameters, with those no loss reads among the frozen', () => {
    const plan = planTraining(tree(), stage(['encoder']), new Set(['encoder.local.mask_token']));
    const trained = plan.banks.flatMap(b => b.parameters.map(p => p.name));
    const frozen = plan.frozen.map(p => p.name);
    expect([...trained, ...frozen].sort()).toEqual(
      tree()
        .all.map(p => p.name)
        .sort(),
    );
    expect(frozen).toContain('encoder.local.mask_token');
    expect(plan.modules).toEqual([
      { group: 'encoder.global', parameters: 6, trainable: 6, lr: 1e-3, weightDecay: 0.1 },
      { group: 'encoder.local', parameters: 12, trainable: 6, lr: 1e-3, weightDecay: 0.1 },
      { group: 'projector.global', parameters: 8, trainable: 0, lr: 0 },
      { group: 'projector.local', parameters: 6, trainable: 0, lr: 0 },
      { group: 'sampler', parameters: 4, trainable: 0, lr: 0 },
      { group: 'llm', parameters: 25, trainable: 0, lr: 0 },
    ]);
  });

  it('refuses an entry that matches nothing, an empty list and a missing rate', () => {
    expect(() => names(['samplr'])).toThrow('train: "samplr" matches no parameter of the model');
    expect(() => names(['encod'])).toThrow('matches no parameter');
    expect(() => names([])).toThrow('trains nothing');
    expect(() => names(['sampler'], { llm: 1 })).toThrow(
      'trains "sampler" but gives no learning rate for it',
    );
  });
});

describe('banks', () => {
  it('are cut before a vector grows longer than an engine can count', () => {
    const large = new ParameterTree();
    for (const name of ['a', 'b', 'c', 'd']) large.root.parameter(`llm.${name}`, [2 ** 14, 2 ** 15], zeros);
    large.root.parameter('llm.whole', [2 ** 16, 2 ** 15], zeros);
    large.root.parameter('llm.last', [2, 2], zeros);
    const { banks } = planTraining(large, stage(['llm']), new Set());
    expect(banks.map(bank => bank.parameters.map(p => p.name.slice(4)))).toEqual([
      ['a', 'b'],
      ['c', 'd'],
      // One parameter is never cut.
      ['whole'],
      ['last'],
    ]);
    expect(new Set(banks.map(bank => bank.group))).toEqual(new Set(['llm']));
  });
});
