import * as tf from '../engine/tf.ts';
import { keyBias } from '../nn/attention.ts';
import type { KeysAndValues } from '../nn/self-attention.ts';
import type { DecoderOutput, Llama } from './llama.ts';

/** What one-token-at-a-time decoding remembers. Its tensors live until `release`, or until `decodeNext` replaces them. */
export interface DecodeCache {
  readonly past: readonly KeysAndValues[];
  /** Positions in use of each prompt. */
  readonly lengths: readonly number[];
  /** Length to which the prompts are padded on the right; tokens decoded since stand behind it. */
  readonly padded: number;
  /** Tokens decoded so far. */
  readonly decoded: number;
}

/** Scores of the next token [B, vocab_size] and the cache to go on from. The caller owns both. */
export interface DecodeStep {
  readonly logits: tf.Tensor2D;
  readonly cache: DecodeCache;
}

/** Reads prompts [B · T, hidden_size], each padded on the right to T; `lengths` says how much of each is in use. */
export function prefillPrompts(llm: Llama, embeddings: tf.Tensor2D, lengths: readonly number[]): DecodeStep {
  const padded = embeddings.shape[0] / lengths.length;
  return finish(llm, { lengths, padded, decoded: 0 }, () => {
    const output = llm.decode(embeddings, llm.sequence(lengths.length, padded));
    const last = lengths.map((length, b) => b * padded + length - 1);
    return { output, rows: tf.gather(output.states[output.states.length - 1] as tf.Tensor2D, last) };
  });
}

/**
 * Appends one token to each sample (int32 [B]) and frees the old cache. A sample's tokens continue its own positions;
 * the padding between its prompt and them stays hidden, so that the scores are those of the unpadded sequence.
 */
export function decodeNext(llm: Llama, tokens: tf.Tensor1D, cache: DecodeCache): DecodeStep {
  const { lengths, padded, decoded } = cache;
  const slots = padded + decoded + 1;
  const visible = Float32Array.from({ length: lengths.length * slots }, (_, i) => {
    const slot = i % slots;
    return slot < (lengths[Math.floor(i / slots)] ?? 0) || slot >= padded ? 1 : 0;
  });
  const step = finish(llm, { lengths, padded, decoded: decoded + 1 }, () => {
    const output = llm.decode(llm.embed(tokens), {
      batch: lengths.length,
      rotary: llm.rotary(
        lengths.map(length => length + decoded),
        lengths.length,
      ),
      bias: keyBias(tf.tensor2d(visible, [lengths.length, slots])),
      past: cache.past,
    });
    return { output, rows: output.states[output.states.length - 1] as tf.Tensor2D };
  });
  releaseCache(cache);
  return step;
}

export function releaseCache(cache: DecodeCache): void {
  for (const { keys, values } of cache.past) tf.dispose([keys, values]);
}

/** Scores the rows and keeps nothing but the scores, keys and values of a pass. */
function finish(
  llm: Llama,
  place: Omit<DecodeCache, 'past'>,
  pass: () => { readonly output: DecoderOutput; readonly rows: tf.Tensor2D },
): DecodeStep {
  const [logits, ...past] = tf.tidy(() => {
    const { output, rows } = pass();
    const scored = llm.logits(llm.normalized(rows));
    return [scored, ...output.past.flatMap(({ keys, values }) => [keys, values])] as tf.Tensor[];
  });
  return {
    logits: logits as tf.Tensor2D,
    cache: {
      ...place,
      past: Array.from({ length: past.length / 2 }, (_, i) => ({
        keys: past[2 * i] as tf.Tensor4D,
        values: past[2 * i + 1] as tf.Tensor4D,
      })),
    },
  };
}
