import * as tf from '../engine/tf.ts';
import { activate } from '../nn/activation.ts';
import { attend, mergeHeads, splitHeads } from '../nn/attention.ts';
import { normal } from '../nn/init.ts';
import { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { Scope } from '../nn/parameter.ts';
import type { BertBlockConfig } from './config.ts';

/** BERT draws all its weights so. */
const start = normal(0.02);

/** What attention looks at besides the rows it is given. */
export interface AttentionSource {
  readonly batch: number;
  /** Rows that give keys and values [batch · keys, source width]; the given rows themselves by default. */
  readonly source?: tf.Tensor2D;
  /** Additive mask that broadcasts to [batch, heads, queries, keys], or null where all see all. */
  readonly bias: tf.Tensor4D | null;
}

/**
 * Attention with BERT's residual, normalised after the sum: LayerNorm(x + W·attention(x)). Keys and values may come from
 * elsewhere, `sourceWidth` wide. `inner` is the name under which checkpoints keep the three input projections.
 */
export class BertAttention {
  readonly #query: Linear;
  readonly #key: Linear;
  readonly #value: Linear;
  readonly #output: Linear;
  readonly #norm: LayerNorm;
  readonly #heads: number;

  constructor(
    scope: Scope,
    config: BertBlockConfig,
    inner: 'self' | 'attention',
    sourceWidth: number = config.hidden_size,
  ) {
    const { hidden_size: width } = config;
    this.#heads = config.num_attention_heads;
    this.#query = new Linear(scope.at(`${inner}.query`), width, width, { weight: start });
    this.#key = new Linear(scope.at(`${inner}.key`), sourceWidth, width, { weight: start });
    this.#value = new Linear(scope.at(`${inner}.value`), sourceWidth, width, { weight: start });
    this.#output = new Linear(scope.at('output.dense'), width, width, { weight: start });
    this.#norm = new LayerNorm(scope.at('output.LayerNorm'), width, config.layer_norm_eps);
  }

  /** [batch · queries, width] -> the same. */
  apply(x: tf.Tensor2D, { batch, source = x, bias }: AttentionSource): tf.Tensor2D {
    return tf.tidy(() => {
      const split = (rows: tf.Tensor2D): tf.Tensor4D => splitHeads(rows, batch, this.#heads);
      const q = split(this.#query.apply(x));
      const attended = attend(q, split(this.#key.apply(source)), split(this.#value.apply(source)), bias);
      return this.#norm.apply(tf.add(this.#output.apply(mergeHeads(attended)), x));
    });
  }
}

/** BERT's perceptron, normalised after the sum; `suffix` is what checkpoints append to the names of its two parts. */
export class BertFeedForward {
  readonly #in: Linear;
  readonly #out: Linear;
  readonly #norm: LayerNorm;
  readonly #activation: BertBlockConfig['hidden_act'];

  constructor(scope: Scope, config: BertBlockConfig, suffix = '') {
    const { hidden_size: width, intermediate_size: inner } = config;
    this.#activation = config.hidden_act;
    this.#in = new Linear(scope.at(`intermediate${suffix}.dense`), width, inner, { weight: start });
    this.#out = new Linear(scope.at(`output${suffix}.dense`), inner, width, { weight: start });
    this.#norm = new LayerNorm(scope.at(`output${suffix}.LayerNorm`), width, config.layer_norm_eps);
  }

  /** [rows, width] -> the same. */
  apply(x: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => {
      const inner = activate(this.#activation, this.#in.apply(x));
      return this.#norm.apply(tf.add(this.#out.apply(inner), x));
    });
  }
}
