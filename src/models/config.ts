/**
 * What a model is, as data. Keys of the networks are those of their Hugging Face `config.json`, so that a published
 * configuration can be pasted in; the rest are the choices that Ferret-v2's paper leaves open, each with a default.
 */

import type { ActivationName } from '../nn/activation.ts';

export type Activation = ActivationName;

/** CLIP's image tower (Hugging Face `CLIPVisionConfig`). */
export interface ClipVisionConfig {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly image_size: number;
  readonly patch_size: number;
  readonly hidden_act: Activation;
  readonly layer_norm_eps: number;
}

/** CLIP's text tower (Hugging Face `CLIPTextConfig`). */
export interface ClipTextConfig {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly max_position_embeddings: number;
  readonly hidden_act: Activation;
  readonly layer_norm_eps: number;
  readonly eos_token_id: number;
}

/** DINOv2 (Hugging Face `Dinov2Config`, and `Dinov2WithRegistersConfig` when num_register_tokens > 0). */
export interface Dinov2Config {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly mlp_ratio: number;
  readonly image_size: number;
  readonly patch_size: number;
  readonly hidden_act: Activation;
  readonly layer_norm_eps: number;
  readonly layerscale_value: number;
  readonly use_swiglu_ffn: boolean;
  readonly qkv_bias: boolean;
  readonly num_register_tokens: number;
}

/** Llama-type decoder (Hugging Face `LlamaConfig`; `attention_bias` and `tie_word_embeddings` make it a Qwen2). */
export interface LlamaConfig {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
  readonly hidden_act: Activation;
  /** Biases on the q, k and v projections (Qwen2). */
  readonly attention_bias: boolean;
  /** A bias on the output projection too, as Hugging Face's `LlamaConfig` means `attention_bias`; false by default. */
  readonly attention_output_bias?: boolean;
  /** Biases in the feed-forward blocks (Hugging Face `LlamaConfig`); false by default. */
  readonly mlp_bias?: boolean;
  readonly tie_word_embeddings: boolean;
  readonly max_position_embeddings: number;
}

/** What BERT's blocks read of a configuration; the Q-Former is made of them too. */
export interface BertBlockConfig {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly hidden_act: Activation;
  readonly layer_norm_eps: number;
}

/** BERT as a text encoder (Hugging Face `BertConfig`). */
export interface BertConfig extends BertBlockConfig {
  readonly vocab_size: number;
  readonly max_position_embeddings: number;
  readonly type_vocab_size: number;
}

/** BLIP-2's Q-Former (Hugging Face `Blip2QFormerConfig`). */
export interface QFormerConfig extends BertBlockConfig {
  /** Width of what the queries look at. */
  readonly encoder_hidden_size: number;
  /** Blocks 0, n, 2n, … look at the encoder. */
  readonly cross_attention_frequency: number;
  /** Whether text runs along with the queries, through feed-forward blocks of its own. */
  readonly use_qformer_text_input: boolean;
}

/** Ferret's spatial-aware visual sampler (facts: 512 points; blocks of 128 and 32 points, 24 neighbours; max). */
export interface SamplerConfig {
  /**
   * `spatial` (where absent) fuses points block by block; `average` takes the mean of all points and has no blocks, as Ferret's
   * ablation does.
   */
  readonly kind?: 'spatial' | 'average';
  /** Points drawn in a region. */
  readonly points: number;
  readonly blocks: readonly { readonly points: number; readonly neighbors: number }[];
  readonly pooling: 'max' | 'mean';
}

/** How an image becomes a global view and tiles. */
export interface ImageConfig {
  /** Side of the global view and of a tile, pixels. Must be a multiple of both encoders' patch sizes. */
  readonly side: number;
  /** Tile grids to choose from, [columns, rows], in order of preference on ties. */
  readonly grids: readonly (readonly [number, number])[];
  /** `stretch` ignores the aspect ratio as the released code does; `pad` keeps it, centred, black. */
  readonly resize: 'stretch' | 'pad';
}

/** A whole Ferret-v2 (arXiv 2404.07973) at any size. */
export interface ModelConfig {
  readonly name: string;
  /** tokenizer.json, absolute after the recipe is resolved. */
  readonly tokenizer: string;
  readonly image: ImageConfig;
  readonly global_encoder: ClipVisionConfig & {
    /** Index into hidden_states, -2 in LLaVA and Ferret: the input of the last block. */
    readonly feature_layer: number;
  };
  readonly local_encoder: Dinov2Config & { readonly feature_layer: number };
  /**
   * Which of the two reads the tiles; `local_encoder` where absent. `global_encoder`: CLIP sees all views (Ferret-v2's
   * ablation), and the local encoder is kept, unread, so that checkpoints of both kinds fit either model.
   */
  readonly tile_encoder?: 'local_encoder' | 'global_encoder';
  readonly projector: {
    readonly kind: 'mlp2x_gelu';
    /** Brings projected visual tokens to length 1 and adds a fixed two-dimensional sine-cosine position embedding. */
    readonly positions: 'none' | 'sincos2d';
  };
  readonly sampler: SamplerConfig;
  readonly referring: {
    /** Which maps are merged for the sampler: encoder features (released code) or projected ones (paper). */
    readonly features: 'encoder' | 'projected';
    readonly upsample: 'nearest' | 'bilinear';
    /** Half-side in image pixels of the square window drawn around a point (5: 11×11). */
    readonly point_radius: number;
  };
  readonly layout: { readonly order: 'global-local' | 'local-global' };
  readonly coordinates: {
    /** Coordinates are integers 0..bins-1 of the image side (1000 in Ferret). */
    readonly bins: number;
  };
  readonly llm: LlamaConfig;
  readonly template: 'vicuna_v1' | 'plain' | 'chat';
  readonly system: string;
  /** Longest sequence, visual tokens included. A sample beyond it is refused, never cut. */
  readonly max_length: number;
  /** The text tower that stage 0 needs to pretrain the encoders contrastively; absent with published weights. */
  readonly pretraining?: {
    readonly text_encoder: ClipTextConfig;
    readonly projection_dim: number;
    /** Weight of images with captions against regions with phrases, 1 where absent. */
    readonly caption_weight?: number;
    /**
     * Patches of both encoders are compared with phrases as they are, without a projection of their own (false where
     * absent). Both widths are `projection_dim` then.
     */
    readonly shared_space?: boolean;
    /** Objects named by their label alone are named with the number that they show as well (false where absent). */
    readonly read_text?: boolean;
  };
}

/** The network that reads the tiles: what of it decides how many features a tile has, and how wide. */
export function tileEncoderOf(
  config: Pick<ModelConfig, 'tile_encoder' | 'global_encoder' | 'local_encoder'>,
): ModelConfig['global_encoder'] | ModelConfig['local_encoder'] {
  return config.tile_encoder === 'global_encoder' ? config.global_encoder : config.local_encoder;
}
