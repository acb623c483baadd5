import { tensorflowBackend } from '../engine/backend.ts';
import type { CompiledFunctions } from '../engine/compile.ts';
import { hasNativeOps } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import { GroundError } from '../errors.ts';
import { causalKeyBias, keyBias } from '../nn/attention.ts';
import type { KeysAndValues } from '../nn/self-attention.ts';
import type { DecoderContext, DecoderOutput, Llama } from './llama.ts';

/** What one-token-at-a-time decoding remembers. Its tensors live until `release`, or until `decodeNext` replaces them. */
export interface DecodeCache {
  /** Per block, keys and values: of all positions so far, or, beside `fixed`, of the tokens decoded. */
  readonly past: readonly KeysAndValues[];
  /** Positions in use of each prompt. */
  readonly lengths: readonly number[];
  /** Length to which the prompts are padded; tokens decoded since stand behind it. */
  readonly padded: number;
  readonly padding: Padding;
  /** Tokens decoded so far. */
  readonly decoded: number;
  /**
   * How `past` has a fixed number of slots: beside the prompts' keys and values, or with them in its first slots, and then
   * written in place; null where it grows with each token.
   */
  readonly fixed: { readonly prompts: readonly KeysAndValues[] } | 'in place' | null;
}

/** On which side of a prompt the positions lie that are not in use. */
export type Padding = 'left' | 'right';

/** Scores of the next token [B, vocab_size] and the cache to go on from. The caller owns both. */
export interface DecodeStep {
  readonly logits: tf.Tensor2D;
  readonly cache: DecodeCache;
}

export interface PrefillOptions {
  /** Right by default. Positions count what is in use, as transformers' generation does (cumsum(mask) - 1). */
  readonly padding?: Padding;
  /**
   * How many tokens will be decoded at most. Their keys and values then get all their room at once, so that every step has
   * the same shapes and can be recorded; only libtensorflow, which records, makes use of it.
   */
  readonly room?: number;
}

/** Slots of prompts and of decoded tokens are multiples of this, so that few different steps are recorded. */
const SLOT_UNIT = 32;

/** Reads prompts [B · T, hidden_size], each padded to T; `lengths` says how much of each is in use. */
export function prefillPrompts(
  llm: Llama,
  embeddings: tf.Tensor2D,
  lengths: readonly number[],
  { padding = 'right', room = 0 }: PrefillOptions = {},
): DecodeStep {
  const padded = embeddings.shape[0] / lengths.length;
  const place = { lengths, padded, padding, decoded: 0, fixed: null };
  const step = finish(llm, place, () => {
    const output = llm.decode(embeddings, promptContext(llm, lengths, padded, padding));
    const last = lengths.map((length, b) => b * padded + (padding === 'left' ? padded : length) - 1);
    const rows = tf.gather(output.states[output.states.length - 1] as tf.Tensor2D, last);
    return { output, rows };
  });
  return room > 0 && tensorflowBackend() !== undefined ? withRoom(step, room) : step;
}

/** Slots for `count` positions. */
function wholeSlots(count: number): number {
  return Math.ceil(count / SLOT_UNIT) * SLOT_UNIT;
}

/** x [batch, heads, slots, width] and more slots behind it, zero. */
function withSlots(x: tf.Tensor4D, behind: number): tf.Tensor4D {
  if (behind === 0) return tf.clone(x);
  return tf.pad(x, [
    [0, 0],
    [0, 0],
    [0, behind],
    [0, 0],
  ]);
}

/** Makes empty slots for the keys and values of `room` tokens. Frees what it replaces. */
function withRoom(step: DecodeStep, room: number): DecodeStep {
  return hasNativeOps() ? withRoomBehind(step, room) : withRoomBeside(step, room);
}

/** Puts the empty slots behind those of the prompt: the fused op writes them in place. */
function withRoomBehind({ logits, cache }: DecodeStep, room: number): DecodeStep {
  const behind = wholeSlots(cache.padded) - cache.padded + wholeSlots(room);
  const past = cache.past.map(({ keys, values }) => ({
    keys: withSlots(keys, behind),
    values: withSlots(values, behind),
  }));
  releaseCache(cache);
  return { logits, cache: { ...cache, past, fixed: 'in place' } };
}

/** Sets the prompt's keys and values apart. */
function withRoomBeside({ logits, cache }: DecodeStep, room: number): DecodeStep {
  const widened = (x: tf.Tensor4D): tf.Tensor4D => withSlots(x, wholeSlots(x.shape[2]) - x.shape[2]);
  const empty = (x: tf.Tensor4D): tf.Tensor4D => {
    const [batch, heads, , width] = x.shape;
    return tf.fill([batch, heads, wholeSlots(room), width], 0);
  };
  const prompts = cache.past.map(({ keys, values }) => ({ keys: widened(keys), values: widened(values) }));
  const past = cache.past.map(({ keys, values }) => ({ keys: empty(keys), values: empty(values) }));
  releaseCache(cache);
  return { logits, cache: { ...cache, past, fixed: { prompts } } };
}

function promptContext(
  llm: Llama,
  lengths: readonly number[],
  padded: number,
  padding: Padding,
): DecoderContext {
  const batch = lengths.length;
  if (padding === 'right') return llm.sequence(batch, padded);
  const places = lengths.flatMap(length => Array.from({ length: padded }, (_, t) => t - (padded - length)));
  const visible = Float32Array.from(places, place => (place >= 0 ? 1 : 0));
  return {
    batch,
    rotary: llm.rotary(
      places.map(place => Math.max(place, 0)),
      batch,
    ),
    bias: causalKeyBias(tf.tensor2d(visible, [batch, padded])),
  };
}

/**
 * Appends one token to each sample (int32 [B]) and frees the old cache. A sample's tokens continue its own positions;
 * padding stays hidden, so that the scores are those of the unpadded sequence. With a fixed number of slots the step is
 * a function recorded in `functions`. Throws a model error where no slot is left.
 */
export function decodeNext(
  llm: Llama,
  tokens: tf.Tensor1D,
  cache: DecodeCache,
  functions?: CompiledFunctions,
): DecodeStep {
  const { past, fixed } = cache;
  if (fixed === 'in place') return inPlace(llm, tokens, cache, functions);
  const step = fixed === null ? growing(llm, tokens, cache) : recorded(llm, tokens, cache, fixed, functions);
  disposeAll(past);
  return step;
}

function growing(llm: Llama, tokens: tf.Tensor1D, cache: DecodeCache): DecodeStep {
  const { lengths, padded, decoded } = cache;
  return finish(llm, { ...cache, decoded: decoded + 1 }, () => {
    const output = llm.decode(llm.embed(tokens), {
      batch: lengths.length,
      rotary: nextRotary(llm, cache),
      bias: visibleBias(
        lengths.length,
        padded + decoded + 1,
        (b, slot) => slot >= padded || inPrompt(cache, b, slot),
      ),
      past: cache.past,
    });
    return { output, rows: output.states[output.states.length - 1] as tf.Tensor2D };
  });
}

function noRoom(slots: number): GroundError {
  return new GroundError('model', `there is no room for a token after ${slots}`, {
    hint: 'reserve room for as many tokens as will be decoded',
  });
}

function inPlace(
  llm: Llama,
  tokens: tf.Tensor1D,
  cache: DecodeCache,
  functions: CompiledFunctions | undefined,
): DecodeStep {
  const { lengths, padded, padding, decoded, past } = cache;
  const batch = lengths.length;
  const free = (past[0]?.keys.shape[2] ?? 0) - wholeSlots(padded);
  if (decoded >= free) throw noRoom(free);
  const rotary = nextRotary(llm, cache);
  const ranges = lengths.flatMap(length => {
    const [from, to] = padding === 'left' ? [padded - length, padded] : [0, length];
    return [from, to, padded, padded + decoded + 1];
  });
  const seen = tf.tensor2d(Int32Array.from(ranges), [batch, 4], 'int32');
  const made = [seen, rotary.cos, rotary.sin, rotary.swap];
  const pass = (): tf.Tensor[] => {
    const { states } = llm.decode(llm.embed(tokens), { batch, rotary, bias: null, past, seen });
    return [llm.logits(llm.normalized(states[states.length - 1] as tf.Tensor2D))];
  };
  const weights = llm.parameters.map(parameter => parameter.value);
  const inputs = [tokens, ...made, ...tensorsOf(past), ...weights];
  try {
    const [logits] = functions ? functions.call('decode', inputs, pass) : tf.tidy(pass);
    return { logits: logits as tf.Tensor2D, cache: { ...cache, decoded: decoded + 1 } };
  } finally {
    tf.dispose(made);
  }
}

function recorded(
  llm: Llama,
  tokens: tf.Tensor1D,
  cache: DecodeCache,
  { prompts }: Exclude<DecodeCache['fixed'], 'in place' | null>,
  functions: CompiledFunctions | undefined,
): DecodeStep {
  const { lengths, decoded, past } = cache;
  const batch = lengths.length;
  const slots = past[0]?.keys.shape[2] ?? 0;
  if (decoded >= slots) throw noRoom(slots);
  const rotary = nextRotary(llm, cache);
  const bias = visibleBias(batch, slots, (_, slot) => slot <= decoded);
  const promptBias = visibleBias(batch, prompts[0]?.keys.shape[2] ?? 0, (b, slot) =>
    inPrompt(cache, b, slot),
  );
  const place = Float32Array.from({ length: slots }, (_, slot) => (slot === decoded ? 1 : 0));
  const write = tf.tensor4d(place, [1, 1, slots, 1]);
  const made = [bias, promptBias, write, rotary.cos, rotary.sin, rotary.swap];
  const pass = (): tf.Tensor[] => {
    const context = { batch, rotary, bias, past, fixed: { prompts, promptBias, write } };
    const output = llm.decode(llm.embed(tokens), context);
    const rows = output.states[output.states.length - 1] as tf.Tensor2D;
    return [llm.logits(llm.normalized(rows)), ...tensorsOf(output.past)];
  };
  const weights = llm.parameters.map(parameter => parameter.value);
  const inputs = [tokens, ...made, ...tensorsOf(prompts), ...tensorsOf(past), ...weights];
  try {
    const results = functions ? functions.call('decode', inputs, pass) : tf.tidy(pass);
    return stepOf(results, { ...cache, decoded: decoded + 1 });
  } finally {
    tf.dispose(made);
  }
}

/** Rotations of the position that each sample decodes next. */
function nextRotary(llm: Llama, { lengths, decoded }: DecodeCache): DecoderContext['rotary'] {
  return llm.rotary(
    lengths.map(length => length + decoded),
    lengths.length,
  );
}

/** Whether a slot of sample `b` holds a position of its prompt that is in use. */
function inPrompt({ lengths, padded, padding }: DecodeCache, b: number, slot: number): boolean {
  const length = lengths[b] ?? 0;
  return padding === 'left' ? slot >= padded - length && slot < padded : slot < length;
}

/** An additive mask [batch, 1, 1, slots] that hides slots. */
function visibleBias(
  batch: number,
  slots: number,
  isVisible: (b: number, slot: number) => boolean,
): tf.Tensor4D {
  const visible = Float32Array.from({ length: batch * slots }, (_, i) =>
    isVisible(Math.floor(i / slots), i % slots) ? 1 : 0,
  );
  return tf.tidy(() => keyBias(tf.tensor2d(visible, [batch, slots])));
}

export function releaseCache({ past, fixed }: DecodeCache): void {
  disposeAll(past);
  if (fixed !== null && fixed !== 'in place') disposeAll(fixed.prompts);
}

function disposeAll(kept: readonly KeysAndValues[]): void {
  tf.dispose(tensorsOf(kept));
}

function tensorsOf(kept: readonly KeysAndValues[]): tf.Tensor[] {
  return kept.flatMap(({ keys, values }) => [keys, values]);
}

/** Scores the rows and keeps nothing but the scores, keys and values of a pass. */
function finish(
  llm: Llama,
  place: Omit<DecodeCache, 'past'>,
  pass: () => { readonly output: DecoderOutput; readonly rows: tf.Tensor2D },
): DecodeStep {
  const made = tf.tidy(() => {
    const { output, rows } = pass();
    const scored = llm.logits(llm.normalized(rows));
    return [scored, ...tensorsOf(output.past)];
  });
  return stepOf(made, place);
}

/** Scores, then keys and values of each block. */
function stepOf([logits, ...past]: readonly tf.Tensor[], place: Omit<DecodeCache, 'past'>): DecodeStep {
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
