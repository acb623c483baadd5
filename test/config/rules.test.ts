import { describe, expect, test } from 'vitest';
import { editDistance, nearest } from '../../src/config/issues.ts';
import { largestVisualLength } from '../../src/config/model-rules.ts';
import { checkRules } from '../../src/config/rules.ts';
import { loadSample } from './sample.ts';

// What each rule refuses, and in which words, is in complaints.test.ts; here is what stands just on the right side.
describe('rules let pass', () => {
  test.each([
    ['a side that both patch sizes divide', ['model.image.side=32', 'model.global_encoder.patch_size=16']],
    ['heads as many as the width', ['model.global_encoder.num_attention_heads=64']],
    ['an explicit even head', ['model.llm.hidden_size=100', 'model.llm.head_dim=32']],
    ['one key and value head', ['model.llm.num_key_value_heads=1']],
    [
      'the first and the last hidden state',
      ['model.global_encoder.feature_layer=-3', 'model.local_encoder.feature_layer=2'],
    ],
    ['a block that keeps all points and gathers all', ['model.sampler.blocks=[{points: 32, neighbors: 32}]']],
    ['room for exactly sixteen text tokens', ['model.max_length=64']],
    [
      'a shorter sequence where tiles are not used',
      ['model.max_length=32', 'views=global', 'train=projector.global,sampler'],
    ],
    ['a module and one of its parts', ['train=projector,projector.local,sampler']],
    ['a rate for each group', ['lr={projector: 1e-3, sampler: 1e-4}']],
    [
      'different widths with projected maps and no copy',
      ['model.local_encoder.hidden_size=32', 'model.referring.features=projected', 'copy=[]'],
    ],
    ['the sampler on the global view alone', ['views=global', 'train=sampler', 'copy=[]']],
    ['an earlier stage', ['from=stage0']],
    ['packed rows', ['batch.packing={length: 512}', 'on_bad_sample=skip']],
    ['batches of like length', ['batch.bucket={}', 'data.0.rounds=2']],
    ['scene text for the language model', ['train=llm', 'copy=[]', 'data.0.task=scene-text']],
  ])('%s', (_, overrides) => {
    expect(checkRules(loadSample({}, { overrides }))).toEqual([]);
  });
});

test('visual tokens are the global view and every tile of the largest grid', () => {
  expect(largestVisualLength(loadSample())).toBe(16 + 2 * 16);
  expect(largestVisualLength(loadSample({}, { overrides: ['views=global'] }))).toBe(16);
});

describe('nearest', () => {
  test.each([
    ['stpes', 'steps'],
    ['STEPS', 'steps'],
    ['weigth_decay', 'weight_decay'],
    ['xyz', undefined],
  ])('%s means %s', (word, expected) => {
    expect(nearest(word, ['steps', 'stage', 'weight_decay'])).toBe(expected);
  });

  test('distance counts a swap of neighbours once', () => {
    expect(editDistance('stpes', 'steps')).toBe(1);
    expect(editDistance('', 'abc')).toBe(3);
    expect(editDistance('kitten', 'sitting')).toBe(3);
  });
});
