/**
 * Pairs for contrastive pretraining: whole images with captions, objects with their phrases. The captions are read by
 * CLIP's text tower, so they are cut at its longest length as CLIP does; nothing else in `ground` is ever cut.
 */
import { GroundError } from '../errors.ts';
import type { ContrastiveBatch, Floats, Ints } from '../models/batch.ts';
import type { ModelConfig } from '../models/config.ts';
import { Random } from '../random.ts';
import type { PixelBox } from './box.ts';
import { bucketSize } from './buckets.ts';
import { addRows, ints } from './collate.ts';
import { pixels } from './collate-pixels.ts';
import type { Views } from './image.ts';
import { mergedRow, type PatchLayout, patchLayout, tileCountOf } from './maps.ts';
import { type Annotations, describeObject, textOf } from './record.ts';
import { distinct } from './regions.ts';
import type { Tokenizer } from './tokenizer.ts';

/** The texts of one record and the boxes its phrases name. */
export interface Pairs {
  readonly caption: string;
  /** Objects, in full ("small red striped circle") and by their label alone, with the number that they show if any. */
  readonly phrases: readonly {
    readonly text: string;
    readonly label: string;
    readonly number: string | null;
    readonly box: PixelBox;
  }[];
}

export interface ContrastiveSample {
  readonly id: string;
  readonly views: Views;
  readonly pairs: Pairs;
}

/** Share of the batches whose objects are named by their label alone. */
const LABEL_SHARE = 0.8;

/** Rows and weights of an average over patches. */
interface Pool {
  readonly rows: Int32Array;
  readonly weights: Float32Array;
}

/**
 * A caption drawn from the record's (its phrases in a row where it has none) and at most `maxObjects` objects. Null
 * where the record has neither captions nor objects.
 */
export function pairsOf(record: Annotations, maxObjects: number, random: Random): Pairs | null {
  const { captions } = record;
  const objects = record.objects.filter(object => !object.crowd);
  if (captions.length === 0 && objects.length === 0) return null;
  const kept =
    objects.length <= maxObjects
      ? objects
      : distinct(objects.length, maxObjects, random).map(i => objects[i]!);
  const caption = captions.length > 0 ? random.pick(captions) : objects.map(o => o.phrase).join(', ');
  return {
    caption,
    phrases: kept.map(object => ({
      text: describeObject(object),
      label: object.label,
      number: textOf(object),
      box: object.box,
    })),
  };
}

/**
 * The batch of B samples. Captions are `<s> … </s>` padded with `</s>` to one length, and so are phrases. Four batches
 * in five (drawn by its samples) name objects by their label alone: full descriptions are told apart by colour long before
 * anybody has to look at the shape. With `pretraining.read_text` a label is followed by the number that the object shows
 * ("digit 7"). Throws `config` when the model has no text tower.
 */
export function collateContrastive(
  samples: readonly ContrastiveSample[],
  model: ModelConfig,
  tokenizer: Tokenizer,
): ContrastiveBatch {
  const { text_encoder: tower, read_text: readText = false } = model.pretraining ?? {};
  if (!tower) {
    throw new GroundError('config', 'contrastive data needs model.pretraining, which is absent', {
      hint: 'give model.yaml a pretraining section, or choose another task',
    });
  }
  const layout = patchLayout(model);
  const longest = tower.max_position_embeddings;
  const encode = (text: string): number[] => captionIds(text, tokenizer, longest);
  const captions = samples.map(sample => encode(sample.pairs.caption));
  const byLabel = new Random('naming', ...samples.map(sample => sample.id)).next() < LABEL_SHARE;
  const phrases = samples.flatMap(sample =>
    sample.pairs.phrases.map(({ text, label, number }) =>
      encode(byLabel ? (readText && number !== null ? `${label} ${number}` : label) : text),
    ),
  );
  const lengthOf = (texts: readonly (readonly number[])[]): number =>
    Math.min(bucketSize(Math.max(1, ...texts.map(text => text.length)), 4, 2), longest);
  const regions = bucketSize(phrases.length, 4, 2);
  const views = samples.map(sample => sample.views);
  const tiles = bucketSize(
    views.reduce((n, seen) => n + tileCountOf(seen), 0),
    samples.length,
    4,
  );
  const pools = poolsOf(samples, layout);
  const global = poolTable(pools.global, regions, samples.length * layout.globalCount);
  const local = poolTable(pools.local, regions, tiles * layout.tileCount);
  const { globalPixels, localPixels } = pixels(views, { images: views.length, tiles }, layout, model);
  return {
    kind: 'contrastive',
    size: samples.length,
    sampleIds: samples.map(sample => sample.id),
    globalPixels,
    localPixels,
    tileImages: ints(tileImagesOf(views, tiles)),
    captions: padText(captions, captions.length, lengthOf(captions), tokenizer.endId),
    phrases: padText(phrases, regions, lengthOf(phrases), tokenizer.endId),
    globalRows: global.rows,
    globalWeights: global.weights,
    localRows: local.rows,
    localWeights: local.weights,
    phraseClasses: ints(classesOf(phrases, regions)),
  };
}

/**
 * Patches that a box covers, each weighted with its covered share; the weights add up to 1. A box without area, or
 * outside, takes the one patch nearest to its centre.
 */
export function averageOver(
  box: PixelBox,
  views: Views,
  kind: 'global' | 'local',
  layout: PatchLayout,
): Pool {
  const local = kind === 'local';
  const side = local ? layout.tileSide : layout.globalSide;
  const grid = local ? views.grid : ([1, 1] as const);
  const placement = local ? views.localPlacement : views.globalPlacement;
  const [columns, rows] = [grid[0] * side, grid[1] * side];
  const toX = (x: number): number =>
    ((placement.left + (x / views.size.width) * placement.width) / placement.canvas.width) * columns;
  const toY = (y: number): number =>
    ((placement.top + (y / views.size.height) * placement.height) / placement.canvas.height) * rows;
  const across = coverage(toX(box.x1), toX(box.x2), columns);
  const down = coverage(toY(box.y1), toY(box.y2), rows);
  const total = sumOf(across) * sumOf(down);
  return {
    rows: Int32Array.from(down.flatMap(([y]) => across.map(([x]) => mergedRow(x, y, grid, side)))),
    weights: Float32Array.from(down.flatMap(([, h]) => across.map(([, w]) => (w * h) / total))),
  };
}

function coverage(from: number, to: number, count: number): [index: number, share: number][] {
  const out: [number, number][] = [];
  for (let i = Math.max(Math.floor(from), 0); i < Math.min(Math.ceil(to), count); i++) {
    const share = Math.min(to, i + 1) - Math.max(from, i);
    if (share > 0) out.push([i, share]);
  }
  if (out.length > 0) return out;
  return [[Math.min(Math.max(Math.floor((from + to) / 2), 0), count - 1), 1]];
}

function sumOf(shares: readonly (readonly [number, number])[]): number {
  return shares.reduce((total, [, share]) => total + share, 0);
}

function poolsOf(
  samples: readonly ContrastiveSample[],
  layout: PatchLayout,
): { global: Pool[]; local: Pool[] } {
  const global: Pool[] = [];
  const local: Pool[] = [];
  let globalStart = 0;
  let localStart = 0;
  const shifted = (pool: Pool, start: number): Pool => {
    const rows = new Int32Array(pool.rows.length);
    addRows(rows, pool.rows, 0, start);
    return { rows, weights: pool.weights };
  };
  const none: Pool = { rows: new Int32Array(0), weights: new Float32Array(0) };
  for (const { views, pairs } of samples) {
    const tiles = tileCountOf(views);
    for (const { box } of pairs.phrases) {
      global.push(shifted(averageOver(box, views, 'global', layout), globalStart));
      local.push(tiles === 0 ? none : shifted(averageOver(box, views, 'local', layout), localStart));
    }
    globalStart += layout.globalCount;
    localStart += tiles * layout.tileCount;
  }
  return { global, local };
}

function poolTable(
  pools: readonly Pool[],
  regions: number,
  zeroRow: number,
): { rows: Ints; weights: Floats } {
  const widest = pools.reduce((most, pool) => Math.max(most, pool.rows.length), 1);
  const k = bucketSize(widest, 4, 2);
  const rows = new Int32Array(regions * k).fill(zeroRow);
  const weights = new Float32Array(regions * k);
  for (const [r, pool] of pools.entries()) {
    rows.set(pool.rows, r * k);
    weights.set(pool.weights, r * k);
  }
  return { rows: { data: rows, shape: [regions, k] }, weights: { data: weights, shape: [regions, k] } };
}

function tileImagesOf(views: readonly Views[], tiles: number): Int32Array {
  const out = new Int32Array(tiles).fill(-1);
  let at = 0;
  for (const [b, seen] of views.entries()) {
    out.fill(b, at, at + tileCountOf(seen));
    at += tileCountOf(seen);
  }
  return out;
}

function captionIds(text: string, tokenizer: Tokenizer, longest: number): number[] {
  const begin = tokenizer.beginId === null ? [] : [tokenizer.beginId];
  // The blank makes the first word the same token as inside an answer; CLIP's own tokenizer drops it.
  const ids = tokenizer.encodeContinuation(` ${text}`);
  return [...begin, ...ids.slice(0, longest - begin.length - 1), tokenizer.endId];
}

function padText(texts: readonly number[][], count: number, length: number, pad: number): Ints {
  const data = new Int32Array(count * length).fill(pad);
  for (const [i, ids] of texts.entries()) data.set(ids, i * length);
  return { data, shape: [count, length] };
}

/** Equal phrases get the number of the first of them; padding gets -1. */
function classesOf(phrases: readonly number[][], count: number): Int32Array {
  const seen = new Map<string, number>();
  const out = new Int32Array(count).fill(-1);
  for (const [i, ids] of phrases.entries()) {
    const key = ids.join(' ');
    if (!seen.has(key)) seen.set(key, i);
    out[i] = seen.get(key)!;
  }
  return out;
}
