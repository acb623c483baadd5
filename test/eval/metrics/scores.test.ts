import { describe, expect, it } from 'vitest';
import { meanTokenLoss } from '../../../src/eval/metrics/caption.ts';
import { sizeClass } from '../../../src/eval/metrics/size.ts';

describe('meanTokenLoss', () => {
  it('weighs tokens equally, not batches', () => {
    expect(
      meanTokenLoss([
        { loss: 6, weight: 2 },
        { loss: 2, weight: 8 },
      ]),
    ).toBeCloseTo(0.8, 12);
  });

  it('is 0 where nothing is supervised', () => {
    expect(meanTokenLoss([])).toBe(0);
    expect(meanTokenLoss([{ loss: 0, weight: 0 }])).toBe(0);
  });
});

describe('sizeClass', () => {
  const image = { width: 120, height: 60 };
  it.each([
    { width: 20, height: 10, expected: 'large' },
    { width: 10, height: 20, expected: 'large' },
    { width: 20, height: 9.9, expected: 'medium' },
    { width: 10, height: 5, expected: 'medium' },
    { width: 10, height: 4.9, expected: 'small' },
    { width: 120, height: 60, expected: 'large' },
  ])('a box of $width by $height in 120 by 60 is $expected', ({ width, height, expected }) => {
    expect(sizeClass({ space: 'pixels', x1: 0, y1: 0, x2: width, y2: height }, image)).toBe(expected);
  });
});
