import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PixelBox } from '../../../src/data/box.ts';
import { boxArea, boxIou } from '../../../src/eval/metrics/iou.ts';

const box = (x1: number, y1: number, x2: number, y2: number): PixelBox => ({
  space: 'pixels',
  x1,
  y1,
  x2,
  y2,
});

describe('boxIou', () => {
  it.each([
    { a: [0, 0, 10, 10], b: [0, 0, 10, 10], iou: 1 },
    { a: [0, 0, 10, 10], b: [5, 0, 15, 10], iou: 50 / 150 },
    { a: [0, 0, 4, 4], b: [2, 2, 6, 6], iou: 4 / 28 },
    { a: [0, 0, 10, 10], b: [2, 2, 4, 4], iou: 4 / 100 },
    { a: [0, 0, 2, 2], b: [2, 0, 4, 2], iou: 0 },
    { a: [0, 0, 2, 2], b: [5, 5, 9, 9], iou: 0 },
    { a: [3, 3, 3, 9], b: [3, 3, 3, 9], iou: 0 },
    { a: [9, 9, 1, 1], b: [0, 0, 10, 10], iou: 0 },
  ])('of $a and $b is $iou', ({ a, b, iou }) => {
    const [first, second] = [a, b].map(c => box(c[0]!, c[1]!, c[2]!, c[3]!));
    expect(boxIou(first!, second!)).toBeCloseTo(iou, 12);
  });

  it('is symmetric, within 0..1, and 1 only for a box with itself', () => {
    const anyBox = fc
      .tuple(fc.nat(50), fc.nat(50), fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 }))
      .map(([x, y, w, h]) => box(x, y, x + w, y + h));
    fc.assert(
      fc.property(anyBox, anyBox, (a, b) => {
        const iou = boxIou(a, b);
        expect(iou).toBe(boxIou(b, a));
        expect(iou).toBeGreaterThanOrEqual(0);
        expect(iou).toBeLessThanOrEqual(1);
        expect(iou === 1).toBe(a.x1 === b.x1 && a.y1 === b.y1 && a.x2 === b.x2 && a.y2 === b.y2);
      }),
    );
  });
});

it('boxArea is the product of the sides, and 0 for swapped corners', () => {
  expect(boxArea(box(1, 2, 4, 8))).toBe(18);
  expect(boxArea(box(4, 8, 1, 2))).toBe(0);
});
