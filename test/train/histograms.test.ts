import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { gradientHistograms, histogramOf, weightHistograms } from '../../src/train/histograms.ts';
import { startTestEngine } from '../helpers/engine.ts';

describe('a histogram', () => {
  it('counts every finite value once, in bins from the smallest to the largest', () => {
    fc.assert(
      fc.property(fc.array(fc.float(), { maxLength: 200 }), values => {
        const finite = values.filter(Number.isFinite);
        const { bins, count, nonFinite, min, max } = histogramOf('weights/x', values);
        expect(bins.reduce((sum, [, , n]) => sum + n, 0)).toBe(finite.length);
        expect([count, nonFinite]).toEqual([values.length, values.length - finite.length]);
        if (finite.length === 0) return;
        expect([min, max]).toEqual([Math.min(...finite), Math.max(...finite)]);
        bins.forEach(([left, right], i) => {
          expect(right).toBeGreaterThan(left);
          if (i > 0) expect(left).toBe(bins[i - 1]?.[1]);
        });
      }),
    );
  });

  it('has the moments of its values, as computed by hand', () => {
    const { mean, deviation, bins } = histogramOf('weights/x', [1, 2, 3, 4, Number.NaN]);
    expect([mean, deviation]).toEqual([2.5, Math.sqrt(1.25)]);
    expect(bins.filter(([, , n]) => n > 0).map(([left]) => Math.round(left * 10) / 10)).toEqual([
      1, 2, 3, 3.9,
    ]);
    expect(histogramOf('weights/x', [7, 7]).bins.filter(([, , n]) => n > 0)).toHaveLength(1);
  });
});

describe('histograms of tensors', () => {
  beforeAll(async () => {
    await startTestEngine();
  });

  it('look at all values of small tensors, at evenly spaced ones of large ones, and leave nothing behind', () => {
    const before = tf.memory().numTensors;
    const small = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const large = tf.range(0, 100_000);
    const parameter = (name: string, value: tf.Tensor) => ({ name, value }) as never;
    const [a, b] = weightHistograms([parameter('small', small), parameter('large', large)]);
    expect(a).toMatchObject({ tag: 'weights/small', count: 4, min: 1, max: 4 });
    expect(b).toMatchObject({ tag: 'weights/large', min: 0 });
    expect(b?.count).toBeGreaterThan(10_000);
    expect(b?.count).toBeLessThanOrEqual(16_384);
    expect(b?.max).toBeGreaterThan(99_990);
    const gradients = gradientHistograms([parameter('x', small), parameter('y', small)], [null, small]);
    expect(gradients.map(({ tag }) => tag)).toEqual(['gradients/y']);
    tf.dispose([small, large]);
    expect(tf.memory().numTensors).toBe(before);
  });
});
