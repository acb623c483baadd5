/**
 * Samples to one `ConversationBatch`, one or several a row: everything side by side, and the index arrays that say what
 * stands where.
 */
import { GroundError } from '../errors.ts';
import type { ConversationBatch, Floats, Ints, RegionGeometry } from '../models/batch.ts';
import type { ModelConfig } from '../models/config.ts';
import { bucketSize } from './buckets.ts';
import { visual } from './collate-pixels.ts';
import type { FeatureSets } from './feature-store.ts';
import type { Views } from './image.ts';
import { mergedOrder, type PatchLayout, patchLayout, tileCountOf, visualTokens } from './maps.ts';
import type { Sample } from './sample.ts';

export interface CollateOptions {
  /** Rounds sizes up so that few distinct shapes occur (training); off, sizes are exact (one-off prompts). */
  readonly buckets?: boolean;
  /** Where features of frozen encoders are kept; the samples' views then say what is known. */
  readonly features?: FeatureSets | undefined;
}

/**
 * A batch of samples, one a row. Where some have an image and some have none, images of zeros that nothing reads make up
 * the number. In time linear in the batch's bytes. Throws `data` on no sample.
 */
export function collate(
  samples: readonly Sample[],
  model: ModelConfig,
  { buckets = true, features }: CollateOptions = {},
): ConversationBatch {
  const round: Round = (size, least, steps) => (buckets ? bucketSize(size, least, steps) : size);
  const layout = patchLayout(model);
  const lengths = samples.map(sample => lengthOf(sample, layout));
  const length = Math.min(round(Math.max(...lengths), 16, 4), Math.max(model.max_length, ...lengths));
  const views = viewsOf(samples);
  return assemble(
    samples.map(sample => [sample]),
    model,
    {
      length,
      images: views.length === 0 ? 0 : samples.length,
      tiles: round(sum(views.map(tileCountOf)), samples.length, 4),
      regions: round(sum(samples.map(s => s.regions.length)), 4, 1),
      targets: count => round(count, 16, 2),
    },
    features,
  );
}

/**
 * A batch of rows of exactly `length` positions, each with any number of samples side by side, with or without images.
 * Images, too, are rounded up to a few numbers. Throws `data` on no sample, and where samples do not fit their row.
 */
export function collatePacked(
  rows: readonly (readonly Sample[])[],
  length: number,
  model: ModelConfig,
  features?: FeatureSets,
): ConversationBatch {
  const samples = rows.flat();
  const views = viewsOf(samples);
  const sizes: Sizes = {
    length,
    images: bucketSize(views.length, rows.length, 2),
    tiles: bucketSize(sum(views.map(tileCountOf)), rows.length, 2),
    regions: bucketSize(sum(samples.map(s => s.regions.length)), 4, 1),
    targets: count => bucketSize(count, 64, 2),
  };
  const batch = assemble(rows, model, sizes, features);
  return { ...batch, packed: packedRows(rows, length, patchLayout(model)) };
}

/** Rounds a size up: at least `least`, `steps` sizes an octave. */
type Round = (size: number, least: number, steps: number) => number;

/** Sizes of a batch, rounded. */
interface Sizes {
  readonly length: number;
  readonly images: number;
  readonly tiles: number;
  readonly regions: number;
  readonly targets: (count: number) => number;
}

/** A sample at its place: the number of its first position, rows counted through. */
interface Placed {
  readonly sample: Sample;
  readonly start: number;
}

function assemble(
  rows: readonly (readonly Sample[])[],
  model: ModelConfig,
  { length, images, tiles, regions, targets }: Sizes,
  features: FeatureSets | undefined,
): ConversationBatch {
  const samples = rows.flat();
  if (samples.length === 0) throw new GroundError('data', 'a batch of 0 samples');
  const layout = patchLayout(model);
  const placed = placedIn(rows, length, layout);
  const tables: Tables = {
    text: rows.length * length,
    global: images * layout.globalCount,
    local: tiles * layout.tileCount,
    regions,
  };
  return {
    kind: 'conversation',
    size: rows.length,
    length,
    sampleIds: samples.map(sample => sample.id),
    ...sequences(placed, [rows.length, length], tables, layout, model),
    ...targetsOf(placed, layout, targets),
    ...visual(viewsOf(samples), { images, tiles }, layout, model, features),
    regions: regionGeometry(samples, regions, tables, layout, model),
  };
}

function placedIn(rows: readonly (readonly Sample[])[], length: number, layout: PatchLayout): Placed[] {
  return rows.flatMap((row, b) => {
    let start = b * length;
    const placed = row.map((sample): Placed => {
      const at = { sample, start };
      start += lengthOf(sample, layout);
      return at;
    });
    if (start <= (b + 1) * length) return placed;
    throw new GroundError(
      'data',
      `${row.map(sample => sample.id).join(', ')}: ${start - b * length} tokens in a row of ${length}`,
    );
  });
}

function packedRows(
  rows: readonly (readonly Sample[])[],
  length: number,
  layout: PatchLayout,
): NonNullable<ConversationBatch['packed']> {
  const shape = [rows.length, length];
  const segments = new Int32Array(rows.length * length);
  const positions = new Int32Array(rows.length * length);
  for (const [b, row] of rows.entries()) {
    let p = b * length;
    for (const [s, sample] of row.entries()) {
      const own = lengthOf(sample, layout);
      for (let t = 0; t < own; t++, p++) {
        segments[p] = s + 1;
        positions[p] = t;
      }
    }
  }
  return { segments: { data: segments, shape }, positions: { data: positions, shape } };
}

function lengthOf({ rendered, views }: Sample, layout: PatchLayout): number {
  return rendered.tokens.length + (views ? visualTokens(views, layout) : 0);
}

function viewsOf(samples: readonly Sample[]): Views[] {
  return samples.flatMap(({ views }) => (views ? [views] : []));
}

/** Rows of each part of the table that positions read from. */
interface Tables {
  readonly text: number;
  readonly global: number;
  readonly local: number;
  readonly regions: number;
}

function sequences(
  placed: readonly Placed[],
  shape: readonly [rows: number, length: number],
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
  for (const { sample, start } of placed) {
    const { rendered, views } = sample;
    let p = start;
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
    mask.fill(1, start, p);
  }
  const inverse = new Int32Array(zeroRow + 1).fill(positions);
  for (let p = 0; p < positions; p++) {
    if (source[p] !== zeroRow) inverse[source[p]!] = p;
  }
  return {
    tokens: { data: tokens, shape },
    mask: { data: mask, shape },
    source: ints(source),
    sourceInverse: ints(inverse),
  };
}

/** Each supervised token is predicted by the position before it. */
function targetsOf(
  placed: readonly Placed[],
  layout: PatchLayout,
  round: (count: number) => number,
): Pick<ConversationBatch, 'targetRows' | 'targets' | 'targetWeights'> {
  const rows: number[] = [];
  const targets: number[] = [];
  for (const { sample, start } of placed) {
    const { rendered, views } = sample;
    const visual = views ? visualTokens(views, layout) : 0;
    for (const [from, to] of rendered.answers) {
      for (let t = from; t < to; t++) {
        const place = t + (rendered.imageAt !== null && t >= rendered.imageAt ? visual : 0);
        // What comes before the first position is another sample, or nothing.
        if (place === 0) continue;
        rows.push(start + place - 1);
        targets.push(rendered.tokens[t]!);
      }
    }
  }
  const count = round(rows.length);
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

/** The memory of all arrays of batches, each buffer once: what travels between threads. */
export function buffersOf(batches: readonly object[]): ArrayBuffer[] {
  return [...new Set(arraysOf(batches).map(array => array.buffer as ArrayBuffer))];
}

/** Every array of a batch. */
export function arraysOf(batch: object): (Floats | Ints)['data'][] {
  return Object.values(batch).flatMap(value => {
    if (value instanceof Float32Array || value instanceof Int32Array) return [value];
    return typeof value === 'object' && value !== null ? arraysOf(value) : [];
  });
}
