import type { ModelConfig } from '../../src/models/config.ts';

/** A whole Ferret of a few ten thousand parameters: every kind of part, different widths, unequal patch grids. */
export function tinyModel(overrides: Partial<ModelConfig> = {}): ModelConfig {
  const encoder = {
    hidden_size: 16,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    image_size: 16,
    hidden_act: 'gelu',
    layer_norm_eps: 1e-6,
    feature_layer: -1,
  } as const;
  return {
    name: 'tiny',
    tokenizer: 'tokenizer.json',
    image: {
      side: 16,
      grids: [
        [1, 1],
        [2, 1],
        [1, 2],
        [2, 2],
      ],
      resize: 'stretch',
    },
    global_encoder: { ...encoder, intermediate_size: 24, patch_size: 4, hidden_act: 'quick_gelu' },
    local_encoder: {
      ...encoder,
      patch_size: 8,
      mlp_ratio: 2,
      layerscale_value: 1,
      use_swiglu_ffn: false,
      qkv_bias: true,
      num_register_tokens: 0,
    },
    projector: { kind: 'mlp2x_gelu', positions: 'sincos2d' },
    sampler: {
      points: 12,
      blocks: [
        { points: 6, neighbors: 4 },
        { points: 3, neighbors: 3 },
      ],
      pooling: 'max',
    },
    referring: { features: 'encoder', upsample: 'nearest', point_radius: 2 },
    layout: { order: 'global-local' },
    coordinates: { bins: 100 },
    llm: {
      vocab_size: 50,
      hidden_size: 20,
      intermediate_size: 36,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 6,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      hidden_act: 'silu',
      attention_bias: false,
      tie_word_embeddings: false,
      max_position_embeddings: 128,
    },
    template: 'plain',
    system: '',
    max_length: 64,
    ...overrides,
  };
}
