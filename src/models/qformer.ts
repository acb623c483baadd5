import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import { keyBias } from '../nn/attention.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { Scope } from '../nn/parameter.ts';
import { BertAttention, BertFeedForward } from './bert-block.ts';
import type { QFormerConfig } from './config.ts';

/** What the queries of a batch look at. */
export interface QFormerInput {
  readonly batch: number;
  /** Queries before the first norm [batch · queries, hidden_size]. */
  readonly queries: tf.Tensor2D;
  /** Features [batch · keys, encoder_hidden_size]. */
  readonly encoder: tf.Tensor2D;
  /** 1 where a feature may be looked at, [batch, keys]; null where all may. */
  readonly encoderVisible: tf.Tensor2D | null;
  /** Embedded text that attends and is attended to along with the queries; `use_qformer_text_input` must be set. */
  readonly text?: {
    /** [batch · length, hidden_size] */
    readonly embedded: tf.Tensor2D;
    /** 1 where a token is no padding, [batch, length]. */
    readonly visible: tf.Tensor2D;
  };
}

/** Queries and text between two blocks. */
interface QFormerState {
  readonly queries: tf.Tensor2D;
  readonly text: tf.Tensor2D | null;
}

/** One block: self-attention over queries and text, the queries' look at the encoder, a perceptron for each of both. */
class QFormerBlock {
  readonly #attention: BertAttention;
  readonly #cross: BertAttention | undefined;
  readonly #queryFeedForward: BertFeedForward;
  readonly #textFeedForward: BertFeedForward | undefined;

  constructor(scope: Scope, config: QFormerConfig, crosses: boolean) {
    this.#attention = new BertAttention(scope.at('attention'), config, 'attention');
    if (crosses) {
      const at = scope.at('crossattention');
      this.#cross = new BertAttention(at, config, 'attention', config.encoder_hidden_size);
    }
    if (config.use_qformer_text_input) this.#textFeedForward = new BertFeedForward(scope, config);
    this.#queryFeedForward = new BertFeedForward(scope, config, '_query');
  }

  apply({ queries, text }: QFormerState, input: QFormerInput, biases: QFormerBiases): QFormerState {
    const { batch, encoder } = input;
    const both = text === null ? queries : joined(queries, text, batch);
    const mixed = this.#attention.apply(both, { batch, bias: biases.tokens });
    const [asked, read] = text === null ? [mixed, null] : parted(mixed, queries.shape[0], batch);
    const seen = this.#cross?.apply(asked, { batch, source: encoder, bias: biases.encoder }) ?? asked;
    return {
      queries: this.#queryFeedForward.apply(seen),
      text: read === null ? null : (this.#textFeedForward?.apply(read) ?? null),
    };
  }
}

interface QFormerBiases {
  readonly tokens: tf.Tensor4D | null;
  readonly encoder: tf.Tensor4D | null;
}

/**
 * The Q-Former of BLIP-2 (arXiv 2301.12597; names and outputs of Hugging Face `Blip2QFormerModel`): learned queries that
 * draw a fixed number of vectors from an encoder's features. Normalised after each sum, as BERT.
 */
export class QFormer {
  readonly #norm: LayerNorm;
  readonly #blocks: readonly QFormerBlock[];
  readonly #takesText: boolean;

  constructor(scope: Scope, config: QFormerConfig) {
    this.#takesText = config.use_qformer_text_input;
    this.#norm = new LayerNorm(scope.at('layernorm'), config.hidden_size, config.layer_norm_eps);
    this.#blocks = Array.from(
      { length: config.num_hidden_layers },
      (_, i) =>
        new QFormerBlock(scope.at(`encoder.layer.${i}`), config, i % config.cross_attention_frequency === 0),
    );
  }

  /**
   * The last hidden state [batch · (queries + text length), hidden_size], each sample's queries before its text; the
   * first row of a sample is its pooled output. Throws `model` on text where the configuration has none.
   */
  apply(input: QFormerInput): tf.Tensor2D {
    const { batch, text } = input;
    if (text !== undefined && !this.#takesText) {
      throw new GroundError('model', 'this Q-Former takes no text', {
        hint: 'use_qformer_text_input declares the weights for it',
      });
    }
    return tf.tidy(() => {
      const each = input.queries.shape[0] / batch;
      const biases: QFormerBiases = {
        tokens:
          text === undefined
            ? null
            : keyBias(tf.concat([tf.ones([batch, each]), tf.cast(text.visible, 'float32')], 1)),
        encoder: input.encoderVisible === null ? null : keyBias(input.encoderVisible),
      };
      let state: QFormerState = {
        queries: this.#norm.apply(input.queries),
        text: text === undefined ? null : this.#norm.apply(text.embedded),
      };
      for (const block of this.#blocks) state = block.apply(state, input, biases);
      return state.text === null ? state.queries : joined(state.queries, state.text, batch);
    });
  }
}

/** Each sample's queries followed by its text. */
function joined(queries: tf.Tensor2D, text: tf.Tensor2D, batch: number): tf.Tensor2D {
  const width = queries.shape[1];
  const perSample = [queries, text].map(
    (x): tf.Tensor3D => tf.reshape(x, [batch, x.shape[0] / batch, width]),
  );
  return tf.reshape(tf.concat(perSample, 1), [queries.shape[0] + text.shape[0], width]);
}

/** The inverse of `joined`; `rows` is the number of queries in all. */
function parted(both: tf.Tensor2D, rows: number, batch: number): [tf.Tensor2D, tf.Tensor2D] {
  const [all, width] = both.shape;
  const samples: tf.Tensor3D = tf.reshape(both, [batch, all / batch, width]);
  const part = (from: number, length: number): tf.Tensor2D =>
    tf.reshape(tf.slice(samples, [0, from, 0], [batch, length, width]), [batch * length, width]);
  return [part(0, rows / batch), part(rows / batch, (all - rows) / batch)];
}
