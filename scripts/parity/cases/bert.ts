import { z } from 'zod';
import * as tf from '../../../src/engine/tf.ts';
import { Bert } from '../../../src/models/bert.ts';
import { ParameterTree } from '../../../src/nn/parameter.ts';
import { type FixtureCase, input, tensorOf } from '../case.ts';
import { bertBlock } from '../config.ts';
import { loadWeights, Results } from '../results.ts';

const bertConfig = z.object({
  ...bertBlock,
  vocab_size: z.number(),
  max_position_embeddings: z.number(),
  type_vocab_size: z.number(),
});

/** BertModel: last hidden state, pooling, gradients of both against given directions. */
export function runBert(fixture: FixtureCase): Results {
  const results = new Results();
  const tree = new ParameterTree();
  const model = new Bert(tree.root, bertConfig.parse(fixture.config));
  loadWeights(tree, fixture);
  tf.tidy(() => {
    const read = (name: string): tf.Tensor2D => tensorOf(input(fixture, name)) as tf.Tensor2D;
    const [ids, types] = [read('in.input_ids'), read('in.token_type_ids')];
    const visible = read('in.attention_mask');
    const cotangent = input(fixture, 'in.cotangent');
    const [texts = 0, , width = 0] = cotangent.shape;
    const direction = tf.reshape(tensorOf(cotangent), [-1, width]);
    const pooledDirection = read('in.cotangent_pooled');
    const hidden = (): tf.Tensor2D => model.apply(ids, types, visible);
    results.add('out.last_hidden_state', hidden(), cotangent.shape);
    results.add('out.pooler_output', model.pooled(hidden(), texts));
    const loss = (): tf.Scalar => {
      const x = hidden();
      const pooled = tf.sum(tf.mul(model.pooled(x, texts), pooledDirection));
      return tf.add(tf.sum(tf.mul(x, direction)), pooled);
    };
    results.addGradients(loss, tree, {});
  });
  tree.dispose();
  return results;
}
