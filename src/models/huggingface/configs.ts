/**
 * config.json to the configurations of the networks here. Defaults are those of the configuration classes of
 * transformers, which leaves default values out of the files that it writes.
 */
import { join } from 'node:path';
import { GroundError } from '../../errors.ts';
import type { ClipTextConfig, ClipVisionConfig, Dinov2Config, LlamaConfig } from '../config.ts';
import type { HuggingFaceFolder } from './folder.ts';
import { ConfigReader } from './reader.ts';

/** What a CLIP folder describes; `text` is null for an image tower alone. */
export interface ClipConfigs {
  readonly vision: ClipVisionConfig;
  readonly text: ClipTextConfig | null;
  readonly projectionDim: number;
}

/** The reader of a folder's configuration, after a look at what kind of network it describes. */
function readerOf(folder: HuggingFaceFolder, role: string, types: readonly string[]): ConfigReader {
  const file = join(folder.path, 'config.json');
  const { model_type: type, architectures } = folder.config;
  if (typeof type !== 'string' || !types.includes(type)) {
    const named = Array.isArray(architectures) ? ` (${architectures.join(', ')})` : '';
    throw new GroundError('model', `${file}: model_type ${JSON.stringify(type)}${named} is no ${role}`, {
      hint: `expected ${types.join(' or ')}`,
    });
  }
  const reader = new ConfigReader(file, folder.config);
  if (reader.get('quantization_config') !== undefined) {
    throw new GroundError('model', `${file}: the weights are quantised`, {
      hint: 'give the folder of the original weights: F32, F16 or BF16',
    });
  }
  return reader;
}

/** CLIPConfig (both towers) or CLIPVisionConfig. Throws GroundError('model') on anything else. */
export function clipConfigs(folder: HuggingFaceFolder): ClipConfigs {
  const top = readerOf(folder, 'CLIP', ['clip', 'clip_vision_model']);
  const both = folder.config.model_type === 'clip';
  const vision = both ? top.at('vision_config') : top;
  const text = top.at('text_config');
  vision.only('num_channels', 3, 'images have three channels');
  return {
    vision: {
      hidden_size: vision.whole('hidden_size', 768),
      intermediate_size: vision.whole('intermediate_size', 3072),
      num_hidden_layers: vision.whole('num_hidden_layers', 12),
      num_attention_heads: vision.whole('num_attention_heads', 12),
      image_size: vision.whole('image_size', 224),
      patch_size: vision.whole('patch_size', 32),
      hidden_act: vision.activation('hidden_act', 'quick_gelu'),
      layer_norm_eps: vision.positive('layer_norm_eps', 1e-5),
    },
    text: both
      ? {
          vocab_size: text.whole('vocab_size', 49408),
          hidden_size: text.whole('hidden_size', 512),
          intermediate_size: text.whole('intermediate_size', 2048),
          num_hidden_layers: text.whole('num_hidden_layers', 12),
          num_attention_heads: text.whole('num_attention_heads', 8),
          max_position_embeddings: text.whole('max_position_embeddings', 77),
          hidden_act: text.activation('hidden_act', 'quick_gelu'),
          layer_norm_eps: text.positive('layer_norm_eps', 1e-5),
          eos_token_id: text.whole('eos_token_id', 49407),
        }
      : null,
    projectionDim: top.whole('projection_dim', 512),
  };
}

/** Dinov2Config or Dinov2WithRegistersConfig. Throws GroundError('model') on anything else. */
export function dinov2Config(folder: HuggingFaceFolder): Dinov2Config {
  const reader = readerOf(folder, 'DINOv2', ['dinov2', 'dinov2_with_registers']);
  reader.only('num_channels', 3, 'images have three channels');
  const registers = folder.config.model_type === 'dinov2_with_registers';
  return {
    hidden_size: reader.whole('hidden_size', 768),
    num_hidden_layers: reader.whole('num_hidden_layers', 12),
    num_attention_heads: reader.whole('num_attention_heads', 12),
    mlp_ratio: reader.positive('mlp_ratio', 4),
    image_size: reader.whole('image_size', 224),
    patch_size: reader.whole('patch_size', registers ? 16 : 14),
    hidden_act: reader.activation('hidden_act', 'gelu'),
    layer_norm_eps: reader.positive('layer_norm_eps', 1e-6),
    layerscale_value: reader.positive('layerscale_value', 1),
    use_swiglu_ffn: reader.flag('use_swiglu_ffn', false),
    qkv_bias: reader.flag('qkv_bias', true),
    num_register_tokens: registers ? reader.whole('num_register_tokens', 4) : 0,
  };
}

/** Whether a DINOv2 folder has the token of masked pretraining, which nothing here reads. */
export function hasMaskToken(folder: HuggingFaceFolder): boolean {
  return folder.config.use_mask_token !== false;
}

/** LlamaConfig (Vicuna, too) or Qwen2Config. Throws GroundError('model') on anything else. */
export function llamaConfig(folder: HuggingFaceFolder): LlamaConfig {
  const reader = readerOf(folder, 'language model', ['llama', 'qwen2']);
  const qwen = folder.config.model_type === 'qwen2';
  if (qwen) reader.only('use_sliding_window', false, 'attention sees the whole sequence');
  // Llama's switch is for all four projections, Qwen2 always has it on three.
  const biases = !qwen && reader.flag('attention_bias', false);
  const heads = reader.whole('num_attention_heads', 32);
  const width = reader.whole('hidden_size', 4096);
  return {
    vocab_size: reader.whole('vocab_size', qwen ? 151936 : 32000),
    hidden_size: width,
    intermediate_size: reader.whole('intermediate_size', qwen ? 22016 : 11008),
    num_hidden_layers: reader.whole('num_hidden_layers', 32),
    num_attention_heads: heads,
    num_key_value_heads: reader.whole('num_key_value_heads', qwen ? 32 : heads),
    head_dim: reader.whole('head_dim', width / heads),
    rms_norm_eps: reader.positive('rms_norm_eps', 1e-6),
    rope_theta: ropeTheta(reader),
    hidden_act: reader.activation('hidden_act', 'silu'),
    attention_bias: qwen || biases,
    ...(biases ? { attention_output_bias: true } : {}),
    ...(!qwen && reader.flag('mlp_bias', false) ? { mlp_bias: true } : {}),
    tie_word_embeddings: reader.flag('tie_word_embeddings', false),
    max_position_embeddings: reader.whole('max_position_embeddings', qwen ? 32768 : 2048),
  };
}

/** Newer files keep the base of the rotary embedding in `rope_parameters`, older ones beside it in `rope_scaling`. */
function ropeTheta(reader: ConfigReader): number {
  for (const key of ['rope_parameters', 'rope_scaling']) {
    const section = reader.at(key);
    for (const name of ['rope_type', 'type']) {
      section.only(name, 'default', 'scaled rotary embeddings are not supported');
    }
  }
  return reader.at('rope_parameters').positive('rope_theta', reader.positive('rope_theta', 10000));
}
