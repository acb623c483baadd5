import { bucketSize } from '../../data/buckets.ts';
import { patchLayout } from '../../data/maps.ts';
import { TEXT_TASKS } from '../../data/tasks/names.ts';
import type { Batch, ContrastiveBatch, ConversationBatch, Floats, Ints } from '../../models/batch.ts';
import type { ModelConfig } from '../../models/config.ts';
import type { StageRecipe } from '../recipe.ts';

/** Objects that one sample points at or contrasts, at most: the loader's own limit. */
const MOST_OBJECTS = 10;

/** How large a batch of conversations is, its roundings up included. */
export interface BatchSizes {
  /** Samples, or packed rows. */
  readonly samples: number;
  /** Positions of each sequence. */
  readonly positions: number;
  /** Tiles of all samples. */
  readonly tiles: number;
  /** Regions of all samples. */
  readonly regions: number;
  /** Supervised tokens of all samples. */
  readonly targets: number;
}

/**
 * The largest batches that a stage could draw, one of each kind: every image in the finest grid, every sequence
 * `max_length` long or every packed row full of images, every text token supervised. For planning without the data.
 */
export function largestBatches({ views, data, batch }: StageRecipe, model: ModelConfig): Batch[] {
  const { samples } = batch;
  const tiles =
    views === 'global' ? 0 : Math.max(...model.image.grids.map(([columns, rows]) => columns * rows));
  const tasks = new Set(data.map(source => source.task));
  const batches: Batch[] = [];
  const positions = batch.packing?.length ?? model.max_length;
  const packed = batch.packing !== undefined;
  if (tasks.has('contrastive')) batches.push(contrastiveBatch(model, samples, samples * tiles));
  if ([...tasks].some(task => task !== 'contrastive' && !TEXT_TASKS.has(task))) {
    const { globalCount, tileCount } = patchLayout(model);
    const visual = globalCount + tiles * tileCount;
    const images = samples * (packed ? Math.max(1, Math.floor(positions / (visual + 1))) : 1);
    const sizes: BatchSizes = {
      samples,
      positions,
      tiles: bucketSize(images * tiles, samples, packed ? 2 : 4),
      regions: pointing(tasks) ? bucketSize(images * MOST_OBJECTS, 4, 1) : 0,
      targets: bucketSize(samples * Math.max(1, positions - visual), 16, 2),
    };
    batches.push(
      packed ? packedBatch(model, sizes, bucketSize(images, samples, 2)) : conversationBatch(model, sizes),
    );
  } else if ([...tasks].some(task => TEXT_TASKS.has(task))) {
    const targets = bucketSize(samples * positions, 16, 2);
    const sizes = { samples, positions, tiles: 0, regions: 0, targets };
    batches.push(packed ? packedBatch(model, sizes, 0) : textBatch(model, sizes));
  }
  return batches;
}

/** Whether some task asks about regions. */
function pointing(tasks: ReadonlySet<string>): boolean {
  return ['dense-referring', 'reg', 'roc', 'relation', 'ocr', 'conversation'].some(task => tasks.has(task));
}

/** The sizes of a batch of conversations. */
export function sizesOf(batch: ConversationBatch): BatchSizes {
  return {
    samples: batch.size,
    positions: batch.length,
    tiles: batch.localPixels.shape[0] ?? 0,
    regions: batch.regions.count,
    targets: batch.targets.data.length,
  };
}

/** A batch of these sizes with images, all zeros: enough for whatever looks at shapes only. */
export function conversationBatch(model: ModelConfig, sizes: BatchSizes): ConversationBatch {
  const { samples } = sizes;
  const { side } = model.image;
  return batchOf(model, sizes, floats([samples, 3, side, side]));
}

/** The same without images. */
function textBatch(model: ModelConfig, sizes: BatchSizes): ConversationBatch {
  return batchOf(model, sizes, floats([0, 3, model.image.side, model.image.side]));
}

/** Packed rows with so many images in all. */
function packedBatch(model: ModelConfig, sizes: BatchSizes, images: number): ConversationBatch {
  const { side } = model.image;
  const shape = [sizes.samples, sizes.positions];
  return {
    ...batchOf(model, sizes, floats([images, 3, side, side])),
    packed: { segments: ints(shape), positions: ints(shape) },
  };
}

function batchOf(model: ModelConfig, sizes: BatchSizes, globalPixels: Floats): ConversationBatch {
  const { samples, positions, tiles, regions, targets } = sizes;
  const { globalCount, tileCount } = patchLayout(model);
  const { points, blocks } = model.sampler;
  const { side } = model.image;
  const images = globalPixels.shape[0] ?? 0;
  const rows = samples * positions + images * globalCount + tiles * tileCount + regions + 1;
  return {
    kind: 'conversation',
    size: samples,
    length: positions,
    sampleIds: Array.from({ length: samples }, (_, i) => `planned ${i}`),
    tokens: ints([samples, positions]),
    mask: { data: new Int32Array(samples * positions).fill(1), shape: [samples, positions] },
    source: ints([samples * positions]),
    sourceInverse: ints([rows]),
    globalPixels,
    localPixels: floats([tiles, 3, side, side]),
    localCentres: floats([tiles * tileCount, 2]),
    regions: {
      count: regions,
      globalRows: ints([regions, points, 4]),
      globalWeights: floats([regions, points, 4]),
      localRows: ints([regions, points, 4]),
      localWeights: floats([regions, points, 4]),
      points: floats([regions, points, 2]),
      anchors: blocks.map(block => ints([regions, block.points])),
      neighbors: blocks.map(block => ints([regions, block.points, block.neighbors])),
    },
    targetRows: ints([targets]),
    targets: ints([targets]),
    targetWeights: { data: new Float32Array(targets).fill(1), shape: [targets] },
  };
}

function contrastiveBatch(model: ModelConfig, samples: number, tiles: number): ContrastiveBatch {
  const { side } = model.image;
  const { globalCount, tileCount } = patchLayout(model);
  const length = model.pretraining?.text_encoder.max_position_embeddings ?? 1;
  const regions = bucketSize(samples * MOST_OBJECTS, 4, 1);
  const perImage = tiles / samples;
  return {
    kind: 'contrastive',
    size: samples,
    sampleIds: Array.from({ length: samples }, (_, i) => `planned ${i}`),
    globalPixels: floats([samples, 3, side, side]),
    localPixels: floats([tiles, 3, side, side]),
    tileImages: {
      data: Int32Array.from({ length: tiles }, (_, i) => Math.floor(i / perImage)),
      shape: [tiles],
    },
    captions: ints([samples, length]),
    phrases: ints([regions, length]),
    globalRows: ints([regions, globalCount]),
    globalWeights: floats([regions, globalCount]),
    localRows: ints([regions, perImage * tileCount]),
    localWeights: floats([regions, perImage * tileCount]),
    phraseClasses: { data: Int32Array.from({ length: regions }, (_, i) => i), shape: [regions] },
  };
}

function floats(shape: readonly number[]): Floats {
  return { data: new Float32Array(sizeOf(shape)), shape };
}

function ints(shape: readonly number[]): Ints {
  return { data: new Int32Array(sizeOf(shape)), shape };
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((n, length) => n * length, 1);
}
