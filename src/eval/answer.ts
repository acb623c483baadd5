/** Prepared samples to answers, and to losses: the two things evaluation asks of a model. */
import { collate } from '../data/collate.ts';
import type { Sample } from '../data/sample.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import * as tf from '../engine/tf.ts';
import type { ModelConfig } from '../models/config.ts';
import type { Ferret, VisualFeatures } from '../models/ferret.ts';
import { type ConversationTensors, disposeTensors, toTensors } from '../models/tensors.ts';
import { type Generated, type GenerateOptions, generate } from './generate.ts';
import type { LossSum } from './metrics/caption.ts';
import { checkSampling, type Sampling } from './sampling.ts';

/**
 * The tokens that end an answer: the end token, under the plain template the line break that closes it, under a chat
 * template what ends a turn.
 */
export function stopTokens(tokenizer: Tokenizer, template: ModelConfig['template']): Set<number> {
  const stop = new Set([tokenizer.endId]);
  const lineBreak = tokenizer.encodeContinuation('\n');
  if (template === 'plain' && lineBreak.length === 1) stop.add(lineBreak[0] ?? tokenizer.endId);
  const endOfTurn = template === 'chat' ? tokenizer.idOf(tokenizer.chat?.endToken ?? '') : undefined;
  if (endOfTurn !== undefined) stop.add(endOfTurn);
  return stop;
}

/** A generated answer as text, without blanks around it. */
export interface Answer {
  readonly text: string;
  readonly tokens: number;
  /** False where the limit of new tokens cut it off. */
  readonly finished: boolean;
}

export interface AnswerOptions {
  readonly maxNewTokens: number;
  /** Draws tokens at random; greedy without it. A sample's answer depends on the seed and its id. */
  readonly sampling?: Sampling;
  /** Texts that end an answer; they are no part of it. */
  readonly stopStrings?: readonly string[];
}

/** What can be asked, and says how likely it finds an answer: a model in the engine, or an exported one without. */
export interface AskedModel {
  readonly config: ModelConfig;
  /** Answers to prompts (samples prepared with `prompt`), all in one batch. */
  answer(prompts: readonly Sample[], options: AnswerOptions): Promise<Answer[]>;
  /** The language loss of samples with their answers: the sum over supervised tokens, and their number. */
  loss(samples: readonly Sample[]): Promise<LossSum>;
}

/** A model in the engine as one that can be asked. */
export function askedModel(model: Ferret, tokenizer: Tokenizer): AskedModel {
  return {
    config: model.config,
    answer: (prompts, options) => answerPrompts(model, tokenizer, prompts, options),
    loss: samples => lossOf(model, samples),
  };
}

/**
 * Answers to prompts (samples prepared with `prompt`), all in one batch. A prompt and its answer never exceed the model's
 * `max_length`, which may cut the answers short of `maxNewTokens`. Throws GroundError 'usage' for sampling values that
 * draw nothing.
 */
export async function answerPrompts(
  model: Ferret,
  tokenizer: Tokenizer,
  prompts: readonly Sample[],
  options: AnswerOptions,
): Promise<Answer[]> {
  return withTensors(model, prompts, (tensors, visual) =>
    answersFrom(model.config, tokenizer, prompts, tensors.length, options, generation =>
      generate(
        {
          prefill: room => model.prefill(tensors, visual, room),
          decode: (tokens, cache) => model.decode(tokens, cache),
          release: cache => model.release(cache),
        },
        generation,
      ),
    ),
  );
}

/**
 * What surrounds the generation of answers, whatever generates them: where it ends, and tokens to text. `length`: that of
 * the prompts' rows. Throws GroundError 'usage' for sampling values that draw nothing.
 */
export async function answersFrom(
  config: ModelConfig,
  tokenizer: Tokenizer,
  prompts: readonly Sample[],
  length: number,
  { maxNewTokens, sampling, stopStrings = [] }: AnswerOptions,
  generated: (options: GenerateOptions) => Promise<Generated[]>,
): Promise<Answer[]> {
  if (sampling) checkSampling(sampling);
  const answers = await generated({
    stop: stopTokens(tokenizer, config.template),
    maxNewTokens: Math.min(maxNewTokens, Math.max(0, config.max_length - length)),
    names: prompts.map(prompt => prompt.id),
    ...(sampling && { sampling }),
    ...(stopStrings.length > 0 && {
      isComplete: tokens => firstOf(tokenizer.decode(tokens), stopStrings) >= 0,
    }),
  });
  return answers.map(answer => {
    const text = tokenizer.decode(answer.tokens);
    const end = firstOf(text, stopStrings);
    return {
      text: (end < 0 ? text : text.slice(0, end)).trim(),
      tokens: answer.tokens.length,
      finished: answer.stopped,
    };
  });
}

/** Where the first of several strings begins in a text; -1 where none does. */
function firstOf(text: string, strings: readonly string[]): number {
  const places = strings.map(string => text.indexOf(string)).filter(place => place >= 0);
  return places.length === 0 ? -1 : Math.min(...places);
}

/** The language loss of samples with their answers: the sum over supervised tokens, and their number. */
export async function lossOf(model: Ferret, samples: readonly Sample[]): Promise<LossSum> {
  return await withTensors(model, samples, async (tensors, visual) => {
    const [loss, weight] = tf.tidy(() => {
      const result = model.languageLoss(tensors, visual);
      return [result.loss, result.weight] as const;
    });
    try {
      const [sum, count] = await Promise.all([loss.data(), weight.data()]);
      return { loss: sum[0] ?? 0, weight: count[0] ?? 0 };
    } finally {
      tf.dispose([loss, weight]);
    }
  });
}

/** Copies a batch into the engine, runs the encoders, hands both over, and frees both whatever happens. */
async function withTensors<T>(
  model: Ferret,
  samples: readonly Sample[],
  work: (tensors: ConversationTensors, visual: VisualFeatures) => Promise<T>,
): Promise<T> {
  const tensors = toTensors(collate(samples, model.config, { buckets: false }));
  try {
    const visual = model.visual(tensors);
    try {
      return await work(tensors, visual);
    } finally {
      if (visual.global) tf.dispose(visual.global);
      if (visual.local) tf.dispose(visual.local);
    }
  } finally {
    disposeTensors(tensors);
  }
}
