import { hasNativeOps } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import {
  type AttentionPattern,
  attend,
  attendParts,
  mergeHeads,
  patternBias,
  splitHeads,
} from './attention.ts';
import type { Initializer } from './init.ts';
import { Linear } from './linear.ts';
import { nativeAttention, nativeCachedAttention } from './native.ts';
import type { Scope } from './parameter.ts';
import { type RotaryTables, rotate, rotateRows } from './rotary.ts';

export interface SelfAttentionOptions {
  readonly width: number;
  readonly heads: number;
  /** Heads of keys and values, fewer than `heads` for grouped queries; `heads` by default. */
  readonly keyHeads?: number;
  /** Width of a head; width / heads by default. */
  readonly headWidth?: number;
  /** Names of the four projections below the scope. */
  readonly names: {
    readonly query: string;
    readonly key: string;
    readonly value: string;
    readonly output: string;
  };
  readonly inputBias: boolean;
  readonly outputBias: boolean;
  readonly inputStart: Initializer;
  readonly outputStart: Initializer;
}

/** Keys (rotated already) and values of the positions seen so far, [batch, keyHeads, positions, headWidth]. */
export interface KeysAndValues {
  readonly keys: tf.Tensor4D;
  readonly values: tf.Tensor4D;
}

export interface AttentionContext {
  readonly batch: number;
  /** Who sees whom: a pattern of all positions given, or an additive mask; null where all see all. */
  readonly bias: AttentionPattern | tf.Tensor4D | null;
  readonly rotary?: RotaryTables;
  /** What came before, for one-token-at-a-time decoding. */
  readonly past?: KeysAndValues;
  /** How `past` is written where it has a fixed number of slots; without it, new keys and values are put behind it. */
  readonly fixed?: FixedSlots;
  /** Slots of `past` that each sample sees, as `nativeCachedAttention` takes them: `past` is then written in place. */
  readonly seen?: tf.Tensor2D;
}

/** A cache in two pieces: a prompt, which stays as it is, and `past`, of which one slot is written. */
export interface FixedSlots {
  readonly prompt: KeysAndValues;
  /** Additive mask of the prompt's slots [batch, 1, 1, slots]. */
  readonly promptBias: tf.Tensor4D;
  /** 1 at the slot of `past` that the new keys and values go to, 0 at the others, [1, 1, slots, 1]. */
  readonly write: tf.Tensor4D;
}

/** Multi-head self-attention with its four projections. */
export class SelfAttention {
  readonly #query: Linear;
  readonly #key: Linear;
  readonly #value: Linear;
  readonly #output: Linear;
  readonly #heads: number;
  readonly #keyHeads: number;

  constructor(scope: Scope, options: SelfAttentionOptions) {
    const { width, heads, names, inputBias: bias, inputStart: weight } = options;
    const headWidth = options.headWidth ?? width / heads;
    this.#heads = heads;
    this.#keyHeads = options.keyHeads ?? heads;
    this.#query = new Linear(scope.at(names.query), width, heads * headWidth, { bias, weight });
    this.#key = new Linear(scope.at(names.key), width, this.#keyHeads * headWidth, { bias, weight });
    this.#value = new Linear(scope.at(names.value), width, this.#keyHeads * headWidth, { bias, weight });
    this.#output = new Linear(scope.at(names.output), heads * headWidth, width, {
      bias: options.outputBias,
      weight: options.outputStart,
    });
  }

  /** [batch · length, width] -> the same, with the keys and values that a later call may take as `past`. */
  apply(x: tf.Tensor2D, context: AttentionContext): { readonly out: tf.Tensor2D } & KeysAndValues {
    const { batch, bias, rotary, past, fixed, seen: slots } = context;
    if (past !== undefined && slots !== undefined) return this.#applyCached(x, past, slots, rotary);
    if (past === undefined && !(bias instanceof tf.Tensor) && hasNativeOps()) {
      return this.#applyNative(x, batch, bias, rotary);
    }
    const length = x.shape[0] / batch;
    const mask = bias === null || bias instanceof tf.Tensor ? bias : patternBias(bias, length);
    const turn = (t: tf.Tensor4D): tf.Tensor4D => (rotary === undefined ? t : rotate(t, rotary));
    const q = turn(splitHeads(this.#query.apply(x), batch, this.#heads));
    const k = turn(splitHeads(this.#key.apply(x), batch, this.#keyHeads));
    const v = splitHeads(this.#value.apply(x), batch, this.#keyHeads);
    if (fixed !== undefined && past !== undefined && mask !== null) {
      const written = (before: tf.Tensor4D, now: tf.Tensor4D): tf.Tensor4D =>
        tf.add(tf.mul(before, tf.sub(1, fixed.write)), tf.mul(now, fixed.write));
      const recent = { keys: written(past.keys, k), values: written(past.values, v) };
      const seen = attendParts(q, [
        { ...fixed.prompt, bias: fixed.promptBias },
        { ...recent, bias: mask },
      ]);
      return { out: this.#output.apply(mergeHeads(seen)), ...recent };
    }
    const keys = past === undefined ? k : tf.concat([past.keys, k], 2);
    const values = past === undefined ? v : tf.concat([past.values, v], 2);
    return { out: this.#output.apply(mergeHeads(attend(q, keys, values, mask))), keys, values };
  }

  /** One token of each sample, whose keys and values are written to the cache that is read. */
  #applyCached(
    x: tf.Tensor2D,
    past: KeysAndValues,
    slots: tf.Tensor2D,
    rotary: RotaryTables | undefined,
  ): { readonly out: tf.Tensor2D } & KeysAndValues {
    const turn = (t: tf.Tensor2D): tf.Tensor2D => (rotary === undefined ? t : rotateRows(t, rotary));
    const q = turn(this.#query.apply(x));
    const k = turn(this.#key.apply(x));
    const seen = nativeCachedAttention(q, k, this.#value.apply(x), past, slots);
    return { out: this.#output.apply(seen), ...past };
  }

  /** The same by fused ops, which read rows as the projections leave them. */
  #applyNative(
    x: tf.Tensor2D,
    batch: number,
    pattern: AttentionPattern | null,
    rotary: RotaryTables | undefined,
  ): { readonly out: tf.Tensor2D } & KeysAndValues {
    const turn = (t: tf.Tensor2D): tf.Tensor2D => (rotary === undefined ? t : rotateRows(t, rotary));
    const q = turn(this.#query.apply(x));
    const k = turn(this.#key.apply(x));
    const v = this.#value.apply(x);
    const { causal = false, segments = null } = pattern ?? {};
    const options = { batch, heads: this.#heads, keyHeads: this.#keyHeads, causal, segments };
    return {
      out: this.#output.apply(nativeAttention(q, k, v, options)),
      keys: splitHeads(k, batch, this.#keyHeads),
      values: splitHeads(v, batch, this.#keyHeads),
    };
  }
}
