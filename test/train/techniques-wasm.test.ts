/** The techniques on WebAssembly, where ops run one by one and random numbers come from JavaScript. */
import { beforeAll, expect, it } from 'vitest';
import { startEngine } from '../../src/engine/engine.ts';
import { statelessUniform } from '../../src/engine/random-ops.ts';
import * as tf from '../../src/engine/tf.ts';
import { tinyBatch } from '../helpers/tiny-ferret.ts';
import { expectClose, recipeWith, train, valuesOf } from './techniques.ts';

beforeAll(() => startEngine({ engine: 'wasm', device: 'cpu' }));

it('adapters with dropout train the same with and without activation checkpointing', () => {
  const recipe = {
    train: ['projector', 'encoder.local'],
    lora: [{ module: 'llm', rank: 2, dropout: 0.3 }],
    lr_decay: { 'encoder.local': 0.5 },
    ema: { decay: 0.9 },
  };
  const batches = Array(2).fill([tinyBatch()]);
  const plain = train(recipeWith(recipe), batches);
  const again = train(recipeWith({ ...recipe, checkpoint_activations: ['llm', 'encoder'] }), batches);
  expect(again.losses).toEqual(plain.losses);
  expectClose(again.gradients, plain.gradients, 1e-6);
  expectClose(valuesOf(again.model), valuesOf(plain.model), 1e-6);
  plain.dispose();
  again.dispose();
});

it("gives TensorFlow's numbers for a seed", () => {
  // tf.random.stateless_uniform([5], seed=[1, 2])
  const seed = tf.tensor1d([1, 2], 'int32');
  const numbers = statelessUniform([5], seed).dataSync();
  expect(Array.from(numbers)).toMatchInlineSnapshot(`
    [
      0.8440604209899902,
      0.19204533100128174,
      0.9962232112884521,
      0.16038739681243896,
      0.27199018001556396,
    ]
  `);
});
