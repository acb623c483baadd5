import { beforeAll, describe, expect, it } from 'vitest';
import { tensorCount } from '../../src/engine/memory.ts';
import { composedOnly } from '../../src/engine/native-ops.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { tinyBatch, tinyContrastive } from '../helpers/tiny-ferret.ts';
import { expectClose, recipeWith, train } from './techniques.ts';

beforeAll(startTestEngine);

describe('checkpoint_activations', () => {
  const all = ['llm', 'encoder', 'text_encoder'];
  const everything = ['llm', 'encoder', 'projector', 'sampler'];

  it.each([
    ['everything trains', everything, all],
    ['one encoder is computed again', everything, ['encoder.local']],
    ['a frozen language model lies behind what trains', ['projector'], ['llm']],
    ['a module is named that does not train', ['llm'], all],
  ])('gives the same gradients where %s', (_, trained, modules) => {
    const batch = tinyBatch();
    const plain = train(recipeWith({ train: trained }), [[batch]]);
    const before = tensorCount();
    const again = train(recipeWith({ train: trained, checkpoint_activations: modules }), [[batch], [batch]]);
    expectClose(again.gradients, plain.gradients, 1e-6);
    expect(again.losses[0]).toBeCloseTo(plain.losses[0] as number, 6);
    again.dispose();
    expect(tensorCount()).toBe(before);
    plain.dispose();
  });

  it('gives the same gradients to contrastive pretraining, text tower included', () => {
    const recipe = { train: ['encoder', 'text_encoder', 'contrastive'] };
    const batch = tinyContrastive();
    const plain = train(recipeWith(recipe), [[batch]]);
    const again = train(recipeWith({ ...recipe, checkpoint_activations: all }), [[batch]]);
    expectClose(again.gradients, plain.gradients, 1e-6);
    plain.dispose();
    again.dispose();
  });

  it('works on composed operations', () =>
    composedOnly(() => {
      const batch = tinyBatch();
      const plain = train(recipeWith({ train: everything }), [[batch]]);
      const again = train(recipeWith({ train: everything, checkpoint_activations: all }), [[batch]]);
      expectClose(again.gradients, plain.gradients, 1e-6);
      plain.dispose();
      again.dispose();
    }));
});
