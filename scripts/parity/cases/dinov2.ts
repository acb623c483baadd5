import { z } from 'zod';
import * as tf from '../../../src/engine/tf.ts';
import { Dinov2 } from '../../../src/models/dinov2.ts';
import { firstTokens } from '../../../src/models/visual-tokens.ts';
import { ParameterTree } from '../../../src/nn/parameter.ts';
import { type FixtureCase, input, tensorOf } from '../case.ts';
import { activation } from '../config.ts';
import { loadWeights, Results } from '../results.ts';

const dinov2Config = z.object({
  hidden_size: z.number(),
  num_hidden_layers: z.number(),
  num_attention_heads: z.number(),
  mlp_ratio: z.number(),
  image_size: z.number(),
  patch_size: z.number(),
  hidden_act: activation,
  layer_norm_eps: z.number(),
  layerscale_value: z.number(),
  use_swiglu_ffn: z.boolean(),
  qkv_bias: z.boolean(),
  num_register_tokens: z.number().default(0),
});

/** Dinov2Model at its own and at another resolution: hidden states and gradients of sum(last_hidden_state · cotangent). */
export function runDinov2(fixture: FixtureCase): Results {
  const results = new Results();
  const tree = new ParameterTree();
  const model = new Dinov2(tree.root, dinov2Config.parse(fixture.config));
  loadWeights(tree, fixture, ['embeddings.mask_token']);
  const runs = [...fixture.io.keys()].flatMap(name => /^in\.(.+)\.pixel_values$/.exec(name)?.[1] ?? []);
  for (const run of runs) {
    tf.tidy(() => {
      const pixels = tensorOf(input(fixture, `in.${run}.pixel_values`)) as tf.Tensor4D;
      const cotangent = input(fixture, `in.${run}.cotangent`);
      const states = model.hiddenStates(pixels);
      const normalized = model.normalized(states[states.length - 1] as tf.Tensor2D);
      results.add(`out.${run}.pooler_output`, firstTokens(normalized, pixels.shape[0]));
      results.add(`out.${run}.last_hidden_state`, normalized, cotangent.shape);
      for (const [i, state] of states.entries()) {
        results.add(`out.${run}.hidden_states.${i}`, tf.clone(state), cotangent.shape);
      }
      const direction = tf.reshape(tensorOf(cotangent), [-1, cotangent.shape[2] ?? 0]);
      const loss = (): tf.Scalar => {
        const all = model.hiddenStates(pixels);
        return tf.sum(tf.mul(model.normalized(all[all.length - 1] as tf.Tensor2D), direction));
      };
      results.addGradients(loss, tree, { pixel_values: pixels }, `${run}.`);
    });
  }
  tree.dispose();
  return results;
}
