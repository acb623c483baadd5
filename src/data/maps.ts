/**
 * Feature maps as rows: which rows of an image's global map [Pg] and local tiles [tiles·Pl] lie around a position, and
 * which row stands where in the merged local map. Positions are fractions of the original image, x right, y down.
 */
import { type ModelConfig, tileEncoderOf } from '../models/config.ts';
import type { Grid, Placement } from './anyres.ts';
import type { Views } from './image.ts';

/** The patches of a model's views. */
export interface PatchLayout {
  /** Patches along a side of the global view, and in all. */
  readonly globalSide: number;
  readonly globalCount: number;
  /** The same of one tile. */
  readonly tileSide: number;
  readonly tileCount: number;
}

export function patchLayout(model: ModelConfig): PatchLayout {
  const globalSide = model.image.side / model.global_encoder.patch_size;
  const tileSide = model.image.side / tileEncoderOf(model).patch_size;
  return { globalSide, globalCount: globalSide ** 2, tileSide, tileCount: tileSide ** 2 };
}

/** Tiles an image contributes to a batch: none where only global views are used. */
export function tileCountOf(views: Views): number {
  if (views.features) return views.features.tiles;
  return views.tiles.length === 0 ? 0 : views.grid[0] * views.grid[1];
}

/** Visual tokens of one image. */
export function visualTokens(views: Views, layout: PatchLayout): number {
  return layout.globalCount + tileCountOf(views) * layout.tileCount;
}

/** Row of the patch at (column, row) of the merged local map: tile after tile, patches row-major within. */
export function mergedRow(column: number, row: number, [columns]: Grid, side: number): number {
  const tile = Math.floor(row / side) * columns + Math.floor(column / side);
  return tile * side * side + (row % side) * side + (column % side);
}

/** Rows of the merged local map in reading order, [rows·side · columns·side]. */
export function mergedOrder(grid: Grid, side: number): Int32Array {
  const [columns, rows] = grid;
  const width = columns * side;
  return Int32Array.from({ length: width * rows * side }, (_, i) =>
    mergedRow(i % width, Math.floor(i / width), grid, side),
  );
}

/** Four rows and their bilinear weights around each of several positions. */
export interface Corners {
  readonly rows: Int32Array;
  readonly weights: Float32Array;
}

/**
 * Corners of points [m, 2] on the global map and on the merged local map, both aligned at the corners (position p of a
 * side of w patches is p·(w-1)). `nearest`: the global map is first enlarged to the local one by nearest neighbour, as
 * the released code does, so its rows are those under the four local corners; `bilinear`, or no tiles: the global
 * map's own four rows. Without tiles `local` is null.
 */
export function cornersOf(
  points: Float32Array,
  views: Views,
  layout: PatchLayout,
  upsample: 'nearest' | 'bilinear',
): { global: Corners; local: Corners | null } {
  const { globalSide, tileSide } = layout;
  const globalRow = (column: number, row: number): number => row * globalSide + column;
  const own = (): Corners => bilinear(points, views.globalPlacement, globalSide, globalSide, globalRow);
  if (tileCountOf(views) === 0) return { global: own(), local: null };
  const width = views.grid[0] * tileSide;
  const height = views.grid[1] * tileSide;
  const localRow = (column: number, row: number): number => mergedRow(column, row, views.grid, tileSide);
  const local = bilinear(points, views.localPlacement, width, height, localRow);
  if (upsample === 'bilinear') return { global: own(), local };
  const nearest = nearestGlobal(views, globalSide, width, height);
  const under = (column: number, row: number): number =>
    globalRow(nearest.columns[column]!, nearest.rows[row]!);
  return { global: bilinear(points, views.localPlacement, width, height, under), local };
}

/** Centres of an image's local patches in its merged map, x and y in 0..1 [tiles·Pl, 2], in row order. */
export function localCentresOf(grid: Grid, side: number): Float32Array {
  const [columns, rows] = grid;
  const out = new Float32Array(columns * rows * side * side * 2);
  for (let row = 0; row < rows * side; row++) {
    for (let column = 0; column < columns * side; column++) {
      const at = mergedRow(column, row, grid, side) * 2;
      out[at] = (column + 0.5) / (columns * side);
      out[at + 1] = (row + 0.5) / (rows * side);
    }
  }
  return out;
}

function bilinear(
  points: Float32Array,
  placement: Placement,
  width: number,
  height: number,
  rowAt: (column: number, row: number) => number,
): Corners {
  const count = points.length / 2;
  const rows = new Int32Array(count * 4);
  const weights = new Float32Array(count * 4);
  const { canvas } = placement;
  for (let i = 0; i < count; i++) {
    const x = ((placement.left + points[2 * i]! * placement.width) / canvas.width) * (width - 1);
    const y = ((placement.top + points[2 * i + 1]! * placement.height) / canvas.height) * (height - 1);
    const left = Math.min(Math.floor(x), width - 1);
    const top = Math.min(Math.floor(y), height - 1);
    const right = Math.min(left + 1, width - 1);
    const bottom = Math.min(top + 1, height - 1);
    const fx = x - left;
    const fy = y - top;
    rows[4 * i] = rowAt(left, top);
    rows[4 * i + 1] = rowAt(right, top);
    rows[4 * i + 2] = rowAt(left, bottom);
    rows[4 * i + 3] = rowAt(right, bottom);
    weights[4 * i] = (1 - fx) * (1 - fy);
    weights[4 * i + 1] = fx * (1 - fy);
    weights[4 * i + 2] = (1 - fx) * fy;
    weights[4 * i + 3] = fx * fy;
  }
  return { rows, weights };
}

/** For each column and row of the merged map the global one under it (floor(j·g/w), as torch's `nearest`). */
function nearestGlobal(views: Views, side: number, width: number, height: number) {
  const { globalPlacement, localPlacement } = views;
  const along = (count: number, from: 'left' | 'top', extent: 'width' | 'height'): Int32Array =>
    Int32Array.from({ length: count }, (_, j) => {
      const [g, l] = [globalPlacement, localPlacement];
      // Stretched views share their fractions: whole arithmetic there, so that no rounding moves a boundary.
      if (l[extent] === l.canvas[extent] && g[extent] === g.canvas[extent])
        return Math.floor((j * side) / count);
      const image = ((j / count) * l.canvas[extent] - l[from]) / l[extent];
      const onGlobal = (g[from] + image * g[extent]) / g.canvas[extent];
      return Math.min(Math.max(Math.floor(onGlobal * side), 0), side - 1);
    });
  return { columns: along(width, 'left', 'width'), rows: along(height, 'top', 'height') };
}
