/** Samples to one `ConversationBatch`: everything side by side, and the index arrays that say what stands where. */
import { GroundError } from '../errors.ts';
import type { ConversationBatch, Floats, Ints, RegionGeometry } from '../models/batch.ts';
import type { ModelConfig } from '../models/config.ts';
import { bucketSize } from './buckets.ts';
import { CLIP_NORMALISATION, IMAGENET_NORMALISATION, normaliseInto, type Views } from './image.ts';
import {
  localCentresOf,
  mergedOrder,
  type PatchLayout,
  patchLayout,
  tileCountOf,
  visualTokens,
} from './maps.ts';
import type { Sample } from './sample.ts';

export interface CollateOptions {
  /** Rounds sizes up so that few distinct shapes occur (training); off, sizes are exact (one-off prompts). */
  readonly buckets?: boolean;
}

/**
 * A batch of samples, all with an image or all without (throws `data` on a mixture, and on no sample). In time linear
 * in the batch's bytes.
 */
export function collate(
  samples: readonly Sample[],
  model: ModelConfig,
  { buckets = true }: CollateOptions = {},
): ConversationBatch {
  const views = samples.flatMap(sample => (sample.views ? [sample.views] : []));
  if (samples.length === 0 || (views.length > 0 && views.length < samples.length)) {
    throw new GroundError('data', `a batch of ${samples.length} samples has ${views.length} images`, {
      hint: 'text-only and image conversations go in batches of their own',
    });
  }
  const round = (size: number, least: number, steps: number): number =>
    buckets ? bucketSize(size, least, steps) : size;
  const layout = patchLayout(model);
  const size = samples.length;
  const lengths = samples.map(s => s.rendered.tokens.length + (s.views ? visualTokens(s.views, layout) : 0));
  const length = Math.min(round(Math.max(...lengths), 16, 4), Math.max(model.max_length, ...lengths));
  const tiles = round(sum(views.map(tileCountOf)), size, 4);
  const regions = round(sum(samples.map(s => s.regions.length)), 4, 1);
  const tables: Tables = {
    text: size * length,
    global: views.length * layout.globalCount,
    local: tiles * layout.tileCount,
    regions,
  };
  return {
    kind: 'conversation',
    size,
    length,
    sampleIds: samples.map(sample => sample.id),
    ...sequences(samples, length, tables, layout, model),
    ...targetsOf(samples, length, layout, round),
    ...pixels(views, tiles, layout, model),
    regions: regionGeometry(samples, regions, tables, layout, model),
  };
}

/** Rows of each part of the table that positions read from. */
interface Tables {
  readonly text: number;
  readonly global: number;
  readonly local: number;
  readonly regions: number;
}

function sequences(
  samples: readonly Sample[],
  length: number,
  tables: Tables,
  layout: PatchLayout,
  model: ModelConfig,
): Pick<ConversationBatch, 'tokens' | 'mask' | 'source' | 'sourceInverse'> {
  const positions = tables.text;
  const zeroRow = tables.text + tables.global + tables.local + tables.regions;
  const tokens = new Int32Array(positions);
  const mask = new Int32Array(positions);
  const source = new Int32Array(positions).fill(zeroRow);
  let globalRow = tables.text;
  let localRow = globalRow + tables.global;
  let regionRow = localRow + tables.local;
  for (const [b, { rendered, views }] of samples.entries()) {
    let p = b * length;
    const placeVisual = (seen: Views): void => {
      const placeGlobal = (): void => {
        for (let i = 0; i < layout.globalCount; i++) source[p++] = globalRow + i;
      };
      if (model.layout.order === 'global-local') placeGlobal();
      if (tileCountOf(seen) > 0) {
        for (const row of mergedOrder(seen.grid, layout.tileSide)) source[p++] = localRow + row;
      }
      if (model.layout.order === 'local-global') placeGlobal();
      globalRow += layout.globalCount;
      localRow += tileCountOf(seen) * layout.tileCount;
    };
    let nextRegion = 0;
    for (let t = 0; t <= rendered.tokens.length; t++) {
      if (t === rendered.imageAt && views) placeVisual(views);
      if (t === rendered.tokens.length) break;
      tokens[p] = rendered.tokens[t]!;
      if (t === rendered.regionsAt[nextRegion]) {
        source[p] = regionRow++;
        nextRegion++;
      } else {
        source[p] = p;
      }
      p++;
    }
    mask.fill(1, b * length, p);
  }
  const inverse = new Int32Array(zeroRow + 1).fill(positions);
  for (let p = 0; p < positions; p++) {
    if (source[p] !== zeroRow) inverse[source[p]!] = p;
  }
  const shape = [samples.length, length];
  return {
    tokens: { data: tokens, shape },
    mask: { data: mask, shape },
    source: ints(source),
    sourceInverse: ints(inverse),
  };
}

/** Each supervised token is predicted by the position before it. */
function targetsOf(
  samples: readonly Sample[],
  length: number,
  layout: PatchLayout,
  round: (size: number, least: number, steps: number) => number,
): Pick<ConversationBatch, 'targetRows' | 'targets' | 'targetWeights'> {
  const rows: number[] = [];
  const targets: number[] = [];
  for (const [b, { rendered, views }] of samples.entries()) {
    const visual = views ? visualTokens(views, layout) : 0;
    for (const [start, end] of rendered.answers) {
      for (let t = start; t < end; t++) {
        const shift = rendered.imageAt !== null && t >= rendered.imageAt ? visual : 0;
        rows.push(b * length + t + shift - 1);
        targets.push(rendered.tokens[t]!);
      }
    }
  }
  const count = round(rows.length, 16, 2);
  const weights = new Float32Array(count).fill(1, 0, rows.length);
  const padded = (values: readonly number[]): Ints => {
    const data = new Int32Array(count);
    data.set(values);
    return ints(data);
  };
  return {
    targetRows: padded(rows),
    targets: padded(targets),
    targetWeights: { data: weights, shape: [count] },
  };
}

/** Normalised pixels of both kinds of views, and where local patches lie; tiles beyond the images' own stay 0. */
export function pixels(
  views: readonly Views[],
  tiles: number,
  layout: PatchLayout,
  model: ModelConfig,
): Pick<ConversationBatch, 'globalPixels' | 'localPixels' | 'localCentres'> {
  const { side } = model.image;
  const plane = side * side;
  const globals = new Float32Array(views.length * 3 * plane);
  const locals = new Float32Array(tiles * 3 * plane);
  const centres = new Float32Array(tiles * layout.tileCount * 2);
  let globalAt = 0;
  let localAt = 0;
  let centreAt = 0;
  for (const seen of views) {
    globalAt = normaliseInto(globals, globalAt, seen.global, plane, CLIP_NORMALISATION);
    if (tileCountOf(seen) === 0) continue;
    localAt = normaliseInto(locals, localAt, seen.tiles, plane, IMAGENET_NORMALISATION);
    const own = localCentresOf(seen.grid, layout.tileSide);
    centres.set(own, centreAt);
    centreAt += own.length;
  }
  return {
    globalPixels: { data: globals, shape: [views.length, 3, side, side] },
    localPixels: { data: locals, shape: [tiles, 3, side, side] },
    localCentres: { data: centres, shape: [tiles * layout.tileCount, 2] },
  };
}

function regionGeometry(
  samples: readonly Sample[],
  count: number,
  tables: Tables,
  layout: PatchLayout,
  model: ModelConfig,
): RegionGeometry {
  const { points: m, blocks } = model.sampler;
  // Each map's table ends with a zero row: what padding reads, and points of images without tiles.
  const globalRows = new Int32Array(count * m * 4).fill(tables.global);
  const localRows = new Int32Array(count * m * 4).fill(tables.local);
  const globalWeights = new Float32Array(count * m * 4);
  const localWeights = new Float32Array(count * m * 4);
  const points = new Float32Array(count * m * 2);
  const anchors = blocks.map(block => new Int32Array(count * block.points));
  const neighbors = blocks.map(block => new Int32Array(count * block.points * block.neighbors));
  let r = 0;
  let globalStart = 0;
  let localStart = 0;
  for (const { regions, views } of samples) {
    for (const region of regions) {
      points.set(region.points, r * m * 2);
      addRows(globalRows, region.global.rows, r * m * 4, globalStart);
      globalWeights.set(region.global.weights, r * m * 4);
      if (region.local) {
        addRows(localRows, region.local.rows, r * m * 4, localStart);
        localWeights.set(region.local.weights, r * m * 4);
      }
      for (const [b, kept] of region.anchors.entries()) anchors[b]!.set(kept, r * kept.length);
      for (const [b, near] of region.neighbors.entries()) neighbors[b]!.set(near, r * near.length);
      r++;
    }
    if (views) {
      globalStart += layout.globalCount;
      localStart += tileCountOf(views) * layout.tileCount;
    }
  }
  const corner = [count, m, 4];
  return {
    count,
    globalRows: { data: globalRows, shape: corner },
    globalWeights: { data: globalWeights, shape: corner },
    localRows: { data: localRows, shape: corner },
    localWeights: { data: localWeights, shape: corner },
    points: { data: points, shape: [count, m, 2] },
    anchors: blocks.map((block, b) => ({ data: anchors[b]!, shape: [count, block.points] })),
    neighbors: blocks.map((block, b) => ({
      data: neighbors[b]!,
      shape: [count, block.points, block.neighbors],
    })),
  };
}

/** Writes `rows + start` at `offset`. */
export function addRows(out: Int32Array, rows: Int32Array, offset: number, start: number): void {
  for (let i = 0; i < rows.length; i++) out[offset + i] = rows[i]! + start;
}

export function ints(data: Int32Array): Ints {
  return { data, shape: [data.length] };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Every array of a batch: what travels between threads. */
export function arraysOf(batch: object): (Floats | Ints)['data'][] {
  return Object.values(batch).flatMap(value => {
    if (value instanceof Float32Array || value instanceof Int32Array) return [value];
    return typeof value === 'object' && value !== null ? arraysOf(value) : [];
  });
}
