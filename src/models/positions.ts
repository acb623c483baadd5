import * as tf from '../engine/tf.ts';
import type { Grid } from './visual-tokens.ts';

/** Centres (x, y in 0..1) of a row-major grid of patches, [rows · columns, 2], repeated `times`. */
export function gridCentres(grid: Grid, times: number): Float32Array {
  const centres = new Float32Array(times * grid.rows * grid.columns * 2);
  for (let i = 0; i < centres.length / 2; i++) {
    const cell = i % (grid.rows * grid.columns);
    centres[2 * i] = ((cell % grid.columns) + 0.5) / grid.columns;
    centres[2 * i + 1] = (Math.floor(cell / grid.columns) + 0.5) / grid.rows;
  }
  return centres;
}

/**
 * Two-dimensional sine-cosine positions of length 1 for centres [n, 2] (x, y in 0..1) -> [n, width]; width is a multiple
 * of 4. Wavelengths fall geometrically from twice the image's side, which tells all places apart, to two cells of
 * the finest map, `cells` a side.
 */
export function sineCosinePositions(centres: tf.Tensor2D, width: number, cells: number): tf.Tensor2D {
  return tf.tidy(() => {
    const quarter = width / 4;
    const frequencies = new Float32Array(2 * 2 * quarter);
    for (let i = 0; i < quarter; i++) {
      const frequency = Math.PI * cells ** (quarter === 1 ? 0 : i / (quarter - 1));
      frequencies[i] = frequency;
      frequencies[2 * quarter + quarter + i] = frequency;
    }
    const angles = tf.matMul(centres, tf.tensor2d(frequencies, [2, 2 * quarter]));
    const length = Math.sqrt(2 * quarter);
    return tf.div(tf.concat([tf.sin(angles), tf.cos(angles)], 1), length) as tf.Tensor2D;
  });
}
