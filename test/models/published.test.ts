import { describe, expect, it } from 'vitest';
import type { ModelConfig } from '../../src/models/config.ts';
import { parameterCounts } from '../../src/models/count.ts';
import { tinyConfig } from '../helpers/tiny-ferret.ts';

/** Ferret-v2-7B as far as it is published: CLIP ViT-L/14 at 336 pixels, DINOv2 ViT-L/14, Vicuna-7B. */
const published: ModelConfig = {
  ...tinyConfig,
  image: { ...tinyConfig.image, side: 336 },
  global_encoder: {
    hidden_size: 1024,
    intermediate_size: 4096,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    image_size: 336,
    patch_size: 14,
    hidden_act: 'quick_gelu',
    layer_norm_eps: 1e-5,
    feature_layer: -2,
  },
  local_encoder: {
    ...tinyConfig.local_encoder,
    hidden_size: 1024,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    mlp_ratio: 4,
    image_size: 518,
    patch_size: 14,
    num_register_tokens: 4,
  },
  sampler: {
    points: 512,
    blocks: [
      { points: 128, neighbors: 24 },
      { points: 32, neighbors: 24 },
    ],
    pooling: 'max',
  },
  llm: {
    ...tinyConfig.llm,
    vocab_size: 32000,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    head_dim: 128,
  },
};

describe('parameterCounts', () => {
  it('equals the published networks', () => {
    const { pretraining: _, ...config } = published;
    expect(Object.fromEntries(parameterCounts(config))).toEqual({
      'encoder.global': 303_507_456,
      'encoder.local': 304_372_736,
      'projector.global': 20_979_712,
      'projector.local': 20_979_712,
      sampler: 44_069_900,
      llm: 6_738_415_616,
    });
  });

  it('equals the sampler on projected maps', () => {
    const { pretraining: _, ...config } = published;
    const counts = parameterCounts({
      ...config,
      referring: { ...config.referring, features: 'projected' },
    });
    expect(counts.get('sampler')).toBe(654_417_932);
  });
});
