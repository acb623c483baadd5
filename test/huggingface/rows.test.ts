import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { narrow, widen } from '../../src/models/dtypes.ts';
import { extendTable } from '../../src/train/embedding-rows.ts';

describe('narrow', () => {
  test.each(['F16', 'BF16'] as const)('gives back every %s that was widened', dtype => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const wide = widen.float32(dtype, new Uint8Array(all.slice().buffer), 'x');
    const back = narrow(dtype, wide, 'x');
    expect(new Uint16Array(back.buffer)).toEqual(all);
  });

  test.each(['F16', 'BF16'] as const)('takes the nearest %s, the even one of two', dtype => {
    const value = (bits: number): number =>
      widen.float32(dtype, new Uint8Array(Uint16Array.of(bits).buffer), 'x')[0] ?? Number.NaN;
    const largest = dtype === 'F16' ? 0x7bff : 0x7f7f;
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: largest - 1 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (at, share) => {
          const [below, above] = [value(at), value(at + 1)];
          const between = Math.fround(below + share * (above - below));
          const [found = 0] = new Uint16Array(narrow(dtype, Float32Array.of(between), 'x').buffer);
          const [down, up] = [between - below, above - between];
          const nearest = down < up ? at : up < down ? at + 1 : at + (at & 1);
          expect(found).toBe(nearest);
          const [negative = 0] = new Uint16Array(narrow(dtype, Float32Array.of(-between), 'x').buffer);
          expect(negative).toBe(nearest | 0x8000);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('refuses what would become infinite, and integers', () => {
    expect(() => narrow('F16', Float32Array.of(1, 70000), 'tensor w')).toThrow(
      /tensor w: value 70000 at index 1/,
    );
    expect(() => narrow('BF16', Float32Array.of(3.4e38), 'w')).toThrow(/too large for BF16/);
    expect(() => narrow('I32', Float32Array.of(1), 'w')).toThrow(/cannot be written as I32/);
    expect(new Uint16Array(narrow('F16', Float32Array.of(Infinity), 'w').buffer)).toEqual(
      Uint16Array.of(0x7c00),
    );
  });
});

describe('extendTable', () => {
  const table = {
    dtype: 'F32' as const,
    rows: 3,
    width: 2,
    bytes: new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 8).buffer),
  };
  const extended = (rows: number, ids: number[]) => [
    ...new Float32Array(extendTable(table, rows, ids, 'table').buffer),
  ];

  test('puts the mean into new rows, and into kept ones that become new words', () => {
    expect(extended(3, [])).toEqual([0, 1, 2, 3, 4, 8]);
    expect(extended(5, [3])).toEqual([0, 1, 2, 3, 4, 8, 2, 4, 2, 4]);
    expect(extended(3, [1])).toEqual([0, 1, 2, 4, 4, 8]);
  });
});
