import { z } from 'zod';
import * as tf from '../../../src/engine/tf.ts';
import { ClipText, endPositions } from '../../../src/models/clip-text.ts';
import { ClipVision } from '../../../src/models/clip-vision.ts';
import { symmetricInfoNce, unitRows } from '../../../src/nn/contrast.ts';
import { zeros } from '../../../src/nn/init.ts';
import { Linear } from '../../../src/nn/linear.ts';
import { ParameterTree } from '../../../src/nn/parameter.ts';
import { type FixtureCase, input, tensorOf } from '../case.ts';
import { activation } from '../config.ts';
import { loadWeights, Results } from '../results.ts';

const tower = {
  hidden_size: z.number(),
  intermediate_size: z.number(),
  num_hidden_layers: z.number(),
  num_attention_heads: z.number(),
  hidden_act: activation,
  layer_norm_eps: z.number(),
};
const visionConfig = z.object({ ...tower, image_size: z.number(), patch_size: z.number() });
const textConfig = z.object({
  ...tower,
  vocab_size: z.number(),
  max_position_embeddings: z.number(),
  eos_token_id: z.number(),
});
const dualConfig = z.object({
  vision_config: visionConfig,
  text_config: textConfig,
  projection_dim: z.number(),
});

/** CLIPVisionModel: all hidden states, pooling, interpolated positions, gradients of sum(hidden_states[-2]²). */
export function runClipVision(fixture: FixtureCase): Results {
  const results = new Results();
  const tree = new ParameterTree();
  const model = new ClipVision(tree.root, visionConfig.parse(fixture.config));
  loadWeights(tree, fixture);
  tf.tidy(() => {
    const pixels = tensorOf(input(fixture, 'in.pixel_values')) as tf.Tensor4D;
    const batch = pixels.shape[0];
    const states = model.hiddenStates(pixels);
    const last = states[states.length - 1] as tf.Tensor2D;
    results.add('out.pooler_output', model.pooled(last, batch));
    results.add('out.last_hidden_state', tf.clone(last), perImage(last, batch));
    for (const [i, state] of states.entries()) {
      results.add(`out.hidden_states.${i}`, tf.clone(state), perImage(state, batch));
    }
    if (fixture.io.has('in.pixel_values_interp')) {
      const other = tensorOf(input(fixture, 'in.pixel_values_interp')) as tf.Tensor4D;
      const resampled = model.hiddenStates(other);
      const [first, final] = [resampled[0] as tf.Tensor2D, resampled[resampled.length - 1] as tf.Tensor2D];
      results.add('out.interp.hidden_states.0', tf.clone(first), perImage(first, other.shape[0]));
      results.add('out.interp.last_hidden_state', tf.clone(final), perImage(final, other.shape[0]));
    }
    const used = model.blocks.length - 1;
    results.addGradients(
      () => tf.sum(tf.square(model.hiddenStates(pixels, used)[used] as tf.Tensor)) as tf.Scalar,
      tree,
      { pixel_values: pixels },
    );
  });
  tree.dispose();
  return results;
}

/** CLIPModel: both embeddings, logits, contrastive loss and its gradients. */
export function runClipDual(fixture: FixtureCase): Results {
  const config = dualConfig.parse(fixture.config);
  const results = new Results();
  const tree = new ParameterTree();
  const { root } = tree;
  const projection = (name: string, inputs: number): Linear =>
    new Linear(root.at(name), inputs, config.projection_dim, { bias: false });
  const vision = new ClipVision(root, config.vision_config);
  const text = new ClipText(root, config.text_config);
  const visual = projection('visual_projection', config.vision_config.hidden_size);
  const textual = projection('text_projection', config.text_config.hidden_size);
  const logitScale = root.parameter('logit_scale', [], zeros);
  loadWeights(tree, fixture);
  const ids = input(fixture, 'in.input_ids');
  const length = ids.shape[1] ?? 0;
  const ends = endPositions(ids.data, length, config.text_config.eos_token_id);
  tf.tidy(() => {
    const pixels = tensorOf(input(fixture, 'in.pixel_values')) as tf.Tensor4D;
    const tokens = tensorOf(ids) as tf.Tensor2D;
    const visible = tensorOf(input(fixture, 'in.attention_mask')) as tf.Tensor2D;
    const rows = tf.tensor1d(
      ends.map((end, i) => i * length + end),
      'int32',
    );
    const batch = pixels.shape[0];
    const imageFeatures = (): tf.Tensor2D => {
      const states = vision.hiddenStates(pixels);
      return visual.apply(vision.pooled(states[states.length - 1] as tf.Tensor2D, batch));
    };
    const textFeatures = (): tf.Tensor2D => textual.apply(text.pooled(text.apply(tokens, visible), rows));
    const logitsPerText = (): tf.Tensor2D =>
      tf.mul(
        tf.matMul(unitRows(textFeatures()), unitRows(imageFeatures()), false, true),
        tf.exp(logitScale.value),
      );
    results.add('out.text_last_hidden_state', text.apply(tokens, visible), [
      ...ids.shape,
      config.text_config.hidden_size,
    ]);
    results.add('out.image_features', imageFeatures());
    results.add('out.text_features', textFeatures());
    results.add('out.image_embeds', unitRows(imageFeatures()));
    results.add('out.text_embeds', unitRows(textFeatures()));
    results.add('out.logits_per_text', logitsPerText());
    results.add('out.logits_per_image', tf.transpose(logitsPerText()));
    results.addGradients(() => symmetricInfoNce(logitsPerText()), tree, { pixel_values: pixels });
  });
  tree.dispose();
  return results;
}

function perImage(x: tf.Tensor2D, batch: number): number[] {
  return [batch, x.shape[0] / batch, x.shape[1]];
}
