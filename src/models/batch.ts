/**
 * What travels from the loader to the model: typed arrays with their shapes, nothing that needs a decision any more.
 * Which point is nearest to which, which tile lies where, which row of which table stands at which position of the
 * sequence: all of it is index arrays here, so that a step has no data-dependent control flow.
 */

/** Row-major numbers and their shape. */
export interface Floats {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}
export interface Ints {
  readonly data: Int32Array;
  readonly shape: readonly number[];
}

/**
 * The geometry of R regions on the merged referring maps (R 0 where the batch has none; the last ones may be padding:
 * weights 0, read by no position). M points a region, blocks of sizes (n_b, k_b). Map rows are rows of the flattened
 * encoder outputs of the whole batch: global rows [I·Pg], local rows [N·Pl] (tile after tile, patches row-major), plus
 * one last row of zeros that stands for "no tile".
 */
export interface RegionGeometry {
  readonly count: number;
  /** Rows of the global map that surround each point [R, M, 4], and their bilinear weights [R, M, 4]. */
  readonly globalRows: Ints;
  readonly globalWeights: Floats;
  /** The same of the merged local map. */
  readonly localRows: Ints;
  readonly localWeights: Floats;
  /** Positions of the points, x and y in 0..1 [R, M, 2]. */
  readonly points: Floats;
  /** Per block: which points of the previous pool are kept (farthest point sampling) [R, n_b]. */
  readonly anchors: readonly Ints[];
  /** Per block: the nearest points of the previous pool to each anchor [R, n_b, k_b]. */
  readonly neighbors: readonly Ints[];
}

/**
 * What keeps samples apart that share a row: a position attends to earlier ones of its own segment only, and counts from
 * the first of them.
 */
export interface PackedRows {
  /** For each position the number of its sample in the row, from 1; 0 where the position is not in use [B, T]. */
  readonly segments: Ints;
  /** For each position its place in its own sample, from 0; 0 where it is not in use [B, T]. */
  readonly positions: Ints;
}

/**
 * Images, regions and conversations ready for the model. B rows of T positions, I images, N tiles and R regions in all. A
 * row holds one sample, or several where `packed` is set. T, I, N, R and the number of targets are rounded up to a few
 * sizes, so that few distinct shapes occur: images and tiles that pad are 0 and read by nothing, regions that pad have
 * weights 0, targets that pad weigh 0.
 */
export interface ConversationBatch {
  readonly kind: 'conversation';
  /** Rows. */
  readonly size: number;
  readonly length: number;
  /** Where each sample came from ("shard:row#task"), in the order of the rows. */
  readonly sampleIds: readonly string[];
  /** Text token ids [B, T]; 0 where the position holds no text. */
  readonly tokens: Ints;
  /** 1 where a position is in use [B, T] (right padding). */
  readonly mask: Ints;
  /**
   * For each position [B·T] the row of the table [text B·T | global I·Pg | local N·Pl | regions R | one zero row].
   * A text position reads its own text row; no row is read twice; padding reads the zero row.
   */
  readonly source: Ints;
  /** For each row of that table (the zero row too) the position that reads it, or B·T where none does. */
  readonly sourceInverse: Ints;
  /** Global views, normalised, [I, 3, S, S]; I 0 for text alone. With `features`, of images whose features are missing. */
  readonly globalPixels: Floats;
  /** Tiles of all samples, normalised, [N, 3, S, S]; N 0 where only the global view is used. */
  readonly localPixels: Floats;
  /** Where each local patch lies in the merged map of its image, x and y in 0..1 [N·Pl, 2]. */
  readonly localCentres: Floats;
  readonly regions: RegionGeometry;
  /** Supervised positions: row p of [B·T] predicts token `targets[i]` with weight `targetWeights[i]` (0: padding). */
  readonly targetRows: Ints;
  readonly targets: Ints;
  readonly targetWeights: Floats;
  /** Absent where each row holds one sample. */
  readonly packed?: PackedRows;
  /** Absent where no features are kept. */
  readonly features?: BatchFeatures;
}

/**
 * What frozen encoders make of a batch, so far as it is known. An encoder that has a table here need not run, but for what is
 * missing: the pixels of the batch are those of the missing views, one after the other, and some that pad.
 */
export interface BatchFeatures {
  /** Null where they are not kept, or the batch has no such views. */
  readonly global: FeatureTable | null;
  readonly local: FeatureTable | null;
  /** Entries that could not be used, and why. */
  readonly damaged: readonly string[];
}

/** The rows that an encoder would give for all views of a batch, 0 where they are missing. */
export interface FeatureTable {
  readonly rows: Floats;
  /** In the order of the views. */
  readonly missing: readonly MissingFeatures[];
  /** Images that are not missing. */
  readonly hits: number;
}

/** One image whose features are to be made: the key to keep them by, its first view in the batch, and how many it has. */
export interface MissingFeatures {
  readonly key: string;
  readonly view: number;
  readonly views: number;
}

/**
 * Image-text and region-text pairs for contrastive pretraining: B images and as many captions, R object regions and
 * as many phrases. R is rounded up; regions that pad have weights 0 and class -1.
 */
export interface ContrastiveBatch {
  readonly kind: 'contrastive';
  readonly size: number;
  readonly sampleIds: readonly string[];
  readonly globalPixels: Floats;
  readonly localPixels: Floats;
  /** Which image of the batch each tile belongs to [N], 0..B-1; -1: a tile that pads. */
  readonly tileImages: Ints;
  /** Captions [B, L] and phrases [R, L], padded with the end token. */
  readonly captions: Ints;
  readonly phrases: Ints;
  /**
   * Average-pooling weights of each region over the batch's patches, as (row, weight) lists [R, K]; K of its own for
   * global [B·Pg] and local rows [N·Pl], each table followed by one zero row, which padding reads.
   */
  readonly globalRows: Ints;
  readonly globalWeights: Floats;
  readonly localRows: Ints;
  readonly localWeights: Floats;
  /** Phrases that are equal share a class, 0 and up [R]: they are no negatives of each other. -1: padding. */
  readonly phraseClasses: Ints;
}

export type Batch = ConversationBatch | ContrastiveBatch;
