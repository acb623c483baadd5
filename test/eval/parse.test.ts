import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBoxes, parseBoxGroups } from '../../src/eval/parse.ts';

describe('parseBoxGroups', () => {
  it('reads boxes in order, with any blanks', () => {
    expect(parseBoxGroups('A cat [1, 2, 3, 4] and [ 5,6 ,\n7,  998 ].', 1000)).toEqual([
      [1, 2, 3, 4],
      [5, 6, 7, 998],
    ]);
  });

  it('reads a list of lists', () => {
    expect(parseBoxGroups('cats [[1, 2, 3, 4], [5, 6, 7, 8]]', 1000)).toHaveLength(2);
  });

  it.each([
    ['[1, 2, 3]'],
    ['[1, 2, 3, 4, 5]'],
    ['[]'],
    ['[1, 2, 3, ]'],
    ['[a, b, c, d]'],
    ['[1.5, 2, 3, 4]'],
    ['[-1, 2, 3, 4]'],
    ['[1 2 3 4]'],
    ['[0x1, 2, 3, 4]'],
    ['[1e1, 2, 30, 40]'],
    ['[1, 2, 3, 1000]'],
    ['[99999999999999999999999999, 2, 3, 4]'],
    ['[30, 2, 10, 4]'],
    ['[1, 20, 3, 4]'],
  ])('gives null for %s', text => {
    expect(parseBoxGroups(text, 1000)).toEqual([null]);
  });

  it.each([[''], ['no box'], ['[1, 2, 3, 4'], ['1, 2, 3, 4]'], ['][']])('finds no group in %j', text => {
    expect(parseBoxGroups(text, 1000)).toEqual([]);
  });

  it('keeps the place of a malformed group, which parseBoxes leaves out', () => {
    expect(parseBoxGroups('[1] [1, 2, 3, 4]', 10)).toEqual([null, [1, 2, 3, 4]]);
    expect(parseBoxes('[1] [1, 2, 3, 4]', 10)).toEqual([[1, 2, 3, 4]]);
  });

  it('never throws and yields only boxes in range, whatever the text', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .array(
          fc.constantFrom('[', ']', ',', ' ', '0', '7', '31', '999', '-', '.', '<region_fea>', '\n', '٣'),
        )
        .map(parts => parts.join('')),
    );
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 1000 }), (answer, bins) => {
        for (const box of parseBoxes(answer, bins)) {
          for (const value of box) {
            expect(Number.isInteger(value) && value >= 0 && value < bins).toBe(true);
          }
          expect(box[0] <= box[2] && box[1] <= box[3]).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('finds again every box that was written', () => {
    const corner = fc.nat(999);
    const written = fc
      .tuple(corner, corner, corner, corner)
      .map(([a, b, c, d]) => [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)]);
    fc.assert(
      fc.property(fc.array(written), boxes => {
        const answer = boxes.map(b => `thing [${b.join(', ')}]`).join(', ');
        expect(parseBoxes(answer, 1000)).toEqual(boxes);
      }),
    );
  });
});
