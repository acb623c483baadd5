/** Farthest point sampling and nearest neighbours of points in the plane, as Ferret's sampler uses them. */
import { GroundError } from '../errors.ts';

/**
 * Farthest point sampling on squared distances: `count` indices into `points` [n, 2], beginning with `start`, each
 * next one the farthest from all before it (the first of equals).
 */
export function farthestPoints(points: Float32Array, count: number, start: number): Int32Array {
  const n = points.length / 2;
  if (count > n) throw tooFew('points', count, n);
  const chosen = new Int32Array(count);
  const distance = new Float64Array(n).fill(Number.POSITIVE_INFINITY);
  let current = start;
  for (let i = 0; i < count; i++) {
    chosen[i] = current;
    const x = points[2 * current]!;
    const y = points[2 * current + 1]!;
    let farthest = 0;
    let best = -1;
    for (let j = 0; j < n; j++) {
      const dx = points[2 * j]! - x;
      const dy = points[2 * j + 1]! - y;
      const d = Math.min(distance[j]!, dx * dx + dy * dy);
      distance[j] = d;
      if (d > best) {
        best = d;
        farthest = j;
      }
    }
    current = farthest;
  }
  return chosen;
}

/** The `count` points of `points` [n, 2] nearest to each anchor (itself included), nearest first [anchors, count]. */
export function nearestPoints(points: Float32Array, anchors: Int32Array, count: number): Int32Array {
  const n = points.length / 2;
  if (count > n) throw tooFew('neighbors', count, n);
  const out = new Int32Array(anchors.length * count);
  const distances = new Float64Array(count);
  for (let a = 0; a < anchors.length; a++) {
    const x = points[2 * anchors[a]!]!;
    const y = points[2 * anchors[a]! + 1]!;
    const first = a * count;
    let held = 0;
    for (let j = 0; j < n; j++) {
      const dx = points[2 * j]! - x;
      const dy = points[2 * j + 1]! - y;
      const d = dx * dx + dy * dy;
      if (held === count && d >= distances[count - 1]!) continue;
      let k = held < count ? held++ : count - 1;
      for (; k > 0 && distances[k - 1]! > d; k--) {
        distances[k] = distances[k - 1]!;
        out[first + k] = out[first + k - 1]!;
      }
      distances[k] = d;
      out[first + k] = j;
    }
  }
  return out;
}

/** The points at `rows`. */
export function pointsAt(points: Float32Array, rows: Int32Array): Float32Array {
  const out = new Float32Array(rows.length * 2);
  for (let i = 0; i < rows.length; i++) {
    out[2 * i] = points[2 * rows[i]!]!;
    out[2 * i + 1] = points[2 * rows[i]! + 1]!;
  }
  return out;
}

function tooFew(what: string, wanted: number, have: number): GroundError {
  return new GroundError('config', `sampler: ${wanted} ${what} of ${have}`, {
    hint: 'a block can keep no more points, and look at no more neighbours, than the block before it has points',
  });
}
