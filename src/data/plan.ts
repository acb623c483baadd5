/**
 * What travels between the two halves of the loader. Planning decides, cheaply and in order, which rows make which
 * batches; finishing decodes images and builds the arrays, each batch by itself and in any thread. All of it is plain data.
 */
import type { Batch } from '../models/batch.ts';
import type { Pairs } from './contrastive.ts';
import type { Conversation } from './conversation.ts';
import type { Rendered } from './render.ts';

/** Unpacked batches are of one kind each; packed rows take text and visual samples alike. */
export type Kind = 'text' | 'visual' | 'contrastive';

/** One draw: the `taken`-th row of a source, epochs counted through. It names row, order and choices. */
export interface Draw {
  /** Index in the recipe's `data`. */
  readonly source: number;
  readonly taken: number;
}

/** A row that was drawn to serve. */
export interface PlannedRow extends Draw {
  /** Row of the dataset. */
  readonly row: number;
  /** "shard:row#task". */
  readonly id: string;
  /** Names the choices made for it. */
  readonly seed: number;
}

/** A conversation in token ids, its image not yet decoded. */
export interface PlannedSample extends PlannedRow {
  readonly conversation: Conversation;
  readonly rendered: Rendered;
  /** Positions of its sequence, visual tokens included. */
  readonly length: number;
}

/** Texts for contrastive pretraining, the image not yet decoded. */
export interface PlannedPairs extends PlannedRow {
  readonly pairs: Pairs;
}

export type PlannedBatch =
  | {
      readonly kind: 'conversation';
      /** Samples of each row: one, or several side by side where `length` is set. */
      readonly rows: readonly (readonly PlannedSample[])[];
      /** Positions of a packed row; null where each sample has a row of its own. */
      readonly length: number | null;
    }
  | { readonly kind: 'contrastive'; readonly samples: readonly PlannedPairs[] };

/** One step, decided. */
export interface PlannedStep {
  readonly batches: readonly PlannedBatch[];
  /** Where planning goes on. */
  readonly position: PlanPosition;
  /** Samples that were passed over, and why: too long for the model. */
  readonly skipped: readonly string[];
  /** Rows found damaged while planning. */
  readonly bad: readonly BadSample[];
}

/** A batch as arrays, and what it took. */
export interface FinishedBatch {
  readonly batch: Batch;
  /** Samples in it of each source. */
  readonly served: readonly number[];
  /** Rows found damaged while finishing; others of their source took their places. */
  readonly bad: readonly BadSample[];
  /** Positions of the sequences, and how many are in use; 0 where there are none. */
  readonly positions: number;
  readonly used: number;
}

/** A row that cannot serve because it is damaged. */
export interface BadSample {
  /** Index in `data` of the first source with its dataset. */
  readonly dataset: number;
  readonly row: number;
  /** Dataset, shard, row and reason. */
  readonly message: string;
}

/** How far planning has come; small, plain JSON. */
export interface PlanPosition {
  /** Steps given. */
  readonly step: number;
  /** Conversation batches drawn, and samples drawn of each kind of batch. */
  readonly batches: number;
  readonly draws: Readonly<Record<Kind, number>>;
  /** Rows taken of each source, in the order of the recipe, refused ones included. */
  readonly taken: readonly number[];
  /** Samples drawn for packed rows, and those of them that wait for one. */
  readonly packer?: { readonly draws: number; readonly waiting: readonly DrawName[] };
  /** Batches of like length that are drawn and not given yet, by kind. */
  readonly buckets?: Readonly<Record<'text' | 'visual', readonly (readonly DrawName[])[]>>;
}

/** A `Draw` in few letters. */
export type DrawName = readonly [source: number, taken: number];

/** How far a loader has come: all that a checkpoint needs of it. */
export interface LoaderPosition extends PlanPosition {
  /** Samples that batches were made of, by source; absent in positions of before they were counted. */
  readonly served?: readonly number[];
  /** Damaged rows met so far, [dataset as in `BadSample`, row]. */
  readonly bad?: readonly (readonly [dataset: number, row: number])[];
}
