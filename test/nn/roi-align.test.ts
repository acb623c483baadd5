import { beforeAll, describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { type RoiAlignOptions, roiAlign } from '../../src/nn/roi-align.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { randomTensor } from '../helpers/numbers.ts';

const options: RoiAlignOptions = { output: [2, 3], scale: 0.5, samples: 2, aligned: true };

beforeAll(startTestEngine);

function pooled(
  map: tf.Tensor4D,
  boxes: readonly number[],
  changes: Partial<RoiAlignOptions> = {},
): number[] {
  return tf.tidy(() => [...roiAlign(map, boxes, { ...options, ...changes }).dataSync()]);
}

describe('RoIAlign', () => {
  it('of a ramp is the ramp at the centres of the bins', () => {
    // Value x at cell x, of whose pixels' centres the first lies at 0.5: a bin's mean is its centre less a half.
    const ramp = tf.tidy(() =>
      tf.tile(tf.reshape(tf.range(0, 8), [1, 1, 1, 8]), [1, 1, 6, 1]),
    ) as tf.Tensor4D;
    const want = [2.5, 3.5, 4.5].map(centre => expect.closeTo(centre - 0.5, 5));
    expect(pooled(ramp, [0, 4, 4, 10, 8])).toEqual([...want, ...want]);
    ramp.dispose();
  });

  it('keeps the order of boxes whatever their images', () => {
    const map = randomTensor<tf.Tensor4D>('map', [3, 2, 5, 4]);
    const boxes = [
      [2, 0, 1, 6, 7],
      [0, 2, 2, 5, 9],
      [2, 1, 0, 8, 8],
      [1, 0, 0, 3, 3],
    ];
    const apart = boxes.flatMap(box => pooled(map, box));
    expect(pooled(map, boxes.flat())).toEqual(apart);
    map.dispose();
  });

  it('outside of the map is zero, and so is its gradient', () => {
    const map = randomTensor<tf.Tensor4D>('map', [1, 2, 4, 4]);
    const far = [0, 100, 100, 120, 120];
    expect(pooled(map, far)).toEqual(new Array(12).fill(0));
    const gradient = tf.tidy(() => tf.grad(x => tf.sum(roiAlign(x as tf.Tensor4D, far, options)))(map));
    expect(Math.max(...gradient.dataSync().map(Math.abs))).toBe(0);
    tf.dispose([map, gradient]);
  });

  it('spreads as much gradient as it gathers value', () => {
    // The weights of a bin inside the map sum to 1, so each bin hands back exactly what it is given.
    const map = randomTensor<tf.Tensor4D>('map', [2, 3, 9, 9]);
    const boxes = [0, 4, 4, 12, 10, 1, 3, 2, 9, 13];
    const total = tf.tidy(() =>
      tf.sum(tf.grad(x => tf.sum(roiAlign(x as tf.Tensor4D, boxes, options)))(map)),
    );
    expect(total.dataSync()[0]).toBeCloseTo(2 * 3 * 6, 3);
    tf.dispose([map, total]);
  });

  it('takes one sample a cell where asked to, and none in a box without area', () => {
    const map = tf.ones([1, 1, 6, 6]) as tf.Tensor4D;
    const ones = new Array(6).fill(expect.closeTo(1, 5));
    expect(pooled(map, [0, 1, 1, 9, 9], { samples: 0 })).toEqual(ones);
    expect(pooled(map, [0, 4, 4, 4, 4], { samples: 0 })).toEqual(new Array(6).fill(0));
    expect(pooled(map, [0, 4, 4, 4, 4], { samples: 0, aligned: false })).toEqual(ones);
    map.dispose();
  });

  it('of no boxes is empty', () => {
    const map = tf.ones([1, 5, 3, 3]) as tf.Tensor4D;
    const none = roiAlign(map, [], options);
    expect(none.shape).toEqual([0, 5, 2, 3]);
    tf.dispose([map, none]);
  });
});
