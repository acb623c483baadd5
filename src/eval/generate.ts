/** Greedy generation: the most probable token at each step, no randomness anywhere. */
import * as tf from '../engine/tf.ts';

/** Logits of the next token of each row, and what decoding needs to go on from there. */
export interface DecodeStep<C> {
  /** [rows, vocabulary] */
  readonly logits: tf.Tensor2D;
  readonly cache: C;
}

/** What generation needs of a model. It owns no tensors: `release` frees a cache, `decode` the one it is given. */
export interface GreedyModel<C> {
  /** Reads the prompts. */
  prefill(): DecodeStep<C>;
  /** Appends one token to each row: tokens int32 [rows]. The old cache may not be used after it. */
  decode(tokens: tf.Tensor1D, cache: C): DecodeStep<C>;
  release(cache: C): void;
}

export interface GreedyOptions {
  /** Tokens that end a row; they are no part of the answer. */
  readonly stop: ReadonlySet<number>;
  /** Longest answer in tokens; 0 gives empty answers. */
  readonly maxNewTokens: number;
}

/** One row's answer. */
export interface Generated {
  readonly tokens: readonly number[];
  /** Whether a stop token ended it, rather than the limit. */
  readonly stopped: boolean;
}

/**
 * Answers all rows of a batch together. Rows that have ended go on being fed until the last one ends; what they
 * would say then is dropped. Disposes every tensor that it and the model make, also when the model throws.
 */
export async function generateGreedy<C>(model: GreedyModel<C>, options: GreedyOptions): Promise<Generated[]> {
  let step = model.prefill();
  try {
    const answers = Array.from({ length: step.logits.shape[0] }, () => ({
      tokens: [] as number[],
      stopped: false,
    }));
    for (let length = 0; length < options.maxNewTokens; length++) {
      const next = await likeliestTokens(step.logits);
      for (const [row, answer] of answers.entries()) {
        if (answer.stopped) continue;
        const token = next[row] ?? 0;
        if (options.stop.has(token)) answer.stopped = true;
        else answer.tokens.push(token);
      }
      if (answers.every(answer => answer.stopped) || length + 1 === options.maxNewTokens) break;
      const fed = tf.tensor1d(next, 'int32');
      const previous = step;
      try {
        step = model.decode(fed, previous.cache);
      } finally {
        fed.dispose();
        if (step !== previous) previous.logits.dispose();
      }
    }
    return answers;
  } finally {
    step.logits.dispose();
    model.release(step.cache);
  }
}

/** The most probable token of each row. */
async function likeliestTokens(logits: tf.Tensor2D): Promise<Int32Array> {
  const best = tf.argMax(logits, 1);
  try {
    return Int32Array.from(await best.data());
  } finally {
    best.dispose();
  }
}
