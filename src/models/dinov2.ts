import * as tf from '../engine/tf.ts';
import { swiGlu } from '../nn/activation.ts';
import { constant, normal, zeros } from '../nn/init.ts';
import { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { Parameter, Scope } from '../nn/parameter.ts';
import { cutPatches } from '../nn/patches.ts';
import { throughBlock } from '../nn/recompute.ts';
import { SelfAttention } from '../nn/self-attention.ts';
import type { Dinov2Config } from './config.ts';
import { gridOf, positionsFor, withLeading, withoutLeading } from './visual-tokens.ts';

/** The two-layer perceptron of a block, plain or gated (Hugging Face `Dinov2MLP`, `Dinov2SwiGLUFFN`). */
class Dinov2Mlp {
  readonly #in: Linear;
  readonly #out: Linear;
  readonly #config: Dinov2Config;
  readonly #inner: number;

  constructor(scope: Scope, config: Dinov2Config) {
    const width = config.hidden_size;
    const plain = Math.trunc(width * config.mlp_ratio);
    this.#config = config;
    this.#inner = config.use_swiglu_ffn ? Math.floor((Math.trunc((plain * 2) / 3) + 7) / 8) * 8 : plain;
    const [first, last] = config.use_swiglu_ffn ? ['weights_in', 'weights_out'] : ['fc1', 'fc2'];
    this.#in = new Linear(scope.at(first), width, config.use_swiglu_ffn ? 2 * this.#inner : this.#inner);
    this.#out = new Linear(scope.at(last), this.#inner, width);
  }

  apply(x: tf.Tensor2D): tf.Tensor2D {
    if (!this.#config.use_swiglu_ffn)
      return this.#out.apply(this.#in.applyActivated(x, this.#config.hidden_act));
    const [gate, up] = tf.split(this.#in.apply(x), 2, 1) as [tf.Tensor2D, tf.Tensor2D];
    return this.#out.apply(swiGlu(gate, up));
  }
}

/** One pre-norm block with layer scale (Hugging Face `Dinov2Layer`). */
class Dinov2Block {
  readonly #scope: Scope;
  readonly #norm1: LayerNorm;
  readonly #attention: SelfAttention;
  readonly #scale1: Parameter;
  readonly #norm2: LayerNorm;
  readonly #mlp: Dinov2Mlp;
  readonly #scale2: Parameter;

  constructor(scope: Scope, config: Dinov2Config) {
    const { hidden_size: width, layer_norm_eps: eps } = config;
    const start = normal(width ** -0.5);
    this.#scope = scope;
    this.#norm1 = new LayerNorm(scope.at('norm1'), width, eps);
    this.#attention = new SelfAttention(scope.at('attention'), {
      width,
      heads: config.num_attention_heads,
      names: {
        query: 'attention.query',
        key: 'attention.key',
        value: 'attention.value',
        output: 'output.dense',
      },
      inputBias: config.qkv_bias,
      outputBias: true,
      inputStart: start,
      outputStart: start,
    });
    this.#scale1 = scope.parameter('layer_scale1.lambda1', [width], constant(config.layerscale_value));
    this.#norm2 = new LayerNorm(scope.at('norm2'), width, eps);
    this.#mlp = new Dinov2Mlp(scope.at('mlp'), config);
    this.#scale2 = scope.parameter('layer_scale2.lambda1', [width], constant(config.layerscale_value));
  }

  apply(x: tf.Tensor2D, batch: number): tf.Tensor2D {
    return throughBlock(this.#scope, x, [], input => this.#compute(input, batch));
  }

  #compute(x: tf.Tensor2D, batch: number): tf.Tensor2D {
    return tf.tidy(() => {
      const attended = this.#attention.apply(this.#norm1.apply(x), { batch, bias: null }).out;
      const mixed = tf.add<tf.Tensor2D>(x, tf.mul(attended, this.#scale1.value));
      return tf.add<tf.Tensor2D>(
        mixed,
        tf.mul(this.#mlp.apply(this.#norm2.apply(mixed)), this.#scale2.value),
      );
    });
  }
}

/** DINOv2 (arXiv 2304.07193), with registers where the configuration has them (names of Hugging Face `Dinov2Model`). */
export class Dinov2 {
  readonly #config: Dinov2Config;
  readonly #classToken: Parameter;
  readonly #registers: Parameter | undefined;
  readonly #positions: Parameter;
  readonly #patch: Linear;
  readonly #blocks: readonly Dinov2Block[];
  readonly #norm: LayerNorm;

  constructor(scope: Scope, config: Dinov2Config) {
    const { hidden_size: width, patch_size: patch, num_register_tokens: registers } = config;
    const embeddings = scope.at('embeddings');
    const places = Math.floor(config.image_size / patch) ** 2 + 1;
    this.#config = config;
    this.#classToken = embeddings.parameter('cls_token', [1, 1, width], normal(0.02));
    // Read by masked pretraining only; kept so that published checkpoints come and go whole.
    embeddings.parameter('mask_token', [1, width], zeros);
    if (registers > 0) {
      this.#registers = embeddings.parameter('register_tokens', [1, registers, width], normal(0.02));
    }
    this.#positions = embeddings.parameter('position_embeddings', [1, places, width], normal(0.02));
    this.#patch = new Linear(embeddings.at('patch_embeddings.projection'), 3 * patch * patch, width, {
      storedShape: [width, 3, patch, patch],
    });
    this.#blocks = Array.from(
      { length: config.num_hidden_layers },
      (_, i) => new Dinov2Block(scope.at(`encoder.layer.${i}`), config),
    );
    this.#norm = new LayerNorm(scope.at('layernorm'), width, config.layer_norm_eps);
  }

  /**
   * hidden_states[0..last] of pixels [batch, 3, height, width], each [batch · (1 + registers + patches), hidden_size]:
   * class token, registers, patches row-major. Blocks after `last` are not computed. No state has the final norm.
   */
  hiddenStates(pixels: tf.Tensor4D, last: number = this.#blocks.length): tf.Tensor2D[] {
    const batch = pixels.shape[0];
    const states = [tf.tidy(() => this.#embed(pixels))];
    for (const block of this.#blocks.slice(0, last)) {
      states.push(block.apply(states[states.length - 1] as tf.Tensor2D, batch));
    }
    return states;
  }

  /** The final norm, which turns the last hidden state into `last_hidden_state`. */
  normalized(hidden: tf.Tensor2D): tf.Tensor2D {
    return this.#norm.apply(hidden);
  }

  /** The patch tokens of one hidden state, [batch · patches, hidden_size]. */
  patches(hidden: tf.Tensor2D, batch: number): tf.Tensor2D {
    return withoutLeading(hidden, batch, 1 + this.#config.num_register_tokens);
  }

  #embed(pixels: tf.Tensor4D): tf.Tensor2D {
    const { hidden_size: width, patch_size, num_register_tokens } = this.#config;
    const grid = gridOf(pixels, patch_size);
    // Only the variant with registers antialiases in transformers.
    const positions = positionsFor(tf.squeeze(this.#positions.value, [0]), grid, num_register_tokens > 0);
    const patches = this.#patch.apply(cutPatches(pixels, patch_size));
    const placed = tf.add<tf.Tensor3D>(
      tf.reshape(patches, [pixels.shape[0], grid.rows * grid.columns, width]),
      positions.patches,
    );
    const first = tf.add<tf.Tensor2D>(positions.first, tf.reshape(this.#classToken.value, [1, width]));
    if (this.#registers === undefined) return withLeading(first, placed);
    const registers: tf.Tensor2D = tf.reshape(this.#registers.value, [num_register_tokens, width]);
    return withLeading(tf.concat([first, registers], 0), placed);
  }
}
