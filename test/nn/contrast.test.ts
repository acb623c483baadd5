import { beforeAll, describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { patchInfoNce, unitRows } from '../../src/nn/contrast.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { randomTensor } from '../helpers/numbers.ts';

beforeAll(startTestEngine);

describe('patchInfoNce', () => {
  // Three regions of two patches; the last only pads. The first two have one phrase, so they are no negatives.
  const shares = [
    [0.25, 0.75],
    [1, 0],
    [0, 0],
  ];
  const blocked = [
    [0, -1e9, -1e9],
    [-1e9, 0, -1e9],
    [0, 0, 0],
  ];
  const weights = [1, 1, 0];

  it('is the mean over regions of what their patches lose, by their shares', () => {
    tf.tidy(() => {
      const patches = tf.mul(randomTensor('patches', [3, 2, 4]), 3) as tf.Tensor3D;
      const phrases = unitRows(randomTensor('phrases', [3, 4]));
      const other = blocked.map((row, i) => row.map((_, j) => (i === j || j === 1 ? 0 : -1e9)));
      const loss = patchInfoNce(patches, phrases, tf.tensor2d(shares), {
        blocked: tf.tensor2d(other),
        weights: tf.tensor1d(weights),
      }).dataSync()[0];
      const [p, q] = [patches.arraySync(), phrases.arraySync()];
      const lost = (region: number, patch: number): number => {
        const logits = q.map(
          (phrase, j) =>
            phrase.reduce((sum, x, d) => sum + x * (p[region]?.[patch]?.[d] ?? 0), 0) +
            (other[region]?.[j] ?? 0),
        );
        return Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0)) - (logits[region] ?? 0);
      };
      expect(loss).toBeCloseTo((0.25 * lost(0, 0) + 0.75 * lost(0, 1) + lost(1, 0)) / 2, 5);
    });
  });

  it('is 0 where no region has a negative, and without any region', () => {
    tf.tidy(() => {
      const patches = randomTensor('patches', [3, 2, 4]) as tf.Tensor3D;
      const phrases = unitRows(randomTensor('phrases', [3, 4]));
      const of = (counted: number[]) =>
        patchInfoNce(patches, phrases, tf.tensor2d(shares), {
          blocked: tf.tensor2d(blocked),
          weights: tf.tensor1d(counted),
        }).dataSync()[0];
      expect(of(weights)).toBeCloseTo(0, 6);
      expect(of([0, 0, 0])).toBe(0);
    });
  });
});
