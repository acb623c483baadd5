import * as tf from '../engine/tf.ts';
import type { Batch, ContrastiveBatch, ConversationBatch, Floats, Ints, RegionGeometry } from './batch.ts';
import type { BlockGeometry } from './sampler.ts';

/** What stands in for minus infinity between pairs that are no negatives of each other. */
const BLOCKED = -1e9;

/** The regions of a batch, R of them with M points each. */
export interface RegionTensors {
  readonly count: number;
  /** Rows around each point [R · M, 4] and their bilinear weights [R · M, 4], of the global and the local map. */
  readonly globalRows: tf.Tensor2D;
  readonly globalWeights: tf.Tensor2D;
  readonly localRows: tf.Tensor2D;
  readonly localWeights: tf.Tensor2D;
  readonly blocks: readonly BlockGeometry[];
}

/** A `ConversationBatch` in the engine. What the batch does not have is null: no tensor here is empty. */
export interface ConversationTensors {
  readonly kind: 'conversation';
  readonly size: number;
  readonly length: number;
  /** Positions in use of each row: plain numbers, read only when generating. */
  readonly lengths: readonly number[];
  /** int32 [B · T] */
  readonly tokens: tf.Tensor1D;
  readonly source: tf.Tensor1D;
  readonly sourceInverse: tf.Tensor1D;
  readonly globalPixels: tf.Tensor4D | null;
  readonly localPixels: tf.Tensor4D | null;
  readonly localCentres: tf.Tensor2D | null;
  /** What frozen encoders have made of the views, in the place of pixels [views · patches, width]; null where they are to run. */
  readonly globalFeatures: tf.Tensor2D | null;
  readonly localFeatures: tf.Tensor2D | null;
  readonly regions: RegionTensors | null;
  readonly targets: {
    readonly rows: tf.Tensor1D;
    readonly ids: tf.Tensor1D;
    readonly weights: tf.Tensor1D;
  } | null;
  /** Segments and positions of rows with several samples, int32 [B, T]; null where each has one. */
  readonly packed: { readonly segments: tf.Tensor2D; readonly positions: tf.Tensor2D } | null;
}

/** Pairs whose similarities are contrasted, n of them. */
export interface PairTensors {
  /** Additive mask [n, n]: very negative between pairs that are no negatives of each other. */
  readonly blocked: tf.Tensor2D;
  /** 1 for a pair, 0 for padding [n]. */
  readonly weights: tf.Tensor1D;
}

/** Average pooling by rows and weights, both [R, K]. */
export interface PoolingTensors {
  readonly rows: tf.Tensor2D;
  readonly weights: tf.Tensor2D;
}

/** Texts of one length L, int32 [n, L], and the row of each one's end token in [n · L]. */
export interface TextTensors {
  readonly ids: tf.Tensor2D;
  readonly ends: tf.Tensor1D;
}

/** A `ContrastiveBatch` in the engine. */
export interface ContrastiveTensors {
  readonly kind: 'contrastive';
  readonly size: number;
  readonly globalPixels: tf.Tensor4D | null;
  readonly localPixels: tf.Tensor4D | null;
  /** Averages tiles into images [B, N]. */
  readonly tileMean: tf.Tensor2D | null;
  readonly captions: TextTensors;
  readonly captionPairs: PairTensors;
  readonly regions: {
    readonly count: number;
    readonly phrases: TextTensors;
    readonly global: PoolingTensors;
    readonly local: PoolingTensors;
    readonly pairs: PairTensors;
  } | null;
}

export type BatchTensors = ConversationTensors | ContrastiveTensors;

/** Copies a batch into the engine. The caller owns the tensors: free them with `disposeTensors`. */
export function toTensors(batch: ConversationBatch): ConversationTensors;
export function toTensors(batch: ContrastiveBatch): ContrastiveTensors;
export function toTensors(batch: Batch): BatchTensors;
export function toTensors(batch: Batch): BatchTensors {
  return batch.kind === 'conversation' ? conversationTensors(batch) : contrastiveTensors(batch);
}

/** All tensors of a batch, always in the same order. */
export function listTensors(batch: BatchTensors): tf.Tensor[] {
  const found: tf.Tensor[] = [];
  const visit = (value: unknown): void => {
    if (value instanceof tf.Tensor) found.push(value);
    else if (typeof value === 'object' && value !== null) Object.values(value).forEach(visit);
  };
  visit(batch);
  return found;
}

export function disposeTensors(batch: BatchTensors): void {
  tf.dispose(listTensors(batch));
}

function conversationTensors(batch: ConversationBatch): ConversationTensors {
  const lengths = Array.from({ length: batch.size }, (_, b) =>
    batch.mask.data.subarray(b * batch.length, (b + 1) * batch.length).reduce((sum, used) => sum + used, 0),
  );
  return {
    kind: 'conversation',
    size: batch.size,
    length: batch.length,
    lengths,
    tokens: flatInts(batch.tokens),
    source: flatInts(batch.source),
    sourceInverse: flatInts(batch.sourceInverse),
    ...views('global', batch.globalPixels, batch),
    ...views('local', batch.localPixels, batch),
    localCentres: batch.localCentres.data.length === 0 ? null : pairsOf(batch.localCentres),
    regions: batch.regions.count === 0 ? null : regionTensors(batch.regions),
    targets:
      batch.targets.data.length === 0
        ? null
        : {
            rows: flatInts(batch.targetRows),
            ids: flatInts(batch.targets),
            weights: tf.tensor1d(batch.targetWeights.data),
          },
    packed: batch.packed
      ? { segments: matrixOfInts(batch.packed.segments), positions: matrixOfInts(batch.packed.positions) }
      : null,
  };
}

/**
 * What each block of the sampler reads: positions of its pool [regions · pool, 2], and rows of all regions' pools, one pool
 * after another, that are kept [regions · n] and looked at [regions · n, k].
 */
export function sampledBlocks({ count, ...geometry }: RegionGeometry): {
  readonly points: Floats;
  readonly anchors: Ints;
  readonly neighbors: Ints;
}[] {
  const blocks: { points: Floats; anchors: Ints; neighbors: Ints }[] = [];
  let points = geometry.points.data;
  for (const [b, anchors] of geometry.anchors.entries()) {
    const neighbors = geometry.neighbors[b] as Ints;
    const pool = points.length / 2 / count;
    const kept = inPools(anchors, count, pool);
    blocks.push({
      points: { data: points, shape: [count * pool, 2] },
      anchors: { data: kept, shape: [kept.length] },
      neighbors: { data: inPools(neighbors, count, pool), shape: [kept.length, lastOf(neighbors)] },
    });
    const next = new Float32Array(kept.length * 2);
    kept.forEach((row, i) => {
      next[2 * i] = points[2 * row] ?? 0;
      next[2 * i + 1] = points[2 * row + 1] ?? 0;
    });
    points = next;
  }
  return blocks;
}

function regionTensors(geometry: RegionGeometry): RegionTensors {
  return {
    count: geometry.count,
    globalRows: matrixOfInts(geometry.globalRows),
    globalWeights: matrix(geometry.globalWeights),
    localRows: matrixOfInts(geometry.localRows),
    localWeights: matrix(geometry.localWeights),
    blocks: sampledBlocks(geometry).map(({ points, anchors, neighbors }) => ({
      points: matrix(points),
      anchors: flatInts(anchors),
      neighbors: matrixOfInts(neighbors),
    })),
  };
}

/** Indices within each region's pool of points, as rows of the pools of all regions one after another. */
function inPools(indices: Ints, regions: number, pool: number): Int32Array {
  const each = indices.data.length / regions;
  return indices.data.map((index, i) => index + Math.floor(i / each) * pool);
}

function contrastiveTensors(batch: ContrastiveBatch): ContrastiveTensors {
  const { size } = batch;
  const regions = batch.phraseClasses.data.length;
  return {
    kind: 'contrastive',
    size,
    globalPixels: pixels(batch.globalPixels),
    localPixels: pixels(batch.localPixels),
    tileMean: batch.tileImages.data.length === 0 ? null : tileMean(batch.tileImages.data, size),
    captions: texts(batch.captions),
    captionPairs: pairs(equalRows(batch.captions)),
    regions:
      regions === 0
        ? null
        : {
            count: regions,
            phrases: texts(batch.phrases),
            global: {
              rows: matrixOfInts(batch.globalRows),
              weights: matrix(batch.globalWeights),
            },
            local: { rows: matrixOfInts(batch.localRows), weights: matrix(batch.localWeights) },
            pairs: pairs(batch.phraseClasses.data),
          },
  };
}

function texts(ids: Ints): TextTensors {
  return { ids: matrixOfInts(ids), ends: tf.tensor1d(endRows(ids.data, lastOf(ids)), 'int32') };
}

/** The row of each text's end token: the first that equals the text's last number, which is padding or the end itself. */
function endRows(texts: Int32Array, length: number): Int32Array {
  return Int32Array.from({ length: texts.length / length }, (_, i) => {
    const text = texts.subarray(i * length, (i + 1) * length);
    return i * length + text.indexOf(text[length - 1] ?? 0);
  });
}

/** A number for each row of ids, the same for equal rows. */
function equalRows(ids: Ints): Int32Array {
  const width = lastOf(ids);
  const classes = new Map<string, number>();
  return Int32Array.from({ length: ids.data.length / width }, (_, row) => {
    const key = ids.data.subarray(row * width, (row + 1) * width).join(' ');
    const known = classes.get(key) ?? classes.size;
    classes.set(key, known);
    return known;
  });
}

/** Pairs by class: equal classes are no negatives of each other, and -1 is padding. */
function pairs(classes: Int32Array): PairTensors {
  const n = classes.length;
  const blocked = new Float32Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (i !== j && (classes[i] === classes[j] || classes[j] === -1)) blocked[i * n + j] = BLOCKED;
    }
  }
  return {
    blocked: tf.tensor2d(blocked, [n, n]),
    weights: tf.tensor1d(Float32Array.from(classes, c => (c === -1 ? 0 : 1))),
  };
}

function tileMean(images: Int32Array, size: number): tf.Tensor2D {
  const weights = new Float32Array(size * images.length);
  for (let b = 0; b < size; b++) {
    const own = images.filter(image => image === b).length;
    images.forEach((image, tile) => {
      if (image === b) weights[b * images.length + tile] = 1 / own;
    });
  }
  return tf.tensor2d(weights, [size, images.length]);
}

/** Features where the batch has them, else pixels. */
function views<E extends 'global' | 'local'>(of: E, seen: Floats, { features }: ConversationBatch) {
  const table = features?.[of] ?? null;
  if (table !== null && table.missing.length > 0) {
    throw new Error(`${table.missing.length} images of a batch have no ${of} features yet`);
  }
  return {
    [`${of}Pixels`]: table ? null : pixels(seen),
    [`${of}Features`]: table && matrix(table.rows),
  } as Record<`${E}Pixels`, tf.Tensor4D | null> & Record<`${E}Features`, tf.Tensor2D | null>;
}

function pixels(p: Floats): tf.Tensor4D | null {
  return p.data.length === 0 ? null : tf.tensor4d(p.data, p.shape as [number, number, number, number]);
}

function lastOf(x: Ints | Floats): number {
  return x.shape[x.shape.length - 1] ?? 1;
}

function flatInts(x: Ints): tf.Tensor1D {
  return tf.tensor1d(x.data, 'int32');
}

function matrix(x: Floats): tf.Tensor2D {
  return tf.tensor2d(x.data, [x.data.length / lastOf(x), lastOf(x)]);
}

function matrixOfInts(x: Ints): tf.Tensor2D {
  return tf.tensor2d(x.data, [x.data.length / lastOf(x), lastOf(x)], 'int32');
}

function pairsOf(x: Floats): tf.Tensor2D {
  return tf.tensor2d(x.data, [x.data.length / 2, 2]);
}
