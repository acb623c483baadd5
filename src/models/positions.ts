import { hasNativeOps } from '../engine/native-ops.ts';
import * as tf from '../engine/tf.ts';
import { nativeRmsNorm } from '../nn/native.ts';
import { rmsStandardize } from '../nn/norm.ts';
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

/** Keeps the length of a token that is zero apart from 0. */
const EPSILON = 1e-6;

/**
 * Projected tokens [n, width], each brought to length 1, ready for positions of that length: what is seen and where then
 * weigh the same. In training projected tokens grow to lengths of 20 to 40; positions added to these drown, and the language
 * model takes many times the steps to point.
 */
export function unitLength(tokens: tf.Tensor2D): tf.Tensor2D {
  const width = tokens.shape[1];
  const unit = width ** -0.5;
  return hasNativeOps()
    ? nativeRmsNorm(tokens, tf.fill([width], unit), EPSILON)
    : tf.mul(rmsStandardize(tokens, EPSILON), unit);
}
