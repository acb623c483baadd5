import { z } from 'zod';
import * as tf from '../../../src/engine/tf.ts';
import { QFormer } from '../../../src/models/qformer.ts';
import { firstTokens } from '../../../src/models/visual-tokens.ts';
import { ParameterTree } from '../../../src/nn/parameter.ts';
import { type FixtureCase, input, tensorOf } from '../case.ts';
import { bertBlock } from '../config.ts';
import { loadWeights, Results } from '../results.ts';

const qformerConfig = z.object({
  ...bertBlock,
  encoder_hidden_size: z.number(),
  cross_attention_frequency: z.number(),
  use_qformer_text_input: z.boolean().default(false),
});

/**
 * Blip2QFormerModel with and without a mask over the encoder, and gradients. Where the case has `in.text_embeds` and
 * `in.text_attention_mask`, the text runs along with the queries.
 */
export function runQFormer(fixture: FixtureCase): Results {
  const results = new Results();
  const tree = new ParameterTree();
  const model = new QFormer(tree.root, qformerConfig.parse(fixture.config));
  loadWeights(tree, fixture);
  tf.tidy(() => {
    const query_embeds = tensorOf(input(fixture, 'in.query_embeds')) as tf.Tensor3D;
    const encoder_hidden_states = tensorOf(input(fixture, 'in.encoder_hidden_states')) as tf.Tensor3D;
    const visible = tensorOf(input(fixture, 'in.encoder_attention_mask')) as tf.Tensor2D;
    const cotangent = input(fixture, 'in.cotangent');
    const batch = query_embeds.shape[0];
    const withText = fixture.io.has('in.text_embeds');
    const text_embeds = withText ? (tensorOf(input(fixture, 'in.text_embeds')) as tf.Tensor3D) : undefined;
    const textVisible = withText ? tensorOf(input(fixture, 'in.text_attention_mask')) : undefined;
    const apply = (encoderVisible: tf.Tensor2D | null): tf.Tensor2D =>
      model.apply({
        batch,
        queries: rowsOf(query_embeds),
        encoder: rowsOf(encoder_hidden_states),
        encoderVisible,
        ...(text_embeds && { text: { embedded: rowsOf(text_embeds), visible: textVisible as tf.Tensor2D } }),
      });
    results.add('out.last_hidden_state', apply(visible), cotangent.shape);
    results.add('out.pooler_output', firstTokens(apply(visible), batch));
    results.add('out.nomask.last_hidden_state', apply(null), cotangent.shape);
    const direction = rowsOf(tensorOf(cotangent) as tf.Tensor3D);
    results.addGradients(() => tf.sum(tf.mul(apply(visible), direction)), tree, {
      query_embeds,
      encoder_hidden_states,
      ...(text_embeds && { text_embeds }),
    });
  });
  tree.dispose();
  return results;
}

function rowsOf(x: tf.Tensor3D): tf.Tensor2D {
  const [batch, length, width] = x.shape;
  return tf.reshape(x, [batch * length, width]);
}
