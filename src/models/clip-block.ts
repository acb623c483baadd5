import * as tf from '../engine/tf.ts';
import type { AttentionPattern } from '../nn/attention.ts';
import { normal } from '../nn/init.ts';
import { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { Scope } from '../nn/parameter.ts';
import { throughBlock } from '../nn/recompute.ts';
import { SelfAttention } from '../nn/self-attention.ts';
import type { Activation } from './config.ts';

/** The part of a CLIP tower's configuration that its blocks read. */
export interface ClipBlockConfig {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly hidden_act: Activation;
  readonly layer_norm_eps: number;
}

/** Positions of one sequence, of which none sees what comes after it. */
type CausalPattern = AttentionPattern & { readonly segments: null };

/** One pre-norm transformer block of CLIP, the same in both towers (Hugging Face `CLIPEncoderLayer`). */
export class ClipBlock {
  readonly #scope: Scope;
  readonly #norm1: LayerNorm;
  readonly #attention: SelfAttention;
  readonly #norm2: LayerNorm;
  readonly #fc1: Linear;
  readonly #fc2: Linear;
  readonly #activation: Activation;

  constructor(scope: Scope, config: ClipBlockConfig) {
    const { hidden_size: width, intermediate_size: inner, layer_norm_eps: eps } = config;
    const residual = normal(width ** -0.5 * (2 * config.num_hidden_layers) ** -0.5);
    this.#scope = scope;
    this.#activation = config.hidden_act;
    this.#norm1 = new LayerNorm(scope.at('layer_norm1'), width, eps);
    this.#attention = new SelfAttention(scope.at('self_attn'), {
      width,
      heads: config.num_attention_heads,
      names: { query: 'q_proj', key: 'k_proj', value: 'v_proj', output: 'out_proj' },
      inputBias: true,
      outputBias: true,
      inputStart: normal(width ** -0.5),
      outputStart: residual,
    });
    this.#norm2 = new LayerNorm(scope.at('layer_norm2'), width, eps);
    this.#fc1 = new Linear(scope.at('mlp.fc1'), width, inner, { weight: normal((2 * width) ** -0.5) });
    this.#fc2 = new Linear(scope.at('mlp.fc2'), inner, width, { weight: residual });
  }

  /** [batch · length, width] -> the same. */
  apply(x: tf.Tensor2D, batch: number, bias: CausalPattern | tf.Tensor4D | null): tf.Tensor2D {
    if (!(bias instanceof tf.Tensor)) {
      return throughBlock(this.#scope, x, [], input => this.#compute(input, batch, bias));
    }
    return throughBlock(this.#scope, x, [bias], (input, [mask]) =>
      this.#compute(input, batch, mask as tf.Tensor4D),
    );
  }

  #compute(x: tf.Tensor2D, batch: number, bias: CausalPattern | tf.Tensor4D | null): tf.Tensor2D {
    return tf.tidy(() => {
      const mixed = tf.add<tf.Tensor2D>(x, this.#attention.apply(this.#norm1.apply(x), { batch, bias }).out);
      const inner = this.#fc1.applyActivated(this.#norm2.apply(mixed), this.#activation);
      return tf.add<tf.Tensor2D>(mixed, this.#fc2.apply(inner));
    });
  }
}
