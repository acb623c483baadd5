/** Farthest points and neighbours of a sampler case: computed as the loader does, or the stored ones where points tie. */
import { z } from 'zod';
import { farthestPoints, nearestPoints, pointsAt } from '../../../src/data/neighbours.ts';
import * as tf from '../../../src/engine/tf.ts';
import type { BlockGeometry } from '../../../src/models/sampler.ts';
import { type FixtureCase, input } from '../case.ts';
import type { Results } from '../results.ts';

const tieSchema = z.object({ lattice: z.boolean().default(false), fps_margin: z.number().default(1) });

/** What distances on the unit square may differ by when the reference computes them in float32. */
const ROUNDING = { rtol: 0, atol: 1e-6 };

/**
 * Geometry of every block from the initial points [regions · points · 2]. On the pixel lattice many choices tie; there
 * the stored indices are used, after checking that each of them is one of the equally good choices.
 */
export function blocksGeometry(
  fixture: FixtureCase,
  points: Float32Array,
  blocks: readonly { readonly points: number; readonly neighbors: number }[],
  results: Results,
): BlockGeometry[] {
  const { lattice, fps_margin } = tieSchema.parse(fixture.rawMeta);
  const ties = lattice || fps_margin === 0;
  let pool = points;
  return blocks.map(({ points: kept, neighbors }, s) => {
    const starts = input(fixture, `in.fps_start.${s}`).data;
    const regions = starts.length;
    const size = pool.length / 2 / regions;
    const stored = (name: string, r: number, n: number): Int32Array =>
      Int32Array.from(input(fixture, `out.stage${s}.${name}`).data.subarray(r * n, (r + 1) * n));
    const each = Array.from({ length: regions }, (_, r) => {
      const own = pool.subarray(r * size * 2, (r + 1) * size * 2);
      const start = starts[r] ?? 0;
      const anchors = ties ? stored('fps_idx', r, kept) : farthestPoints(own, kept, start);
      const near = ties ? stored('knn_idx', r, kept * neighbors) : nearestPoints(own, anchors, neighbors);
      if (ties) {
        results.check(`stage${s}.fps_idx starts (region ${r})`, [anchors[0] ?? -1], [start]);
        results.check(
          `stage${s}.fps_idx is farthest (region ${r})`,
          [lostByAnchors(own, anchors)],
          [0],
          ROUNDING,
        );
        results.check(
          `stage${s}.knn_idx is nearest (region ${r})`,
          [lostByNeighbors(own, anchors, near)],
          [0],
          ROUNDING,
        );
      }
      return { anchors, near, next: pointsAt(own, anchors) };
    });
    const flatten = (pick: (e: (typeof each)[number]) => Int32Array, offset: number): Int32Array =>
      Int32Array.from(each.flatMap((e, r) => Array.from(pick(e), i => i + r * offset)));
    const current = pool;
    pool = Float32Array.from(each.flatMap(e => [...e.next]));
    results.set(
      `out.stage${s}.fps_idx`,
      [regions, kept],
      flatten(e => e.anchors, 0),
    );
    results.set(
      `out.stage${s}.knn_idx`,
      [regions, kept, neighbors],
      flatten(e => e.near, 0),
    );
    results.set(`out.stage${s}.points`, [regions, kept, 2], pool);
    // The order of neighbours is free; the stored intermediate results follow the stored one.
    const inOrder = Array.from({ length: regions }, (_, r) => stored('knn_idx', r, kept * neighbors));
    return {
      points: tf.tensor2d(current, [regions * size, 2]),
      anchors: tf.tensor1d(
        flatten(e => e.anchors, size),
        'int32',
      ),
      neighbors: tf.tensor2d(
        Int32Array.from(inOrder.flatMap((own, r) => Array.from(own, i => i + r * size))),
        [regions * kept, neighbors],
        'int32',
      ),
    };
  });
}

/** How much nearer than the farthest point an anchor chosen was at most (squared distance). */
function lostByAnchors(points: Float32Array, anchors: Int32Array): number {
  const distances = new Float64Array(points.length / 2).fill(Number.POSITIVE_INFINITY);
  let lost = 0;
  for (const [i, anchor] of anchors.entries()) {
    if (i > 0) lost = Math.max(lost, Math.max(...distances) - (distances[anchor] ?? Number.NaN));
    for (const p of distances.keys()) {
      distances[p] = Math.min(distances[p] ?? 0, squaredDistance(points, p, anchor));
    }
  }
  return lost;
}

/** How much nearer than a neighbour chosen a point left out was at most (squared distance); infinite on repetitions. */
function lostByNeighbors(points: Float32Array, anchors: Int32Array, near: Int32Array): number {
  const count = near.length / anchors.length;
  let lost = 0;
  for (const [a, anchor] of anchors.entries()) {
    const chosen = new Set(near.subarray(a * count, (a + 1) * count));
    if (chosen.size < count) return Number.POSITIVE_INFINITY;
    let [farthestIn, nearestOut] = [0, Number.POSITIVE_INFINITY];
    for (let p = 0; p < points.length / 2; p++) {
      const d = squaredDistance(points, p, anchor);
      if (chosen.has(p)) farthestIn = Math.max(farthestIn, d);
      else nearestOut = Math.min(nearestOut, d);
    }
    lost = Math.max(lost, farthestIn - nearestOut);
  }
  return lost;
}

function squaredDistance(points: Float32Array, a: number, b: number): number {
  const at = (i: number): number => points[i] ?? Number.NaN;
  return (at(2 * a) - at(2 * b)) ** 2 + (at(2 * a + 1) - at(2 * b + 1)) ** 2;
}
