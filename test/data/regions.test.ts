import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stretchInto } from '../../src/data/anyres.ts';
import type { Region } from '../../src/data/conversation.ts';
import type { Views } from '../../src/data/image.ts';
import { cornersOf, localCentresOf, mergedOrder, mergedRow, patchLayout } from '../../src/data/maps.ts';
import { farthestPoints, nearestPoints, pointsAt } from '../../src/data/neighbours.ts';
import { pixelsOfMask, rangeOf } from '../../src/data/pixels.ts';
import { drawPoints, regionPixels, sampleRegion } from '../../src/data/regions.ts';
import { encodeMask } from '../../src/data/rle.ts';
import { Random } from '../../src/random.ts';
import { readGolden } from './golden.ts';
import { box, boxMask, model } from './loader-records.ts';

const SIX = Float32Array.from([0, 0, 0.9, 0.05, 0.1, 0.8, 1, 1, 0.45, 0.5, 0.2, 0.1]);

/** Views of an image without pixels: geometry needs none. */
function viewsOf(width: number, height: number, grid: [number, number], side: number, tiles = true): Views {
  return {
    size: { width, height },
    grid,
    global: new Uint8Array(0),
    globalPlacement: stretchInto({ width: side, height: side }),
    tiles: new Uint8Array(tiles ? 1 : 0),
    localPlacement: stretchInto({ width: grid[0] * side, height: grid[1] * side }),
  };
}

/** The value that rows and weights read from a one-channel table. */
function read(
  table: ArrayLike<number>,
  { rows, weights }: { rows: Int32Array; weights: Float32Array },
): number[] {
  return Array.from({ length: rows.length / 4 }, (_, i) =>
    [0, 1, 2, 3].reduce((sum, c) => sum + table[rows[4 * i + c]!]! * weights[4 * i + c]!, 0),
  );
}

const sorted = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b);

describe('points', () => {
  it('farthest and nearest of six', () => {
    expect([...farthestPoints(SIX, 4, 0)]).toEqual([0, 3, 1, 2]);
    const near = nearestPoints(SIX, Int32Array.of(0, 3), 3);
    expect(sorted(near.subarray(0, 3))).toEqual([0, 4, 5]);
    expect(sorted(near.subarray(3))).toEqual([2, 3, 4]);
    expect(near[0]).toBe(0);
    expect(() => farthestPoints(SIX, 7, 0)).toThrow(/7 points of 6/);
    expect(() => nearestPoints(SIX, Int32Array.of(0), 7)).toThrow(/7 neighbors of 6/);
  });

  it.each(['ferret-sampler', 'ferret-sampler-max'])("equal Apple's sampler in %s", name => {
    const golden = readGolden(`parity/${name}`);
    const images = [0, 1, 2].flatMap(i => golden.get(`in.points.${i}`) ?? []);
    const pools: Float32Array[] = images.flatMap(({ data, shape: [regions = 0, count = 0] }) =>
      Array.from({ length: regions }, (_, r) =>
        Float32Array.from(data.subarray(r * count * 2, (r + 1) * count * 2)),
      ),
    );
    for (let stage = 0; golden.has(`out.stage${stage}.fps_idx`); stage++) {
      const { data: wanted, shape } = golden.get(`out.stage${stage}.fps_idx`)!;
      const { data: knn, shape: knnShape } = golden.get(`out.stage${stage}.knn_idx`)!;
      const starts = golden.get(`in.fps_start.${stage}`)!.data;
      const [count = 0, k = 0] = [shape[1], knnShape[2]];
      for (const [r, pool] of pools.entries()) {
        const anchors = farthestPoints(pool, count, starts[r]!);
        expect([...anchors]).toEqual([...wanted.subarray(r * count, (r + 1) * count)]);
        const near = nearestPoints(pool, anchors, k);
        for (let a = 0; a < count; a++) {
          const at = (r * count + a) * k;
          expect(sorted(near.subarray(a * k, (a + 1) * k))).toEqual(sorted(knn.subarray(at, at + k)));
        }
        pools[r] = pointsAt(pool, anchors);
      }
    }
  });

  it("on a map read what Apple's sampler reads, x along the width", () => {
    const golden = readGolden('parity/ferret-sampler');
    const { data: points } = golden.get('in.points.0')!;
    const map = golden.get('in.feature_map.0')!.data;
    const want = golden.get('out.sampled_features')!.data;
    // The fixture's coordinate 0 runs along the rows: it is our y.
    const ours = Float32Array.from({ length: 64 * 2 }, (_, i) => points[i % 2 === 0 ? i + 1 : i - 1]!);
    const layout = { globalSide: 8, globalCount: 64, tileSide: 8, tileCount: 64 };
    const { global } = cornersOf(ours, viewsOf(56, 40, [1, 1], 8, false), layout, 'nearest');
    for (let channel = 0; channel < 16; channel++) {
      const plane = Array.from({ length: 64 }, (_, p) => map[p * 16 + channel]!);
      read(plane, global).forEach((value, p) => {
        expect(value).toBeCloseTo(want[p * 16 + channel]!, 5);
      });
    }
  });
});

describe('maps', () => {
  const layout = { globalSide: 2, globalCount: 4, tileSide: 2, tileCount: 4 };

  it('are read bilinearly, aligned at the corners', () => {
    const points = Float32Array.of(0.5, 0.5, 1, 0, 0.25, 0.75);
    const { global, local } = cornersOf(points, viewsOf(10, 10, [1, 1], 2, false), layout, 'nearest');
    expect(read([0, 1, 2, 3], global)).toEqual([1.5, 1, 1.75]);
    expect(local).toBeNull();
  });

  it('merge tiles in their spatial order', () => {
    // Two columns, one row of 2x2 tiles: 0 1 | 4 5 over 2 3 | 6 7.
    expect([...mergedOrder([2, 1], 2)]).toEqual([0, 1, 4, 5, 2, 3, 6, 7]);
    expect(mergedRow(3, 3, [2, 2], 2)).toBe(15);
    expect([...localCentresOf([2, 1], 2)].slice(8)).toEqual([
      0.625, 0.25, 0.875, 0.25, 0.625, 0.75, 0.875, 0.75,
    ]);
  });

  it('enlarge the global map by nearest neighbour: 2x2 to 3x3', () => {
    // One tile of 3x3 patches over a global map of 2x2: each patch's own position reads one global row.
    const uneven = { globalSide: 2, globalCount: 4, tileSide: 3, tileCount: 9 };
    const grid = [0, 0.5, 1];
    const points = Float32Array.from(grid.flatMap(y => grid.flatMap(x => [x, y])));
    const { global, local } = cornersOf(points, viewsOf(9, 9, [1, 1], 3), uneven, 'nearest');
    expect(read([0, 1, 2, 3], global)).toEqual([0, 0, 1, 0, 0, 1, 2, 2, 3]);
    expect(read([0, 1, 2, 3, 4, 5, 6, 7, 8], local!)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(
      read([0, 1, 2, 3], cornersOf(points, viewsOf(9, 9, [1, 1], 3), uneven, 'bilinear').global)[4],
    ).toBe(1.5);
  });

  it('merge as the released code does', () => {
    const golden = readGolden('anyres');
    const [base, patches] = [golden.get('in.merge.base')!.data, golden.get('in.merge.patches')!.data];
    const want = golden.get('out.merge.region_map')!.data;
    const four = { globalSide: 4, globalCount: 16, tileSide: 4, tileCount: 16 };
    const points = Float32Array.from({ length: 8 * 12 * 2 }, (_, i) =>
      i % 2 === 0 ? (Math.floor(i / 2) % 12) / 11 : Math.floor(i / 24) / 7,
    );
    const { global, local } = cornersOf(points, viewsOf(601, 300, [3, 2], 4), four, 'nearest');
    for (let c = 0; c < 5; c++) {
      const channel = (map: ArrayLike<number>) =>
        Array.from({ length: map.length / 5 }, (_, p) => map[p * 5 + c]!);
      const [a, b] = [read(channel(base), global), read(channel(patches), local!)];
      a.forEach((value, p) => {
        expect(value + b[p]!).toBeCloseTo(want[p * 5 + c]!, 4);
      });
    }
  });

  it('padded views are read where the image lies in them', () => {
    // A 2:1 image in a square canvas of 4x4 patches: its top edge lies a quarter down.
    const views: Views = {
      ...viewsOf(40, 20, [1, 1], 4, false),
      globalPlacement: { canvas: { width: 4, height: 4 }, width: 4, height: 2, left: 0, top: 1 },
    };
    const four = { globalSide: 4, globalCount: 16, tileSide: 4, tileCount: 16 };
    const ys = Array.from({ length: 16 }, (_, p) => Math.floor(p / 4) / 3);
    const { global } = cornersOf(Float32Array.of(0, 0, 1, 1), views, four, 'nearest');
    expect(read(ys, global)).toEqual([expect.closeTo(0.25, 6), expect.closeTo(0.75, 6)]);
  });
});

describe('regions', () => {
  const size = { width: 30, height: 20 };
  const all = (region: Region, radius = 5) => {
    const pixels = regionPixels(region, size, radius, 'sample');
    return Array.from({ length: pixels.size }, (_, i) => pixels.at(i));
  };

  it('a point is an 11 x 11 window, clipped to the image', () => {
    expect(all({ kind: 'point', point: { x: 15, y: 10 } })).toHaveLength(121);
    const corner = all({ kind: 'point', point: { x: 0, y: 19 } });
    expect(corner).toHaveLength(36);
    expect(corner.every(({ x, y }) => x <= 5 && y >= 14)).toBe(true);
  });

  it('a point stays within its object', () => {
    const at = box(14, 9, 17, 12);
    expect(all({ kind: 'point', point: { x: 15, y: 10 }, within: at })).toHaveLength(16);
    expect(all({ kind: 'point', point: { x: 15, y: 10 }, mask: boxMask(at, 30, 20) })).toHaveLength(9);
    // Off the object, the window alone is left.
    expect(all({ kind: 'point', point: { x: 2, y: 2 }, mask: boxMask(at, 30, 20) }, 1)).toHaveLength(9);
    expect(all({ kind: 'point', point: { x: 2, y: 2 }, within: at }, 1)).toHaveLength(9);
  });

  it('a box holds its far edges, within the mask where there is one', () => {
    expect(all({ kind: 'box', box: box(2, 3, 5, 4) })).toHaveLength(8);
    expect(all({ kind: 'box', box: box(2, 3, 29.9, 40) })).toHaveLength(28 * 17);
    expect(all({ kind: 'box', box: box(2, 3, 9, 9), mask: boxMask(box(4, 4, 6, 6), 30, 20) })).toHaveLength(
      4,
    );
    expect(
      all({ kind: 'box', box: box(2, 3, 5, 4), mask: boxMask(box(10, 10, 12, 12), 30, 20) }),
    ).toHaveLength(8);
  });

  it('outside the image, empty or of another size are errors that name the sample', () => {
    expect(() => all({ kind: 'box', box: box(31, 0, 40, 5) })).toThrow(/^sample: a box region lies outside/);
    expect(() => all({ kind: 'box', box: box(9, 9, 2, 12) })).toThrow(/^sample: .*empty/);
    expect(() => all({ kind: 'point', point: { x: -9, y: 3 } })).toThrow(
      /^sample: a point region lies outside/,
    );
    const none = encodeMask({ ...size, data: new Uint8Array(600) });
    expect(() => all({ kind: 'free-form', mask: none })).toThrow(/^sample: a free-form region has no pixels/);
    const other = boxMask(box(0, 0, 2, 2), 20, 30);
    expect(() => all({ kind: 'free-form', mask: other })).toThrow(
      /^sample: a mask is 20x30, its image 30x20/,
    );
  });

  it('list the pixels of any mask within any range', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.boolean(), { minLength: 81, maxLength: 81 }),
        fc.tuple(fc.nat(9), fc.nat(9), fc.nat(9), fc.nat(9)),
        (width, height, bits, [x1, y1, x2, y2]) => {
          const data = Uint8Array.from({ length: width * height }, (_, i) => (bits[i] ? 1 : 0));
          const range = rangeOf(box(x1, y1, x2, y2), { width, height });
          const pixels = pixelsOfMask(encodeMask({ width, height, data }), range ?? undefined);
          const found = Array.from({ length: pixels.size }, (_, i) => pixels.at(i));
          const inside = (x: number, y: number) =>
            range === null || (x >= range.left && x <= range.right && y >= range.top && y <= range.bottom);
          const want = [...data.keys()]
            .map(i => ({ x: i % width, y: Math.floor(i / width) }))
            .filter(({ x, y }) => data[y * width + x] === 1 && inside(x, y));
          const key = ({ x, y }: { x: number; y: number }) => x * 100 + y;
          expect(found.map(key)).toEqual(sorted(want.map(key)));
        },
      ),
    );
  });

  it('give points once each, or all of them and repeats', () => {
    const many = regionPixels({ kind: 'box', box: box(0, 0, 9, 9) }, size, 5, 'sample');
    const drawn = drawPoints(many, 40, size, new Random('draw'));
    const keys = Array.from({ length: 40 }, (_, i) => `${drawn[2 * i]} ${drawn[2 * i + 1]}`);
    expect(new Set(keys).size).toBe(40);
    expect(drawPoints(many, 40, size, new Random('draw'))).toEqual(drawn);
    expect(drawPoints(many, 40, size, new Random('other'))).not.toEqual(drawn);
    const few = regionPixels({ kind: 'box', box: box(29, 19, 29, 19) }, size, 5, 'sample');
    const repeated = drawPoints(few, 8, size, new Random('draw'));
    expect([...repeated]).toEqual(new Array(8).fill([Math.fround(29 / 30), Math.fround(19 / 20)]).flat());
  });

  it('of any kind have the sizes of the sampler', () => {
    const views = viewsOf(30, 20, [2, 1], 32);
    const masks = boxMask(box(3, 3, 4, 4), 30, 20);
    const regions: Region[] = [
      { kind: 'point', point: { x: 3, y: 3 } },
      { kind: 'box', box: box(0, 0, 29, 19) },
      { kind: 'free-form', mask: masks },
    ];
    for (const region of regions) {
      const sample = sampleRegion(region, views, model, new Random('x'), 'sample');
      expect(sample.points).toHaveLength(64);
      expect(sample.anchors.map(a => a.length)).toEqual([12, 4]);
      expect(sample.neighbors.map(a => a.length)).toEqual([72, 20]);
      expect(sample.global.rows).toHaveLength(128);
      expect(sample.local?.rows).toHaveLength(128);
      const { globalCount, tileCount } = patchLayout(model);
      expect(Math.max(...sample.global.rows)).toBeLessThan(globalCount);
      expect(Math.max(...sample.local!.rows)).toBeLessThan(2 * tileCount);
      for (let p = 0; p < 32; p++) {
        expect(sample.local!.weights.subarray(4 * p, 4 * p + 4).reduce((a, b) => a + b)).toBeCloseTo(1, 5);
      }
    }
  });

  it('lie where their pixels lie: right is right and down is down', () => {
    const views = viewsOf(100, 50, [2, 1], 32);
    const region: Region = { kind: 'box', box: box(80, 5, 90, 10) };
    const { global, local, points } = sampleRegion(region, views, model, new Random('x'), 'sample');
    const columns = Array.from({ length: 16 }, (_, p) => (p % 4) / 3);
    const lines = Array.from({ length: 16 }, (_, p) => Math.floor(p / 4) / 3);
    const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
    expect(mean(read(lines, global))).toBeLessThan(0.3);
    expect(mean(read(columns, global))).toBeGreaterThan(0.7);
    // The merged map is 8 x 4: column c of tile t stands at 4t + c.
    const merged = Array.from({ length: 32 }, (_, row) => (Math.floor(row / 16) * 4 + (row % 4)) / 7);
    const xs = Array.from({ length: 32 }, (_, p) => points[2 * p]!);
    expect(mean(read(merged, local!))).toBeCloseTo(mean(xs), 5);
  });
});
