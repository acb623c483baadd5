import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  boxText,
  decodeBox,
  decodeCoordinate,
  encodeBox,
  encodeCoordinate,
  pointText,
} from '../../src/data/coordinates.ts';
import { box } from './loader-records.ts';

describe('coordinates', () => {
  it('equal the released code', () => {
    const phone = { width: 1170, height: 2532 };
    expect(encodeBox(box(445, 524, 692, 632), phone, 1000)).toEqual([380, 206, 591, 249]);
    expect(decodeBox([380, 206, 591, 249], phone, 1000)).toEqual(box(444, 521, 691, 630));
    const vga = { width: 640, height: 480 };
    expect(encodeBox(box(0, 0, 640, 480), vga, 1000)).toEqual([0, 0, 998, 997]);
    expect(decodeBox([0, 0, 998, 997], vga, 1000)).toEqual(box(0, 0, 638, 478));
    expect(boxText(box(100, 50, 200, 300), { width: 500, height: 375 }, 1000)).toBe('[200, 133, 400, 800]');
    expect(pointText({ x: 100, y: 50 }, { width: 500, height: 375 }, 1000)).toBe('[200, 133]');
  });

  it('stay in 0..bins-1 and lose less than a bin and a pixel', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 1000 }),
        fc.double({ min: -100, max: 6000, noNaN: true }),
        (side, bins, value) => {
          const bin = encodeCoordinate(value, side, bins);
          expect(Number.isInteger(bin) && bin >= 0 && bin < bins).toBe(true);
          const inside = Math.min(Math.max(value, 0), side - 1);
          const decoded = decodeCoordinate(bin, side, bins);
          expect(inside - decoded).toBeLessThan(side / bins + 1);
          expect(inside - decoded).toBeGreaterThan(-1);
        },
      ),
    );
  });

  it('refuse what is no number', () => {
    expect(() => encodeCoordinate(Number.NaN, 10, 10)).toThrow(/NaN/);
  });
});
