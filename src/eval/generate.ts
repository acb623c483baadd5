/** Generation: token after token, for all rows of a batch together, whatever computes the scores. */
import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import { Random } from '../random.ts';
import { drawToken, likeliest, type Sampling } from './sampling.ts';

/** Logits of the next token of each row, and what decoding needs to go on from there. */
export interface DecodeStep<C> {
  /** [rows, vocabulary] */
  readonly logits: tf.Tensor2D;
  readonly cache: C;
}

/** Scores of the next token of each row, [rows, words]. */
export interface Scored {
  readonly rows: number;
  readonly words: number;
  readonly scores: Float32Array;
}

/** A model that keeps what it has read to itself, and owns nothing that must be freed between two calls. */
export interface ScoringModel {
  /** Reads the prompts. At most `room` tokens will follow. */
  start(room: number): Promise<Scored>;
  /** Appends one token to each row. */
  next(tokens: Int32Array): Promise<Scored>;
}

/** What generation needs of a model of TensorFlow.js. It owns no tensors: `release` frees a cache, `decode` the one it is given. */
export interface GeneratingModel<C> {
  /** Reads the prompts. At most `room` tokens will be decoded. */
  prefill(room: number): DecodeStep<C>;
  /** Appends one token to each row: tokens int32 [rows]. The old cache may not be used after it. */
  decode(tokens: tf.Tensor1D, cache: C): DecodeStep<C>;
  release(cache: C): void;
}

export interface GenerateOptions {
  /** Tokens that end a row; they are no part of the answer. */
  readonly stop: ReadonlySet<number>;
  /** Longest answer in tokens; 0 gives empty answers. */
  readonly maxNewTokens: number;
  /** Draws tokens at random; the most probable one is taken without it. */
  readonly sampling?: Sampling;
  /**
   * What each row is called, `0`, `1`, … where absent. A row draws from a stream of its own, named by (seed, name), so
   * that an answer depends neither on the other rows nor on how many there are.
   */
  readonly names?: readonly string[];
  /** Ends a row for what its tokens say so far: stop strings. */
  readonly isComplete?: (tokens: readonly number[]) => boolean;
}

/** One row's answer. */
export interface Generated {
  readonly tokens: readonly number[];
  /** Whether a stop token or `isComplete` ended it, rather than the limit. */
  readonly stopped: boolean;
}

/** A model of TensorFlow.js as one that gives plain numbers. What it keeps in the engine is freed by `release`. */
export function scoringOf<C>(model: GeneratingModel<C>): ScoringModel & { release(): void } {
  let step: DecodeStep<C> | undefined;
  const scored = async ({ logits }: DecodeStep<C>): Promise<Scored> => {
    const [rows, words] = logits.shape;
    return { rows, words, scores: await logits.data<'float32'>() };
  };
  return {
    async start(room) {
      step = model.prefill(room);
      // Nobody looks at the scores where no token is asked for.
      if (room > 0) return scored(step);
      const [rows, words] = step.logits.shape;
      return { rows, words, scores: new Float32Array(0) };
    },
    next(tokens) {
      const previous = step;
      if (previous === undefined) throw new GroundError('model', 'a token was given before the prompt');
      const fed = tf.tensor1d(tokens, 'int32');
      try {
        step = model.decode(fed, previous.cache);
      } finally {
        fed.dispose();
        if (step !== previous) previous.logits.dispose();
      }
      return scored(step);
    },
    release() {
      if (step === undefined) return;
      step.logits.dispose();
      model.release(step.cache);
      step = undefined;
    },
  };
}

/**
 * Answers all rows of a batch together. Rows that have ended go on being fed until the last one ends; what they
 * would say then is dropped. Disposes every tensor that it and the model make, also when the model throws.
 */
export async function generate<C>(model: GeneratingModel<C>, options: GenerateOptions): Promise<Generated[]> {
  const scoring = scoringOf(model);
  try {
    return await generateFrom(scoring, options);
  } finally {
    scoring.release();
  }
}

/** The same from a model that gives plain numbers. */
export async function generateFrom(model: ScoringModel, options: GenerateOptions): Promise<Generated[]> {
  const { stop, maxNewTokens, sampling, names, isComplete } = options;
  let scored = await model.start(maxNewTokens);
  const { rows, words } = scored;
  const answers = Array.from({ length: rows }, (_, row) => ({
    tokens: [] as number[],
    stopped: false,
    random: new Random(sampling?.seed ?? 0, 'answer', names?.[row] ?? row),
  }));
  for (let length = 0; length < maxNewTokens; length++) {
    const next = new Int32Array(rows);
    for (const [row, answer] of answers.entries()) {
      if (answer.stopped) continue;
      const own = scored.scores.subarray(row * words, (row + 1) * words);
      const token = sampling === undefined ? likeliest(own) : drawToken(own, sampling, answer.random);
      next[row] = token;
      if (stop.has(token)) answer.stopped = true;
      else {
        answer.tokens.push(token);
        answer.stopped = isComplete?.(answer.tokens) ?? false;
      }
    }
    if (answers.every(answer => answer.stopped) || length + 1 === maxNewTokens) break;
    scored = await model.next(next);
  }
  return answers.map(({ tokens, stopped }) => ({ tokens, stopped }));
}
