import { gatherRows } from '../engine/ops.ts';
import * as tf from '../engine/tf.ts';
import { keyBias } from '../nn/attention.ts';
import { Embedding } from '../nn/embedding.ts';
import { normal } from '../nn/init.ts';
import { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { Scope } from '../nn/parameter.ts';
import { BertAttention, BertFeedForward } from './bert-block.ts';
import type { BertConfig } from './config.ts';
import { firstTokens } from './visual-tokens.ts';

/** BERT (arXiv 1810.04805) as a text encoder: names and outputs of Hugging Face `BertModel`. */
export class Bert {
  readonly #words: Embedding;
  readonly #positions: Embedding;
  readonly #types: Embedding;
  readonly #norm: LayerNorm;
  readonly #blocks: readonly { readonly attention: BertAttention; readonly feedForward: BertFeedForward }[];
  readonly #pooler: Linear;

  constructor(scope: Scope, config: BertConfig) {
    const { hidden_size: width } = config;
    const embeddings = scope.at('embeddings');
    this.#words = new Embedding(embeddings.at('word_embeddings'), config.vocab_size, width);
    this.#positions = new Embedding(
      embeddings.at('position_embeddings'),
      config.max_position_embeddings,
      width,
    );
    this.#types = new Embedding(embeddings.at('token_type_embeddings'), config.type_vocab_size, width);
    this.#norm = new LayerNorm(embeddings.at('LayerNorm'), width, config.layer_norm_eps);
    this.#blocks = Array.from({ length: config.num_hidden_layers }, (_, i) => {
      const block = scope.at(`encoder.layer.${i}`);
      return {
        attention: new BertAttention(block.at('attention'), config, 'self'),
        feedForward: new BertFeedForward(block, config),
      };
    });
    this.#pooler = new Linear(scope.at('pooler.dense'), width, width, { weight: normal(0.02) });
  }

  /**
   * The last hidden state [texts · length, hidden_size] of int32 ids and types (sentence 0 or 1), both [texts, length].
   * Attention runs both ways; keys where `visible` [texts, length] is 0 are hidden.
   */
  apply(ids: tf.Tensor2D, types: tf.Tensor2D, visible: tf.Tensor2D | null): tf.Tensor2D {
    return tf.tidy(() => {
      const [texts, length] = ids.shape;
      const width = this.#words.table.shape[1];
      const rows = (table: tf.Tensor2D, at: tf.Tensor2D): tf.Tensor =>
        gatherRows(table, tf.reshape(at, [texts, length]));
      const places = tf.slice(this.#positions.table, [0, 0], [length, width]);
      const tokens = tf.add(rows(this.#words.table, ids), rows(this.#types.table, types));
      const bias = visible === null ? null : keyBias(visible);
      let x = this.#norm.apply(tf.reshape(tf.add(tokens, places), [texts * length, width]));
      for (const { attention, feedForward } of this.#blocks) {
        x = feedForward.apply(attention.apply(x, { batch: texts, bias }));
      }
      return x;
    });
  }

  /** A vector for each text [texts, hidden_size]: the tanh of the first token, projected. */
  pooled(hidden: tf.Tensor2D, texts: number): tf.Tensor2D {
    return tf.tidy(() => tf.tanh(this.#pooler.apply(firstTokens(hidden, texts))));
  }
}
