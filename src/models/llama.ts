import { hasNativeOps } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import { activate, swiGlu } from '../nn/activation.ts';
import type { AttentionPattern } from '../nn/attention.ts';
import { crossEntropy } from '../nn/cross-entropy.ts';
import { Embedding } from '../nn/embedding.ts';
import { normal } from '../nn/init.ts';
import { Linear, linear } from '../nn/linear.ts';
import { nativeLinearCrossEntropy } from '../nn/native.ts';
import { RmsNorm } from '../nn/norm.ts';
import type { Parameter, Scope } from '../nn/parameter.ts';
import { throughBlock } from '../nn/recompute.ts';
import { type RotaryTables, rotaryAt, rotaryTables } from '../nn/rotary.ts';
import { type FixedSlots, type KeysAndValues, SelfAttention } from '../nn/self-attention.ts';
import type { LlamaConfig } from './config.ts';

/** What every block of one forward pass shares. */
export interface DecoderContext {
  readonly batch: number;
  readonly rotary: RotaryTables;
  readonly bias: AttentionPattern | tf.Tensor4D | null;
  /** Per block, keys and values of earlier positions. */
  readonly past?: readonly KeysAndValues[];
  /** Where `past` has a fixed number of slots: how it is written, and the blocks' prompts that precede it. */
  readonly fixed?: Omit<FixedSlots, 'prompt'> & { readonly prompts: readonly KeysAndValues[] };
  /** Where `past` is written in place: the slots of it that each sample sees. */
  readonly seen?: tf.Tensor2D;
}

/** One decoder block (Hugging Face `LlamaDecoderLayer`). */
class LlamaBlock {
  readonly #scope: Scope;
  readonly #inputNorm: RmsNorm;
  readonly #attention: SelfAttention;
  readonly #postNorm: RmsNorm;
  readonly #gate: Linear;
  readonly #up: Linear;
  readonly #down: Linear;
  readonly #config: LlamaConfig;

  constructor(scope: Scope, config: LlamaConfig) {
    const { hidden_size: width, intermediate_size: inner, rms_norm_eps: eps } = config;
    const depth = (2 * config.num_hidden_layers) ** -0.5;
    this.#scope = scope;
    this.#config = config;
    this.#inputNorm = new RmsNorm(scope.at('input_layernorm'), width, eps);
    this.#attention = new SelfAttention(scope.at('self_attn'), {
      width,
      heads: config.num_attention_heads,
      keyHeads: config.num_key_value_heads,
      headWidth: config.head_dim,
      names: { query: 'q_proj', key: 'k_proj', value: 'v_proj', output: 'o_proj' },
      inputBias: config.attention_bias,
      outputBias: config.attention_output_bias ?? false,
      inputStart: normal(width ** -0.5),
      outputStart: normal(width ** -0.5 * depth),
    });
    this.#postNorm = new RmsNorm(scope.at('post_attention_layernorm'), width, eps);
    const bias = config.mlp_bias ?? false;
    this.#gate = new Linear(scope.at('mlp.gate_proj'), width, inner, { bias });
    this.#up = new Linear(scope.at('mlp.up_proj'), width, inner, { bias });
    this.#down = new Linear(scope.at('mlp.down_proj'), inner, width, {
      bias,
      weight: normal(inner ** -0.5 * depth),
    });
  }

  /** `index`: which block of the decoder this is. */
  apply(x: tf.Tensor2D, context: DecoderContext, index: number): BlockOutput {
    return tidyOutput(() => {
      const { batch, bias, rotary, fixed, seen } = context;
      const past = context.past?.[index];
      const prompt = fixed?.prompts[index];
      const attended = this.#attention.apply(this.#inputNorm.apply(x), {
        batch,
        bias,
        rotary,
        ...(past === undefined ? {} : { past }),
        ...(seen === undefined ? {} : { seen }),
        ...(fixed === undefined || prompt === undefined ? {} : { fixed: { ...fixed, prompt } }),
      });
      const mixed = tf.add<tf.Tensor2D>(x, attended.out);
      const normed = this.#postNorm.apply(mixed);
      const out = tf.add<tf.Tensor2D>(mixed, this.#down.apply(this.#gated(normed)));
      return { out, keys: attended.keys, values: attended.values };
    });
  }

  /** The block's output alone, for training: it may be computed again for the backward pass. */
  train(x: tf.Tensor2D, { batch, rotary, bias }: DecoderContext, index: number): tf.Tensor2D {
    const mask = bias === null || bias instanceof tf.Tensor ? bias : bias.segments;
    const shared = [rotary.cos, rotary.sin, rotary.swap, ...(mask === null ? [] : [mask])];
    return throughBlock(this.#scope, x, shared, (input, [cos, sin, swap, saved = null]) => {
      const seen =
        bias === null || bias instanceof tf.Tensor
          ? (saved as tf.Tensor4D | null)
          : { ...bias, segments: saved as tf.Tensor2D | null };
      const context = { batch, rotary: { cos, sin, swap } as RotaryTables, bias: seen };
      return tf.tidy(() => this.apply(input, context, index).out);
    });
  }

  #gated(x: tf.Tensor2D): tf.Tensor2D {
    const gate = this.#gate.apply(x);
    const up = this.#up.apply(x);
    if (this.#config.hidden_act === 'silu') return swiGlu(gate, up);
    return tf.mul(activate(this.#config.hidden_act, gate), up);
  }
}

interface BlockOutput extends KeysAndValues {
  readonly out: tf.Tensor2D;
}

/** tf.tidy for a block's three tensors, which tfjs's types know only as a list. */
function tidyOutput(block: () => BlockOutput): BlockOutput {
  const [out, keys, values] = tf.tidy(() => {
    const made = block();
    return [made.out, made.keys, made.values];
  }) as [tf.Tensor2D, tf.Tensor4D, tf.Tensor4D];
  return { out, keys, values };
}

/** What a pass through the decoder yields. */
export interface DecoderOutput {
  /** hidden_states[0..blocks], none with the final norm, each [batch · length, hidden_size]. */
  readonly states: readonly tf.Tensor2D[];
  /** Per block, keys and values of all positions so far; none in training, where nothing is decoded. */
  readonly past: readonly KeysAndValues[];
}

/** A Llama-type causal language model (names of Hugging Face `LlamaForCausalLM`; by its configuration a Qwen2). */
export class Llama {
  readonly config: LlamaConfig;
  readonly #scope: Scope;
  readonly #embedding: Embedding;
  readonly #blocks: readonly LlamaBlock[];
  readonly #norm: RmsNorm;
  readonly #head: Linear | undefined;

  /** Throws a model error where the head counts do not divide or the head width is odd. */
  constructor(scope: Scope, config: LlamaConfig) {
    const { hidden_size: width, vocab_size: words } = config;
    if (config.num_attention_heads % config.num_key_value_heads !== 0 || config.head_dim % 2 !== 0) {
      throw new GroundError(
        'model',
        `llm: ${config.num_attention_heads} heads of width ${config.head_dim} over ${config.num_key_value_heads} key heads`,
        { hint: 'num_attention_heads must be a multiple of num_key_value_heads, and head_dim even' },
      );
    }
    this.config = config;
    const model = scope.at('model');
    this.#embedding = new Embedding(model.at('embed_tokens'), words, width, normal(width ** -0.5));
    this.#blocks = Array.from(
      { length: config.num_hidden_layers },
      (_, i) => new LlamaBlock(model.at(`layers.${i}`), config),
    );
    this.#norm = new RmsNorm(model.at('norm'), width, config.rms_norm_eps);
    if (!config.tie_word_embeddings)
      this.#head = new Linear(scope.at('lm_head'), width, words, { bias: false });
    this.#scope = scope;
  }

  /** All parameters, in order of declaration, those of adapters last. */
  get parameters(): readonly Parameter[] {
    return this.#scope.declared;
  }

  /** Token embeddings of int32 ids [n] -> [n, hidden_size]. */
  embed(ids: tf.Tensor1D): tf.Tensor2D {
    return this.#embedding.apply(ids);
  }

  /** Rotary tables for `batch` rows of positions. */
  rotary(positions: ArrayLike<number>, batch: number): RotaryTables {
    const { head_dim: width, rope_theta: theta } = this.config;
    return rotaryTables(positions, { batch, length: positions.length / batch, width, theta });
  }

  /** The context of a whole sequence from position 0 under a causal mask, padding (if any) on the right. */
  sequence(batch: number, length: number): DecoderContext {
    const positions = Array.from({ length }, (_, t) => t);
    return { batch, rotary: this.rotary(positions, 1), bias: { causal: true, segments: null } };
  }

  /**
   * The context of rows of several sequences each: attention within a segment, positions counted from its start. Both int32
   * [batch, length], positions below length.
   */
  packed(segments: tf.Tensor2D, positions: tf.Tensor2D): DecoderContext {
    const [batch, length] = segments.shape;
    const table = this.rotary(
      Array.from({ length }, (_, t) => t),
      1,
    );
    return { batch, rotary: rotaryAt(table, positions), bias: { causal: true, segments } };
  }

  /** Runs all blocks over embeddings [batch · length, hidden_size]. */
  decode(embeddings: tf.Tensor2D, context: DecoderContext): DecoderOutput {
    const states = [embeddings];
    const past: KeysAndValues[] = [];
    for (const [i, block] of this.#blocks.entries()) {
      if (this.#scope.training !== null) {
        states.push(block.train(states[i] as tf.Tensor2D, context, i));
        continue;
      }
      const made = block.apply(states[i] as tf.Tensor2D, context, i);
      states.push(made.out);
      past.push({ keys: made.keys, values: made.values });
    }
    return { states, past };
  }

  /** The final norm of any rows of the last state. */
  normalized(rows: tf.Tensor2D): tf.Tensor2D {
    return this.#norm.apply(rows);
  }

  /** The parameter that scores the vocabulary: the head's, or the embedding's where they are tied. */
  get headParameter(): Parameter {
    return this.#head?.weight ?? this.#embedding.weight;
  }

  /**
   * Σ weight · cross-entropy over normalised rows [n, hidden_size], targets int32 [n], weights [n]; scalar. With fused ops
   * the scores of all rows are never stored together. `headTrains` false saves the gradient of the head.
   */
  crossEntropySum(
    normalized: tf.Tensor2D,
    targets: tf.Tensor1D,
    weights: tf.Tensor1D,
    headTrains: boolean,
  ): tf.Scalar {
    if (hasNativeOps() && this.#head?.adapted !== true) {
      const table = this.#head?.matrix ?? this.#embedding.table;
      return nativeLinearCrossEntropy(normalized, table, targets, weights, headTrains);
    }
    return tf.sum(tf.mul(crossEntropy(this.logits(normalized), targets), weights));
  }

  /** Scores over the vocabulary of normalised rows: [n, hidden_size] -> [n, vocab_size]. */
  logits(normalized: tf.Tensor2D): tf.Tensor2D {
    if (this.#head !== undefined) return this.#head.apply(normalized);
    return linear(normalized, this.#embedding.table, undefined, true);
  }
}
