import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseGrid, type Grid, padInto, squareAround, withoutPadding } from '../../src/data/anyres.ts';
import { fixture } from './golden.ts';

const singles = [1, 2, 3, 4, 5, 6].map((n): Grid => [1, n]);
const rest: Grid[] = [
  [2, 2],
  [2, 3],
];
const transposes = [...singles.slice(1), [2, 3] as Grid].map(([a, b]): Grid => [b, a]);
const PAPER = [...singles, ...rest, ...transposes];
const UI: Grid[] = [
  [1, 2],
  [2, 1],
  [2, 2],
  [3, 1],
  [1, 3],
];

describe('the grid of an image', () => {
  it.each([
    [336, 336, 1, 1],
    [300, 200, 1, 1],
    [500, 400, 2, 2],
    [640, 480, 2, 2],
    [480, 640, 2, 2],
    [672, 336, 2, 1],
    [1024, 768, 3, 2],
    [768, 1024, 2, 3],
    [1170, 2532, 2, 3],
    [1920, 1080, 3, 2],
    [4000, 500, 6, 1],
    [500, 4000, 1, 6],
    [800, 800, 2, 2],
    [100, 100, 1, 1],
  ])("of %i x %i pixels is %i x %i of the paper's fourteen", (width, height, columns, rows) => {
    expect(PAPER).toHaveLength(14);
    expect(chooseGrid({ width, height }, PAPER, 336)).toEqual([columns, rows]);
  });

  it.each([
    [336, 336, 1, 2],
    [300, 200, 1, 2],
    [640, 480, 2, 2],
    [1170, 2532, 1, 3],
    [4000, 500, 3, 1],
    [1000, 400, 3, 1],
    [672, 336, 2, 1],
  ])('of %i x %i pixels is %i x %i of the released five', (width, height, columns, rows) => {
    expect(chooseGrid({ width, height }, UI, 336)).toEqual([columns, rows]);
  });

  it('needs at least one to choose from', () => {
    expect(() => chooseGrid({ width: 1, height: 1 }, [], 336)).toThrow(/grids is empty/);
  });

  it('and its padding equal the released helpers', () => {
    interface Table {
      grid_sets: Record<string, { side: number; resolutions: [number, number][] }>;
      cases: {
        image: [number, number];
        grids: Record<string, { grid: [number, number]; resized: [number, number]; paste: [number, number] }>;
      }[];
    }
    const table: Table = JSON.parse(readFileSync(fixture('anyres', 'anyres.json'), 'utf8'));
    let compared = 0;
    for (const { image, grids } of table.cases) {
      const size = { width: image[0], height: image[1] };
      for (const [name, want] of Object.entries(grids)) {
        const { side, resolutions } = table.grid_sets[name]!;
        const choices = resolutions.map(([w, h]): Grid => [w / side, h / side]);
        const grid = chooseGrid(size, choices, side);
        expect(grid, `${image} in ${name}`).toEqual(want.grid);
        const canvas = { width: grid[0] * side, height: grid[1] * side };
        const { width, height, left, top } = padInto(size, canvas);
        expect([width, height, left, top], `${image} in ${name}`).toEqual([...want.resized, ...want.paste]);
        compared++;
      }
    }
    expect(compared).toBe(160);
  });
});

describe('padding', () => {
  const size = fc.record({
    width: fc.integer({ min: 1, max: 3000 }),
    height: fc.integer({ min: 1, max: 3000 }),
  });

  it('around a square is shared by both sides', () => {
    fc.assert(
      fc.property(size, image => {
        const { canvas, left, top } = squareAround(image);
        expect(canvas.width).toBe(canvas.height);
        expect(Math.min(left, top)).toBe(0);
        for (const rest of [canvas.width - image.width - 2 * left, canvas.height - image.height - 2 * top]) {
          expect(rest === 0 || rest === 1).toBe(true);
        }
      }),
    );
  });

  it('of a token map is symmetric and leaves at most one token more than the image covers', () => {
    fc.assert(
      fc.property(
        size,
        fc.integer({ min: 1, max: 96 }),
        fc.integer({ min: 1, max: 96 }),
        (image, width, height) => {
          const part = withoutPadding(image, { width, height });
          expect(2 * part.left + part.width).toBe(width);
          expect(2 * part.top + part.height).toBe(height);
          const scale = Math.min(width / image.width, height / image.height);
          expect(part.width - Math.trunc(image.width * scale + 1e-9)).toBeLessThanOrEqual(1);
          expect(part.height - Math.trunc(image.height * scale + 1e-9)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });
});
