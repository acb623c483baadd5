import { z } from 'zod';
import type { Activation, LlamaConfig, ModelConfig } from '../models/config.ts';
import { flag, oneOf, positive, section, text, whole } from './values.ts';

const ACTIVATIONS = [
  'quick_gelu',
  'gelu',
  'gelu_new',
  'gelu_pytorch_tanh',
  'relu',
  'silu',
] as const satisfies readonly Activation[];

const activation = (fallback: Activation) =>
  oneOf(ACTIVATIONS).default(fallback).describe('Activation inside the feed-forward blocks.');

/** Keys that all transformers share. */
const transformer = {
  hidden_size: whole(1).describe('Width of a token.'),
  num_hidden_layers: whole(1).describe('Blocks.'),
  num_attention_heads: whole(1).describe('Attention heads; must divide the width.'),
};

const featureLayer = z
  .number('a whole number')
  .int('a whole number')
  .default(-2)
  .describe(
    'Which of the hidden states (embeddings first, then one a block) is used; negative from the end.',
  );

const imageSize = whole(1).describe('Image side, pixels, that the position table was made for.');
const patchSize = whole(1).describe('Side of a patch, pixels.');

const globalEncoder = section({
  ...transformer,
  intermediate_size: whole(1).describe('Width inside the feed-forward blocks.'),
  image_size: imageSize,
  patch_size: patchSize,
  hidden_act: activation('quick_gelu'),
  layer_norm_eps: positive().default(1e-5).describe('Added to the variance.'),
  feature_layer: featureLayer,
});

const localEncoder = section({
  ...transformer,
  mlp_ratio: positive()
    .default(4)
    .describe('Width inside the feed-forward blocks, as a multiple of the width.'),
  image_size: imageSize,
  patch_size: patchSize,
  hidden_act: activation('gelu'),
  layer_norm_eps: positive().default(1e-6).describe('Added to the variance.'),
  layerscale_value: positive().default(1).describe("First value of each block's learned output scale."),
  use_swiglu_ffn: flag().default(false).describe('SwiGLU feed-forward blocks (ViT-g).'),
  qkv_bias: flag().default(true).describe('Biases on queries, keys and values.'),
  num_register_tokens: whole(0).default(0).describe('Register tokens (DINOv2 with registers: 4).'),
  feature_layer: featureLayer,
});

const llm = section({
  vocab_size: whole(1).describe('Rows of the token embedding; at least the tokenizer’s size.'),
  ...transformer,
  intermediate_size: whole(1).describe('Width inside the feed-forward blocks.'),
  num_key_value_heads: whole(1)
    .exactOptional()
    .describe('Key and value heads; fewer than heads is grouped-query attention. Default: the heads.'),
  head_dim: whole(2).exactOptional().describe('Width of a head; even. Default: hidden_size / heads.'),
  rms_norm_eps: positive().default(1e-6).describe('Added to the mean square.'),
  rope_theta: positive().default(10000).describe('Base of the rotary position embedding.'),
  hidden_act: activation('silu'),
  attention_bias: flag().default(false).describe('Biases on queries, keys and values (Qwen2).'),
  attention_output_bias: flag()
    .exactOptional()
    .describe('A bias on the output of attention, too (Llama with attention_bias). Default: false.'),
  mlp_bias: flag().exactOptional().describe('Biases in the feed-forward blocks (Llama). Default: false.'),
  tie_word_embeddings: flag().default(false).describe('The output layer is the embedding, transposed.'),
  max_position_embeddings: whole(1).describe('Longest sequence that the model was made for.'),
}).transform(
  (keys): LlamaConfig => ({
    ...keys,
    num_key_value_heads: keys.num_key_value_heads ?? keys.num_attention_heads,
    head_dim: keys.head_dim ?? keys.hidden_size / keys.num_attention_heads,
  }),
);

const grid = z.tuple([whole(1), whole(1)], '[columns, rows]');

const image = section({
  side: whole(1).describe('Side of the global view and of a tile, pixels; a multiple of both patch sizes.'),
  grids: z
    .array(grid, 'a list of [columns, rows]')
    .min(1, 'at least one grid')
    .describe('Tile grids to choose from, [columns, rows], in order of preference on ties.'),
  resize: oneOf(['stretch', 'pad'])
    .default('stretch')
    .describe('`stretch` ignores the aspect ratio; `pad` keeps it, centred, on black.'),
});

const sampler = section({
  kind: oneOf(['spatial', 'average'])
    .exactOptional()
    .describe(
      'How points become one vector: fused with their neighbours, block by block (spatial, the default), or averaged, with blocks: [] (average).',
    ),
  points: whole(1).default(512).describe('Points drawn in a region.'),
  blocks: z
    .array(
      section({
        points: whole(1).describe('Points kept, by farthest point sampling.'),
        neighbors: whole(1).describe('Nearest points that each kept point gathers.'),
      }),
      'a list of {points, neighbors}',
    )
    .default([
      { points: 128, neighbors: 24 },
      { points: 32, neighbors: 24 },
    ])
    .describe('Rounds of sampling, gathering and pooling.'),
  pooling: oneOf(['max', 'mean']).default('max').describe('How gathered points become one.'),
}).prefault({});

const textEncoder = section({
  vocab_size: whole(1).describe('Rows of the token embedding; at least the tokenizer’s size.'),
  ...transformer,
  intermediate_size: whole(1).describe('Width inside the feed-forward blocks.'),
  max_position_embeddings: whole(1).describe('Longest text, tokens.'),
  hidden_act: activation('quick_gelu'),
  layer_norm_eps: positive().default(1e-5).describe('Added to the variance.'),
  eos_token_id: whole(0).describe('Token whose output stands for the text.'),
});

/** The keys of a model.yaml. */
export const modelSchema: z.ZodType<ModelConfig> = section({
  name: text().describe('Names the model in logs and in what is exported.'),
  tokenizer: text().describe('tokenizer.json, relative to the file that says so.'),
  image,
  global_encoder: globalEncoder.describe(
    'CLIP’s image tower, for the whole image (keys of CLIPVisionConfig).',
  ),
  local_encoder: localEncoder.describe('DINOv2, for the tiles (keys of Dinov2Config).'),
  tile_encoder: oneOf(['local_encoder', 'global_encoder'])
    .exactOptional()
    .describe(
      'Which of the two encoders reads the tiles (local_encoder); with global_encoder CLIP reads all views and DINOv2 is not run.',
    ),
  projector: section({
    kind: oneOf(['mlp2x_gelu']).default('mlp2x_gelu').describe('Linear, GELU, Linear.'),
    positions: oneOf(['none', 'sincos2d'])
      .default('none')
      .describe(
        'A fixed two-dimensional position embedding, added to projected visual tokens, which it first brings to length 1.',
      ),
  }).prefault({}),
  sampler,
  referring: section({
    features: oneOf(['encoder', 'projected'])
      .default('encoder')
      .describe('Which maps the sampler reads: encoder features (released code) or projected ones (paper).'),
    upsample: oneOf(['nearest', 'bilinear'])
      .default('nearest')
      .describe('How the global map is brought to the size of the local one.'),
    point_radius: whole(0)
      .default(5)
      .describe('Half-side, image pixels, of the square window around a point (5: 11×11).'),
  }).prefault({}),
  layout: section({
    order: oneOf(['global-local', 'local-global'])
      .default('global-local')
      .describe('Which visual tokens come first in the sequence.'),
  }).prefault({}),
  coordinates: section({
    bins: whole(2)
      .default(1000)
      .describe('Coordinates are whole numbers from 0 to bins - 1 of the image side.'),
  }).prefault({}),
  llm: llm.describe('Llama-type decoder (keys of LlamaConfig; with biases and tied embeddings a Qwen2).'),
  template: oneOf(['vicuna_v1', 'plain', 'chat'])
    .default('vicuna_v1')
    .describe(
      'How a conversation is written: Vicuna’s roles, image and answer alone, or the tokenizer’s own chat template.',
    ),
  system: z.string('text').default('').describe('Said before every conversation.'),
  max_length: whole(1).describe(
    'Longest sequence, visual tokens included; a longer sample is refused, never cut.',
  ),
  pretraining: section({
    text_encoder: textEncoder.describe('CLIP’s text tower (keys of CLIPTextConfig).'),
    projection_dim: whole(1).describe('Width of the space in which images and texts are compared.'),
    caption_weight: positive()
      .exactOptional()
      .describe('Weight of images with captions (1) against regions with phrases, whose weight is 1.'),
    shared_space: flag()
      .exactOptional()
      .describe(
        'Patches of both encoders meet phrases as they are, without projections (false). What the projector of one learns then serves the other too; projection_dim must be their hidden_size.',
      ),
    read_text: flag()
      .exactOptional()
      .describe(
        'Objects that are named by their label alone are named with the number that they show ("digit 7"), so that encoders learn to read it (false).',
      ),
  })
    .exactOptional()
    .describe('What stage 0 needs to pretrain the encoders contrastively; absent with published weights.'),
});
