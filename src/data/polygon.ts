/** Polygons to masks by the rules of COCO's rasteriser, so that areas and boxes agree with every COCO tool. */
import { encodeCounts, type Rle, unionOf } from './rle.ts';

/** The boundary is walked on a grid this many times finer than the pixels (`maskApi.c`). */
const UPSAMPLING = 5;

/** C's cast to int: towards zero. */
const toInt = Math.trunc;

/**
 * The mask of one polygon, `xy` = x1, y1, x2, y2, … in pixels; winding does not matter. What lies outside of
 * `size` [height, width] is cut off; a polygon smaller than a pixel may leave nothing.
 * After `rleFrPoly` of pycocotools' maskApi.c: walk the boundary upsampled, keep one crossing a pixel column, and
 * turn the sorted crossings into runs.
 */
export function rleFromPolygon(xy: readonly number[], size: readonly [number, number]): Rle {
  const [height, width] = size;
  const crossings = crossingsOf(boundaryOf(xy), height, width);
  crossings.push(height * width);
  crossings.sort((a, b) => a - b);

  const gaps: number[] = [];
  let previous = 0;
  for (const crossing of crossings) {
    gaps.push(crossing - previous);
    previous = crossing;
  }
  // A gap of zero means two crossings at one place, which cancel: the runs around it are one run.
  const runs: number[] = [gaps[0] ?? 0];
  for (let i = 1; i < gaps.length; ) {
    const gap = gaps[i++] ?? 0;
    if (gap > 0) runs.push(gap);
    else if (i < gaps.length) runs[runs.length - 1] = (runs[runs.length - 1] ?? 0) + (gaps[i++] ?? 0);
  }
  return { size: [height, width], counts: encodeCounts(runs) };
}

/** The mask of an object made of several polygons: their union. Throws `data` where there is none. */
export function rleFromPolygons(
  polygons: readonly (readonly number[])[],
  size: readonly [number, number],
): Rle {
  return unionOf(polygons.map(polygon => rleFromPolygon(polygon, size)));
}

/** The mask of a box [x, y, width, height], rasterised as the polygon of its corners. */
export function rleFromBox(
  box: readonly [number, number, number, number],
  size: readonly [number, number],
): Rle {
  const [x, y, w, h] = box;
  return rleFromPolygon([x, y, x, y + h, x + w, y + h, x + w, y], size);
}

/** All points of the upsampled boundary, edge after edge (an edge includes both its ends). */
function boundaryOf(xy: readonly number[]): { u: number[]; v: number[] } {
  const points = Math.floor(xy.length / 2);
  const at = (i: number) => toInt(UPSAMPLING * (xy[i] ?? 0) + 0.5);
  const [u, v]: [number[], number[]] = [[], []];
  for (let j = 0; j < points; j++) {
    const k = (j + 1) % points;
    let [xs, ys, xe, ye] = [at(2 * j), at(2 * j + 1), at(2 * k), at(2 * k + 1)];
    const [dx, dy] = [Math.abs(xe - xs), Math.abs(ye - ys)];
    const flip = (dx >= dy && xs > xe) || (dx < dy && ys > ye);
    if (flip) [xs, ys, xe, ye] = [xe, ye, xs, ys];
    const steps = Math.max(dx, dy);
    const slope = steps === 0 ? 0 : dx >= dy ? (ye - ys) / dx : (xe - xs) / dy;
    for (let d = 0; d <= steps; d++) {
      const t = flip ? steps - d : d;
      if (dx >= dy) {
        u.push(t + xs);
        v.push(toInt(ys + slope * t + 0.5));
      } else {
        v.push(t + ys);
        u.push(toInt(xs + slope * t + 0.5));
      }
    }
  }
  return { u, v };
}

/** Where the boundary enters or leaves a pixel column, as positions down the columns. */
function crossingsOf(
  { u, v }: { u: readonly number[]; v: readonly number[] },
  height: number,
  width: number,
): number[] {
  const crossings: number[] = [];
  for (let j = 1; j < u.length; j++) {
    const [x, before] = [u[j] ?? 0, u[j - 1] ?? 0];
    if (x === before) continue;
    const column = ((x < before ? x : x - 1) + 0.5) / UPSAMPLING - 0.5;
    if (Math.floor(column) !== column || column < 0 || column > width - 1) continue;
    const y = Math.min(v[j] ?? 0, v[j - 1] ?? 0);
    const row = Math.ceil(Math.min(Math.max((y + 0.5) / UPSAMPLING - 0.5, 0), height));
    crossings.push(column * height + row);
  }
  return crossings;
}
