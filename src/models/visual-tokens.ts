import * as tf from '../engine/tf.ts';
import { bicubicMatrix } from '../nn/bicubic.ts';

/** Rows and columns of a patch grid. */
export interface Grid {
  readonly rows: number;
  readonly columns: number;
}

/** The patch grid of pixels [batch, channels, height, width]. */
export function gridOf(pixels: tf.Tensor4D, patch: number): Grid {
  return { rows: Math.floor(pixels.shape[2] / patch), columns: Math.floor(pixels.shape[3] / patch) };
}

/**
 * Position embeddings of one image: `table` [1 + side², width] holds the class position and a square grid of patches,
 * which is resampled where `grid` is another: bicubic, with antialiasing where transformers does so. -> class [1, width], patches
 * [rows · columns, width].
 */
export function positionsFor(
  table: tf.Tensor2D,
  grid: Grid,
  antialias = false,
): { readonly first: tf.Tensor2D; readonly patches: tf.Tensor2D } {
  const [rows, width] = table.shape;
  const side = Math.round(Math.sqrt(rows - 1));
  const first = tf.slice(table, [0, 0], [1, width]);
  const patches = tf.slice(table, [1, 0], [rows - 1, width]);
  if (grid.rows === side && grid.columns === side) return { first, patches };
  const weights = bicubicMatrix({ rows: side, columns: side }, grid, antialias);
  const matrix = tf.tensor2d(weights, [grid.rows * grid.columns, side * side]);
  return { first, patches: tf.matMul(matrix, patches) };
}

/**
 * Puts the same leading tokens [n, width] before each image's patches [batch · patches, width] ->
 * [batch · (n + patches), width].
 */
export function withLeading(leading: tf.Tensor2D, patches: tf.Tensor3D): tf.Tensor2D {
  const [batch, count, width] = patches.shape;
  const n = leading.shape[0];
  // Added to zeros, not tiled: tile's gradient is one slice and one addition an image.
  const repeated: tf.Tensor3D = tf.add(tf.zeros([batch, n, width]), tf.reshape(leading, [1, n, width]));
  return tf.reshape(tf.concat([repeated, patches], 1), [batch * (n + count), width]);
}

/** Drops the first `leading` tokens of each image: [batch · length, width] -> [batch · (length - leading), width]. */
export function withoutLeading(x: tf.Tensor2D, batch: number, leading: number): tf.Tensor2D {
  const [rows, width] = x.shape;
  const kept = rows / batch - leading;
  const images: tf.Tensor3D = tf.reshape(x, [batch, rows / batch, width]);
  return tf.reshape(tf.slice(images, [0, leading, 0], [batch, kept, width]), [batch * kept, width]);
}

/** Each image's first token: [batch · length, width] -> [batch, width]. */
export function firstTokens(x: tf.Tensor2D, batch: number): tf.Tensor2D {
  const [rows, width] = x.shape;
  const images: tf.Tensor3D = tf.reshape(x, [batch, rows / batch, width]);
  return tf.reshape(tf.slice(images, [0, 0, 0], [batch, 1, width]), [batch, width]);
}
