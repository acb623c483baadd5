/**
 * Which source gives the next sample. Weighted shares follow the golden-ratio sequence, so that any stretch of draws
 * has nearly the right shares, and draw n needs nothing but n.
 */
import { GroundError } from '../errors.ts';
import { hashSeed } from '../random.ts';

const GOLDEN = 0.6180339887498949;

/** Shares of a stage from which and until which something is drawn. */
export type During = readonly [from: number, until: number];

/** Whether step `step` of `steps` (from 0) lies within those shares of the stage. What is planned beyond its end counts as its last step. */
export function isDuring([from, until]: During, step: number, steps: number): boolean {
  const share = Math.min(step, steps - 1) / steps;
  return from <= share && share < until;
}

/** Index of the weight that draw number `draw` falls to. Throws `config` when no weight is positive. */
export function drawIndex(
  weights: readonly number[],
  draw: number,
  ...name: readonly (string | number)[]
): number {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (!(total > 0)) {
    throw new GroundError('config', 'no data source has a positive weight', {
      hint: 'give at least one entry of data a weight above 0',
    });
  }
  const offset = hashSeed('mixture', ...name) / 2 ** 32;
  let left = ((offset + draw * GOLDEN) % 1) * total;
  for (const [i, weight] of weights.entries()) {
    left -= weight;
    if (left < 0 && weight > 0) return i;
  }
  // Rounding may leave the last sliver to nobody.
  return weights.findLastIndex(weight => weight > 0);
}
