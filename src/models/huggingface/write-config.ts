/** The configurations of the networks here as config.json of transformers: the reverse of `configs.ts`. */
import { GroundError } from '../../errors.ts';
import type { LlamaConfig, ModelConfig } from '../config.ts';
import type { JsonObject } from './folder.ts';
import { isJsonObject } from './folder.ts';
import type { Provenance } from './provenance.ts';

/** What a config.json says beside the network. */
export interface WrittenAs {
  /** The dtype of most values, by PyTorch's name. */
  readonly dtype: string;
  /** Ids that begin and end a text; null for none. */
  readonly beginId: number | null;
  readonly endId: number;
  /** The files that the networks came from: keys that mean nothing here go back as they came. */
  readonly provenance: Provenance | null;
}

/** config.json of the three networks. Throws GroundError('export') on a network that transformers does not have. */
export function huggingFaceConfigs(
  model: ModelConfig,
  written: WrittenAs,
): Readonly<Record<'clip' | 'dinov2' | 'llm', JsonObject>> {
  return {
    clip: clip(model, written),
    dinov2: dinov2(model, written),
    llm: llm(model.llm, written),
  };
}

/** `ours` over the keys that the file had; the dtype under the key that it used. */
function over(before: unknown, ours: JsonObject, dtype: string): JsonObject {
  const kept = isJsonObject(before) ? before : {};
  return { ...kept, ...ours, [Object.hasOwn(kept, 'dtype') ? 'dtype' : 'torch_dtype']: dtype };
}

function clip(model: ModelConfig, { dtype, provenance }: WrittenAs): JsonObject {
  const { feature_layer: _, ...vision } = model.global_encoder;
  const before = provenance?.configs.clip ?? {};
  const tower = { ...vision, model_type: 'clip_vision_model' };
  if (model.pretraining === undefined) {
    const own = before.model_type === 'clip' ? before.vision_config : before;
    return over(own, { ...tower, architectures: ['CLIPVisionModel'] }, dtype);
  }
  const { text_encoder: text, projection_dim } = model.pretraining;
  const nested = (key: string): JsonObject => (isJsonObject(before[key]) ? before[key] : {});
  const ours = {
    model_type: 'clip',
    architectures: ['CLIPModel'],
    projection_dim,
    vision_config: { ...nested('vision_config'), ...tower, projection_dim },
    text_config: { ...nested('text_config'), ...text, model_type: 'clip_text_model', projection_dim },
  };
  return over(before.model_type === 'clip' ? before : {}, ours, dtype);
}

function dinov2(model: ModelConfig, { dtype, provenance }: WrittenAs): JsonObject {
  const { feature_layer: _, num_register_tokens: registers, ...network } = model.local_encoder;
  const kind =
    registers > 0
      ? {
          model_type: 'dinov2_with_registers',
          architectures: ['Dinov2WithRegistersModel'],
          num_register_tokens: registers,
        }
      : { model_type: 'dinov2', architectures: ['Dinov2Model'] };
  // The token is a parameter here, whether or not the published network had it.
  return over(provenance?.configs.dinov2, { ...network, ...kind, use_mask_token: true }, dtype);
}

function llm(config: LlamaConfig, { dtype, beginId, endId, provenance }: WrittenAs): JsonObject {
  const { attention_bias, attention_output_bias = false, mlp_bias = false, rope_theta, ...network } = config;
  const qwen = attention_bias && !attention_output_bias;
  if ((qwen && mlp_bias) || (!attention_bias && attention_output_bias)) {
    throw new GroundError('export', 'llm: this mix of biases is neither a Llama nor a Qwen2', {
      hint: 'Llama has biases on all four projections of attention or none, Qwen2 on the first three and none elsewhere',
    });
  }
  const before = provenance?.configs.llm ?? {};
  const { rope_parameters: rope } = before;
  const kind = qwen
    ? { model_type: 'qwen2', architectures: ['Qwen2ForCausalLM'] }
    : { model_type: 'llama', architectures: ['LlamaForCausalLM'], attention_bias, mlp_bias };
  const turning = isJsonObject(rope) ? { rope_parameters: { ...rope, rope_theta } } : { rope_theta };
  const ends = Object.hasOwn(before, 'eos_token_id') ? {} : { bos_token_id: beginId, eos_token_id: endId };
  return over(before, { ...network, ...kind, ...turning, ...ends }, dtype);
}

/** Keys whose values transformers insists on reading as fractions, whole or not. */
const FRACTIONS = [
  'attention_dropout',
  'attention_probs_dropout_prob',
  'drop_path_rate',
  'hidden_dropout_prob',
  'initializer_factor',
  'initializer_range',
  'layer_norm_eps',
  'layerscale_value',
  'logit_scale_init_value',
  'rms_norm_eps',
  'rope_theta',
];

/** The text of a config.json: JSON in which `1.0` stays apart from `1`. */
export function configText(config: object): string {
  const whole = new RegExp(`^( *"(?:${FRACTIONS.join('|')})": -?\\d+)(,?)$`, 'gm');
  return `${JSON.stringify(config, null, 2).replaceAll(whole, '$1.0$2')}\n`;
}
