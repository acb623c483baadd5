import { beforeAll, describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import type { QFormerConfig } from '../../src/models/config.ts';
import { QFormer } from '../../src/models/qformer.ts';
import { ParameterTree } from '../../src/nn/parameter.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { expectClose, randomTensor } from '../helpers/numbers.ts';

const config: QFormerConfig = {
  hidden_size: 12,
  intermediate_size: 20,
  num_hidden_layers: 3,
  num_attention_heads: 3,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-12,
  encoder_hidden_size: 8,
  cross_attention_frequency: 2,
  use_qformer_text_input: true,
};

beforeAll(startTestEngine);

function build(changes: Partial<QFormerConfig> = {}): {
  readonly tree: ParameterTree;
  readonly model: QFormer;
} {
  const tree = new ParameterTree();
  const model = new QFormer(tree.root, { ...config, ...changes });
  tree.allocate(1);
  return { tree, model };
}

describe('the Q-Former', () => {
  it('declares cross-attention in every other block, and no text weights without text', () => {
    const { tree } = build({ use_qformer_text_input: false });
    const names = tree.all.map(p => p.name);
    const crossing = [0, 1, 2].filter(i =>
      names.some(n => n.startsWith(`encoder.layer.${i}.crossattention.`)),
    );
    expect(crossing).toEqual([0, 2]);
    expect(names.some(n => /\.(intermediate|output)\.dense/.test(n) && !n.includes('attention'))).toBe(false);
    tree.dispose();
  });

  it('sees nothing of hidden features, nor of padded text', () => {
    const { tree, model } = build();
    tf.tidy(() => {
      const queries = randomTensor<tf.Tensor2D>('queries', [2 * 3, 12]);
      const encoderVisible = tf.tensor2d([1, 1, 1, 1, 1, 1, 0, 0], [2, 4]);
      const visible = tf.tensor2d([1, 1, 1, 0], [2, 2]);
      const run = (features: string, text: string): tf.Tensor => {
        const shown = tf.reshape(encoderVisible, [8, 1]);
        const read = tf.reshape(visible, [4, 1]);
        const other = tf.sub(1, shown);
        const encoder = tf.add(
          tf.mul(randomTensor('features', [8, 8]), shown),
          tf.mul(randomTensor(features, [8, 8]), other),
        ) as tf.Tensor2D;
        const embedded = tf.add(
          tf.mul(randomTensor('text', [4, 12]), read),
          tf.mul(randomTensor(text, [4, 12]), tf.sub(1, read)),
        ) as tf.Tensor2D;
        const all = model.apply({ batch: 2, queries, encoder, encoderVisible, text: { embedded, visible } });
        return tf.slice(tf.reshape(all, [2, 5, 12]), [0, 0, 0], [2, 3, 12]);
      };
      expectClose(run('these', 'these'), run('those', 'those'), 1e-6);
    });
    tree.dispose();
  });

  it('refuses text that it has no weights for', () => {
    const { tree, model } = build({ use_qformer_text_input: false });
    tf.tidy(() => {
      const text = { embedded: tf.zeros([2, 12]) as tf.Tensor2D, visible: tf.ones([1, 2]) as tf.Tensor2D };
      const queries = tf.zeros([3, 12]) as tf.Tensor2D;
      const encoder = tf.zeros([4, 8]) as tf.Tensor2D;
      expect(() => model.apply({ batch: 1, queries, encoder, encoderVisible: null, text })).toThrow(
        /takes no text/,
      );
    });
    tree.dispose();
  });
});
