import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boxMentions, readBoxes, withoutBoxes } from '../../src/eval/box-mentions.ts';
import { headWord, listedName } from '../../src/eval/box-names.ts';

const image = { width: 200, height: 100 };
const corners = (text: string, space: Parameters<typeof readBoxes>[2]['space'], bins = 1000) =>
  readBoxes(text, image, { space, bins }).map(box => box && [box.x1, box.y1, box.x2, box.y2]);

describe('boxes in an answer', () => {
  it.each([
    ['a dog [100, 200, 500, 600].', 'bins'],
    ['<box>(100,200),(500,600)</box>', 'bins'],
    ['dog (100, 200, 500, 600)', 'bins'],
    ['{<100><200><500><600>}', 'bins'],
    ['dog<loc_100><loc_200><loc_500><loc_600>', 'bins'],
    ['{"bbox_2d": [100, 200, 500, 600], "label": "dog"}', 'permille'],
    ['[0.1, 0.2, 0.5, 0.6]', 'bins'],
    ['[0.100, 0.200, 0.500, 0.600]', 'unit'],
    ['[20, 20, 100, 60]', 'pixels'],
    ['[0.1, 0.35, 0.5, 0.55]', 'padded-square'],
  ] as const)('are read from %j in %s', (text, space) => {
    const [found, ...more] = corners(text, space);
    expect(more).toEqual([]);
    for (const [i, value] of [20, 20, 100, 60].entries()) expect(found?.[i]).toBeCloseTo(value, 9);
  });

  it.each([
    ['[100, 200, 500]', 'bins'],
    ['[500, 200, 100, 600]', 'bins'],
    ['[100, 200, 500, 1000]', 'bins'],
    ['[100, 200, 500, 1001]', 'permille'],
    ['[0.1, 0.2, 0.5, 1.6]', 'unit'],
    ['[1.5, 2, 3, 4]', 'bins'],
    ['[-0.1, 0.2, 0.5, 0.6]', 'bins'],
    ['[dog, cat]', 'bins'],
    ['[1e2, 200, 500, 600]', 'bins'],
    ['[]', 'pixels'],
  ] as const)('that are malformed are none: %j in %s', (text, space) => {
    expect(corners(text, space)).toEqual([null]);
  });

  it('leave the words around them', () => {
    const text = '1: red car [1, 2, 3, 4], 2: dog [5, 6, 7, 8].';
    expect(boxMentions(text).map(({ before }) => listedName(before))).toEqual(['red car', 'dog']);
    expect(withoutBoxes('A dog [1, 2, 3, 4] beside two cats [1, 2, 3, 4] [5, 6, 7, 8].')).toBe(
      'A dog beside two cats.',
    );
    expect(headWord('beside two Cats ')).toBe('cats');
    expect(headWord(' , ')).toBeNull();
    expect(listedName('The objects are: 1: a traffic light ')).toBe('traffic light');
    expect(listedName('')).toBe('');
  });

  it('never throw, and what is read lies in the image, whatever the text', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .array(
          fc.constantFrom(
            '[',
            ']',
            '(',
            ')',
            '<',
            '>',
            '<loc_',
            ',',
            ' ',
            '0',
            '7',
            '31',
            '0.5',
            '.',
            '-',
            '\n',
          ),
        )
        .map(parts => parts.join('')),
    );
    const space = fc.constantFrom('bins', 'unit', 'permille', 'pixels', 'padded-square');
    fc.assert(
      fc.property(text, space, (answer, written) => {
        for (const box of corners(answer, written as 'bins')) {
          if (!box) continue;
          const [x1 = -1, y1 = -1, x2 = -1, y2 = -1] = box;
          expect(0 <= x1 && x1 <= x2 && x2 <= 200 && 0 <= y1 && y1 <= y2 && y2 <= 100).toBe(true);
        }
        withoutBoxes(answer);
      }),
      { numRuns: 200 },
    );
  });

  it('are looked for in a long answer without end in no time', () => {
    expect(boxMentions('('.repeat(20000) + '1'.repeat(20000))).toEqual([]);
    expect(boxMentions('<1>'.repeat(20000))).toHaveLength(5000);
  });
});
