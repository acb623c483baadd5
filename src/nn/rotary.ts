import * as tf from '../engine/tf.ts';
import { fused } from './fused.ts';
import { nativeRotary } from './native.ts';

/** Rotations of rotary position embedding, made once a forward pass and read by every layer. */
export interface RotaryTables {
  /** Cosines and sines [batch or 1, 1, length, width]. */
  readonly cos: tf.Tensor4D;
  readonly sin: tf.Tensor4D;
  /** The matrix [width, width] with x · swap = rotate_half(x) = (-x₂, x₁). */
  readonly swap: tf.Tensor2D;
}

/**
 * Tables for the given positions, `batch` rows of `length` (RoFormer, arXiv 2104.09864, in the rotate-half layout of
 * Llama: component i pairs with i + width/2). Angles are rounded to float32 as published models had them.
 */
export function rotaryTables(
  positions: ArrayLike<number>,
  shape: { readonly batch: number; readonly length: number; readonly width: number; readonly theta: number },
): RotaryTables {
  const { batch, length, width, theta } = shape;
  const half = width / 2;
  const cos = new Float32Array(batch * length * width);
  const sin = new Float32Array(cos.length);
  const frequencies = Array.from({ length: half }, (_, i) => Math.fround(1 / theta ** ((2 * i) / width)));
  for (let row = 0; row < batch * length; row++) {
    const position = positions[row] ?? 0;
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * (frequencies[i] ?? 0));
      const at = row * width + i;
      cos[at] = cos[at + half] = Math.cos(angle);
      sin[at] = sin[at + half] = Math.sin(angle);
    }
  }
  const swap = new Float32Array(width * width);
  for (let i = 0; i < half; i++) {
    swap[(i + half) * width + i] = -1;
    swap[i * width + i + half] = 1;
  }
  return {
    cos: tf.tensor4d(cos, [batch, 1, length, width]),
    sin: tf.tensor4d(sin, [batch, 1, length, width]),
    swap: tf.tensor2d(swap, [width, width]),
  };
}

/** The tables of one row of positions 0 … n-1 at other places: `positions` int32 [batch, length], each in 0..n-1. */
export function rotaryAt(tables: RotaryTables, positions: tf.Tensor2D): RotaryTables {
  const [batch, length] = positions.shape;
  const pick = (table: tf.Tensor4D): tf.Tensor4D => {
    const width = table.shape[3];
    const rows = tf.gather(tf.reshape(table, [-1, width]), tf.reshape(positions, [-1]));
    return tf.reshape(rows, [batch, 1, length, width]);
  };
  return { cos: pick(tables.cos), sin: pick(tables.sin), swap: tables.swap };
}

/** x · cos + rotate_half(x) · sin for x [batch, heads, length, width]. */
export function rotate(x: tf.Tensor4D, tables: RotaryTables): tf.Tensor4D {
  const { cos, sin, swap } = tables;
  const width = x.shape[3];
  // Two matrices, not a broadcast batch of them: both engines are several times faster at that.
  const times = (y: tf.Tensor, matrix: tf.Tensor2D, transposed: boolean): tf.Tensor =>
    tf.reshape(tf.matMul(tf.reshape(y, [-1, width]), matrix, false, transposed), x.shape);
  return fused(
    [x],
    () => ({
      value: tf.add(tf.mul(x, cos), tf.mul(times(x, swap, false), sin)),
      saved: [cos, sin, swap],
    }),
    (dy, saved) => {
      const [c, s, w] = saved as [tf.Tensor4D, tf.Tensor4D, tf.Tensor2D];
      return [tf.add(tf.mul(dy, c), times(tf.mul(dy, s), w, true))];
    },
  );
}

/** `rotate` for rows as projections leave them, x [batch · length, heads · width]; by a fused op. */
export function rotateRows(x: tf.Tensor2D, { cos, sin }: RotaryTables): tf.Tensor2D {
  const flat = (table: tf.Tensor4D): tf.Tensor2D => tf.reshape(table, [-1, table.shape[3]]);
  return nativeRotary(x, flat(cos), flat(sin));
}
