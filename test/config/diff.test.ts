import { expect, test } from 'vitest';
import { diffRecipes } from '../../src/config/diff.ts';
import { loadSample } from './sample.ts';

/** Two recipes in the same folder, so that their absolute paths agree. */
function changed(...overrides: string[]) {
  const before = loadSample({}, { cwd: '/nowhere' });
  return diffRecipes(
    before,
    loadSample(
      {},
      { cwd: '/nowhere', overrides: [...overrides, `model.tokenizer=${before.model.tokenizer}`] },
    ),
  );
}

test('equal recipes do not differ', () => {
  expect(changed()).toEqual([]);
});

test('what changes the result of going on matters', () => {
  expect(changed('lr=1e-3', 'model.llm.hidden_size=32', 'data.0.weight=2')).toEqual([
    { key: 'lr', before: 2e-4, after: 1e-3, matters: true },
    { key: 'data.0.weight', before: 1, after: 2, matters: true },
    { key: 'model.llm.hidden_size', before: 96, after: 32, matters: true },
    { key: 'model.llm.head_dim', before: 24, after: 8, matters: true },
  ]);
});

test('how a run is watched and kept does not matter', () => {
  const differences = changed('log.every=1', 'checkpoint.keep=9', 'eval.every=5', 'name=other');
  expect(differences.map(({ key, matters }) => ({ key, matters }))).toEqual([
    { key: 'name', matters: false },
    { key: 'log.every', matters: false },
    { key: 'checkpoint.keep', matters: false },
    { key: 'eval.every', matters: false },
  ]);
});

test('lists of different lengths and values of different kinds are shown whole', () => {
  expect(
    changed(
      'train=projector.global,projector.local,sampler',
      'lr={projector.global: 1e-3, projector.local: 1e-3, sampler: 1e-3}',
    ),
  ).toMatchObject([
    { key: 'train.0', before: 'projector', after: 'projector.global' },
    { key: 'train.1', before: 'sampler', after: 'projector.local' },
    { key: 'train.2', before: undefined, after: 'sampler' },
    { key: 'lr', before: 2e-4, after: { 'projector.global': 1e-3 } },
  ]);
});
