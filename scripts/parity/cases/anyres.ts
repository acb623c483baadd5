import { join } from 'node:path';
import { z } from 'zod';
import {
  chooseGrid,
  type Grid,
  padInto,
  squareAround,
  stretchInto,
  withoutPadding,
} from '../../../src/data/anyres.ts';
import { paint, type Views, viewsOf } from '../../../src/data/image.ts';
import { cornersOf, mergedOrder } from '../../../src/data/maps.ts';
import { CLIP_NORMALISATION, normaliseInto } from '../../../src/data/normalise.ts';
import { gatherRows } from '../../../src/engine/ops.ts';
import * as tf from '../../../src/engine/tf.ts';
import { type FixtureCase, input, readJson, tensorOf } from '../case.ts';
import { Results } from '../results.ts';
import { decodeFile, interleaved, PIXEL_VALUES } from './pixels.ts';

const pair = z.tuple([z.number(), z.number()]);
const tableSchema = z.object({
  grid_sets: z.record(
    z.string(),
    z.object({ patch: z.number(), tokens_per_side: z.number(), resolutions_wh: z.array(pair) }),
  ),
  cases: z.array(
    z.object({
      image_wh: pair,
      grids: z.record(
        z.string(),
        z.object({
          best_wh: pair,
          grid_wh: pair,
          pad: z.object({ resized: pair, paste: pair }),
          unpad: z.object({ top: z.number(), left: z.number(), height: z.number(), width: z.number() }),
        }),
      ),
      square: z.object({ side: z.number(), paste: pair }),
    }),
  ),
});
const metaSchema = z.object({
  image: z.object({
    file: z.string(),
    patch: z.number(),
    resolutions_wh: z.array(pair),
    best_wh: pair,
    grid_wh: pair,
  }),
  merge: z.object({ side: z.number(), grid_wh: pair, image_wh: pair }),
});

/** Ferret-UI's any-resolution helpers: tables of choices, views of an image, merging of feature maps. */
export async function runAnyres(fixture: FixtureCase): Promise<Results> {
  const meta = metaSchema.parse(fixture.rawMeta);
  const results = new Results();
  results.compareWith(/^out\.pixel_values$/, PIXEL_VALUES);
  results.compareWith(/^out\.merge\./, { rtol: 0, atol: 1e-6 });
  compareTables(fixture, results);
  await makeViews(fixture, meta.image, results);
  mergeMaps(fixture, meta.merge, results);
  return results;
}

const sizeOf = ([width, height]: readonly [number, number]) => ({ width, height });
const gridsOf = (resolutions: readonly (readonly [number, number])[], patch: number): Grid[] =>
  resolutions.map(([w, h]): Grid => [w / patch, h / patch]);

function compareTables(fixture: FixtureCase, results: Results): void {
  const table = tableSchema.parse(readJson(join(fixture.dir, 'anyres.json')));
  for (const { image_wh, grids, square } of table.cases) {
    const image = sizeOf(image_wh);
    const { canvas, left, top } = squareAround(image);
    results.check(`square of ${image_wh}`, [canvas.width, left, top], [square.side, ...square.paste]);
    for (const [set, want] of Object.entries(grids)) {
      const settings = table.grid_sets[set];
      if (settings === undefined) throw new Error(`anyres.json has no grid set ${set}`);
      const { patch, tokens_per_side: tokens } = settings;
      const best = sizeOf(chooseGrid(image, settings.resolutions_wh, 1));
      const grid = [Math.floor(best.width / patch), Math.floor(best.height / patch)] as const;
      const place = padInto(image, best);
      const kept = withoutPadding(image, { width: grid[0] * tokens, height: grid[1] * tokens });
      const got = [best.width, best.height, ...grid, place.width, place.height, place.left, place.top];
      const { unpad } = want;
      results.check(
        `${set} of ${image_wh}`,
        [...got, kept.top, kept.left, kept.height, kept.width],
        [
          ...want.best_wh,
          ...want.grid_wh,
          ...want.pad.resized,
          ...want.pad.paste,
          ...[unpad.top, unpad.left, unpad.height, unpad.width],
        ],
      );
    }
  }
}

type ImageMeta = z.infer<typeof metaSchema>['image'];

async function makeViews(fixture: FixtureCase, meta: ImageMeta, results: Results): Promise<void> {
  const { patch: side } = meta;
  const image = await decodeFile(fixture, meta.file, 'in.rgb', results);
  const views = viewsOf(image, { side, grids: gridsOf(meta.resolutions_wh, side), resize: 'stretch' }, true);
  const { canvas } = views.localPlacement;
  results.check(
    'best_wh and grid_wh',
    [canvas.width, canvas.height, ...views.grid],
    [...meta.best_wh, ...meta.grid_wh],
  );
  const show = (name: string, { width, height, data }: typeof image): void =>
    results.setBytes(name, [height, width, 3], data);
  show('out.stretched_u8', paint(image, stretchInto(canvas)));
  show('out.padded_u8', paint(image, padInto(image, canvas)));
  const [r, g, b] = CLIP_NORMALISATION.mean;
  const grey = [Math.trunc(r * 255), Math.trunc(g * 255), Math.trunc(b * 255)] as const;
  show('out.square_u8', paint(image, squareAround(image), grey));
  const tiles = views.grid[0] * views.grid[1];
  results.setBytes('out.base_u8', [side, side, 3], interleaved(views.global, side * side));
  results.setBytes('out.patches_u8', [tiles, side, side, 3], interleaved(views.tiles, side * side));
  const values = new Float32Array(views.global.length + views.tiles.length);
  const first = normaliseInto(values, 0, views.global, side * side, CLIP_NORMALISATION);
  normaliseInto(values, first, views.tiles, side * side, CLIP_NORMALISATION);
  results.set('out.pixel_values', [1 + tiles, 3, side, side], values);
}

type MergeMeta = z.infer<typeof metaSchema>['merge'];

function mergeMaps(
  fixture: FixtureCase,
  { side, grid_wh: grid, image_wh }: MergeMeta,
  results: Results,
): void {
  const [width, height] = [grid[0] * side, grid[1] * side];
  const { global, local } = rowsUnder(grid, side);
  const order = mergedOrder(grid, side);
  const kept = withoutPadding(sizeOf(image_wh), { width, height });
  tf.tidy(() => {
    const base = tensorOf(input(fixture, 'in.merge.base')) as tf.Tensor2D;
    const channels = base.shape[1];
    const patches: tf.Tensor2D = tf.reshape(tensorOf(input(fixture, 'in.merge.patches')), [-1, channels]);
    const newline: tf.Tensor2D = tf.reshape(tensorOf(input(fixture, 'in.merge.newline')), [1, channels]);
    const read = (table: tf.Tensor2D, rows: Int32Array): tf.Tensor2D =>
      gatherRows(table, tf.tensor1d(rows, 'int32')) as tf.Tensor2D;
    results.add('out.merge.region_map', tf.add(read(base, global), read(patches, local)), [
      height,
      width,
      channels,
    ]);
    results.add('out.merge.tokens_spatial', tf.concat([base, read(patches, order)], 0));
    const lines = Array.from({ length: kept.height }, (_, y) => {
      const start = (kept.top + y) * width + kept.left;
      return [...order.subarray(start, start + kept.width), patches.shape[0]];
    });
    const withNewlines = read(tf.concat([patches, newline], 0), Int32Array.from(lines.flat()));
    results.add('out.merge.tokens_spatial_unpad', tf.concat([base, withNewlines], 0));
  });
}

/** The rows of the global and of the local map that lie at each cell of the merged one, as the region sampler reads them. */
function rowsUnder(grid: Grid, side: number): { global: Int32Array; local: Int32Array } {
  const [width, height] = [grid[0] * side, grid[1] * side];
  const views: Views = {
    size: { width, height },
    grid,
    global: new Uint8Array(),
    globalPlacement: stretchInto({ width: side, height: side }),
    tiles: new Uint8Array(1),
    localPlacement: stretchInto({ width, height }),
  };
  const points = Float32Array.from({ length: 2 * width * height }, (_, i) => {
    const cell = i >> 1;
    return i % 2 === 0
      ? (cell % width) / Math.max(width - 1, 1)
      : Math.floor(cell / width) / Math.max(height - 1, 1);
  });
  const layout = { globalSide: side, globalCount: side ** 2, tileSide: side, tileCount: side ** 2 };
  const { global, local } = cornersOf(points, views, layout, 'nearest');
  if (local === null) throw new Error('views with tiles have a local map');
  // At a cell all the weight is on one of the four corners, but for the rounding of the position.
  const heaviest = ({ rows, weights }: typeof global): Int32Array =>
    Int32Array.from({ length: width * height }, (_, cell) => {
      const own = weights.subarray(4 * cell, 4 * cell + 4);
      return rows[4 * cell + own.indexOf(Math.max(...own))] ?? 0;
    });
  return { global: heaviest(global), local: heaviest(local) };
}
