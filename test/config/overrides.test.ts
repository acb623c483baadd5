import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readOverrides } from '../../src/config/overrides.ts';
import { loadSample } from './sample.ts';

const set = (...overrides: string[]) => loadSample({}, { overrides });

describe('--set takes its type from the schema', () => {
  test.each([
    ['lr=1e-4', { lr: 1e-4 }],
    ['lr={projector: 1e-3, sampler: 1e-4}', { lr: { projector: 1e-3, sampler: 1e-4 } }],
    ['steps=30', { steps: 30 }],
    ['name=2024', { name: '2024' }],
    ['name=a: b', { name: 'a: b' }],
    ['from=null', { from: null }],
    ['batch.samples=4', { batch: { samples: 4, accumulate: 1 } }],
    ['schedule.kind=constant', { schedule: { kind: 'constant', warmup: 0.03, floor: 0 } }],
    [
      'optimizer.betas=[0.8, 0.9]',
      { optimizer: { betas: [0.8, 0.9], eps: 1e-8, weight_decay: 0, clip_norm: 1 } },
    ],
    [
      'optimizer.betas.1=0.95',
      { optimizer: { betas: [0.9, 0.95], eps: 1e-8, weight_decay: 0, clip_norm: 1 } },
    ],
    ['train=projector,sampler', { train: ['projector', 'sampler'] }],
    ['train=[projector, sampler]', { train: ['projector', 'sampler'] }],
    ['grounding_prompt=', { grounding_prompt: '' }],
    ['eval.data=[]', { eval: { every: 0, samples: 64, data: [] } }],
  ])('%s', (flag, expected) => {
    // A list over a default needs its other entries: the defaults are written out first where the case names a position.
    const before = flag.startsWith('optimizer.betas.') ? ['optimizer.betas=[0.9, 0.999]'] : [];
    expect(set(...before, flag).stage).toMatchObject(expected);
  });

  test('reaches into lists and into the model', () => {
    const { stage, model } = set('data.0.weight=3', 'model.llm.hidden_size=32', 'model.image.grids=[[1, 1]]');
    expect(stage.data).toMatchObject([{ task: 'dense-referring', weight: 3 }]);
    expect(model.llm).toMatchObject({ hidden_size: 32, head_dim: 8, intermediate_size: 128 });
    expect(model.image.grids).toEqual([[1, 1]]);
  });

  test('adds one to the end of a list', () => {
    const { stage } = set('data.1.dataset=data/coco', 'data.1.task=reg');
    expect(stage.data.map(({ task, weight }) => ({ task, weight }))).toEqual([
      { task: 'dense-referring', weight: 1 },
      { task: 'reg', weight: 1 },
    ]);
  });

  test('keeps the dots of a group name', () => {
    const { stage } = set(
      'train=projector.global,sampler',
      'lr={projector.global: 1e-3, sampler: 1e-3}',
      'lr.projector.global=5e-4',
    );
    expect(stage.lr).toEqual({ 'projector.global': 5e-4, sampler: 1e-3 });
  });

  test('the last of two wins', () => {
    expect(set('steps=1', 'steps=2').stage.steps).toBe(2);
  });
});

test('any finite positive rate survives the way through text', () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-12, max: 10, noNaN: true }), rate => {
      const { overrides, problems } = readOverrides([`lr=${rate}`]);
      expect(problems).toEqual([]);
      expect(overrides).toMatchObject([{ key: ['lr'], value: rate }]);
    }),
  );
});

describe('--data and --eval-data', () => {
  const sources = { overrides: ['eval.data=[{dataset: data/scenes/val, task: rec}]', 'data.1.task=reg'] };
  const datasets = (options: { data?: string; evalData?: string }, ...more: string[]) => {
    const { stage } = loadSample({}, { cwd: '/w', ...options, overrides: [...sources.overrides, ...more] });
    return [...stage.data, ...stage.eval.data].map(source => source.dataset);
  };

  test('--data is the dataset of every source, also of one that --set adds', () => {
    expect(datasets({ data: 'coco' })).toEqual(['/w/coco', '/w/coco', '/w/coco']);
  });

  test('--eval-data is that of the held-out sources', () => {
    expect(datasets({ data: 'coco', evalData: 'val' })).toEqual(['/w/coco', '/w/coco', '/w/val']);
    expect(datasets({ evalData: 'val' }, 'data.1.dataset=own')).toEqual([
      '/w/data/scenes/train',
      '/w/own',
      '/w/val',
    ]);
  });

  test('--set of one source stands', () => {
    expect(datasets({ data: 'coco' }, 'data.1.dataset=own')).toEqual(['/w/coco', '/w/own', '/w/coco']);
  });

  test('a list that is none is left to the schema', () => {
    expect(() => loadSample({}, { data: 'coco', overrides: ['data={}'] })).toThrow(/data: expected/);
    expect(() => loadSample({}, { data: 'coco', overrides: ['data=[5]'] })).toThrow(/data.0: expected/);
  });
});
