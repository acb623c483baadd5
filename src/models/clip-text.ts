import { gatherRows } from '../engine/ops.ts';
import * as tf from '../engine/tf.ts';
import { causalKeyBias } from '../nn/attention.ts';
import { Embedding } from '../nn/embedding.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { Scope } from '../nn/parameter.ts';
import { ClipBlock } from './clip-block.ts';
import type { ClipTextConfig } from './config.ts';

/** Published configurations with this end token mean "the highest id", whatever its value (transformers keeps both). */
const LEGACY_END_TOKEN = 2;

/**
 * The position of each text's end token in ids [texts, length]: the first that holds `endToken`, or, by the legacy
 * rule, the highest id. A text without one is read at position 0, as transformers does.
 */
export function endPositions(ids: ArrayLike<number>, length: number, endToken: number): Int32Array {
  const positions = new Int32Array(ids.length / length);
  for (let text = 0; text < positions.length; text++) {
    let best = 0;
    for (let t = length - 1; t >= 0; t--) {
      const id = ids[text * length + t] ?? 0;
      const beats = endToken === LEGACY_END_TOKEN ? id >= (ids[text * length + best] ?? 0) : id === endToken;
      if (beats) best = t;
    }
    positions[text] = best;
  }
  return positions;
}

/** CLIP's text tower (names and outputs of Hugging Face `CLIPTextModel`). */
export class ClipText {
  readonly #tokens: Embedding;
  readonly #positions: Embedding;
  readonly #blocks: readonly ClipBlock[];
  readonly #finalNorm: LayerNorm;

  constructor(scope: Scope, config: ClipTextConfig) {
    const { hidden_size: width } = config;
    const model = scope.at('text_model');
    this.#tokens = new Embedding(model.at('embeddings.token_embedding'), config.vocab_size, width);
    this.#positions = new Embedding(
      model.at('embeddings.position_embedding'),
      config.max_position_embeddings,
      width,
    );
    this.#blocks = Array.from(
      { length: config.num_hidden_layers },
      (_, i) => new ClipBlock(model.at(`encoder.layers.${i}`), config),
    );
    this.#finalNorm = new LayerNorm(model.at('final_layer_norm'), width, config.layer_norm_eps);
  }

  /**
   * The last hidden state, normalised, [texts · length, hidden_size], of int32 ids [texts, length]. Attention is causal;
   * `visible` [texts, length] also hides keys where it is 0, which matters only to positions after the end token.
   */
  apply(ids: tf.Tensor2D, visible: tf.Tensor2D | null): tf.Tensor2D {
    return tf.tidy(() => {
      const [texts, length] = ids.shape;
      const width = this.#tokens.table.shape[1];
      const bias = visible === null ? { causal: true, segments: null } : causalKeyBias(visible);
      const words = tf.reshape(this.#tokens.apply(tf.reshape(ids, [texts * length])), [texts, length, width]);
      const places = tf.slice(this.#positions.table, [0, 0], [length, width]);
      let x: tf.Tensor2D = tf.reshape(tf.add(words, places), [texts * length, width]);
      for (const block of this.#blocks) x = block.apply(x, texts, bias);
      return this.#finalNorm.apply(x);
    });
  }

  /** The text vectors before projection [texts, hidden_size]: rows `ends` (int32, text · length + position). */
  pooled(hidden: tf.Tensor2D, ends: tf.Tensor1D): tf.Tensor2D {
    return gatherRows(hidden, ends) as tf.Tensor2D;
  }
}
