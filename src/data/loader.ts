/**
 * Batches for training, prepared ahead in worker threads. Deterministic by the stage's seed: a loader opened at a
 * position gives what the first one would have given next, at once and whatever the position and the number of threads.
 */
import { GroundError } from '../errors.ts';
import type { Batch } from '../models/batch.ts';
import { giveBuffers } from './buffers.ts';
import { buffersOf } from './collate.ts';
import { openDataset } from './dataset.ts';
import { COMPILED, openPool } from './pool.ts';
import { openProducer, type ProducedStep, type ProducerOptions } from './producer.ts';
import type { RecordSource } from './rows.ts';
import { verifySmallDataset } from './verify.ts';

export type { LoaderPosition, LoaderStage } from './producer.ts';

export interface LoaderOptions extends ProducerOptions {
  /** Worker threads (1 where compiled); 0: in process. The batches are the same to the bit. */
  readonly workers?: number;
  /** Steps prepared ahead; by default two a worker, and up to 16 where they are small: 64 MiB in all. */
  readonly prefetch?: number;
  /** Opens a dataset; in process only. `openDataset` where absent. */
  readonly open?: (dataset: string) => Promise<RecordSource>;
}

/** What one optimizer step consumes. */
export interface StepBatches extends ProducedStep {
  /** Time that `next` waited for it. */
  readonly waitSeconds: number;
  /** Steps that lay ready when it was asked for, itself included; 0 where it had to be waited for. */
  readonly queued: number;
}

export interface Loader {
  /**
   * The next step; one call at a time. Throws `data` naming dataset, shard and row where a record is damaged, after the
   * steps before it were given; then every call does.
   */
  next(): Promise<StepBatches>;
  /**
   * Lets the loader use the memory of a step's batches again, which nothing may read from then on (their arrays are empty).
   * Without it they are garbage once the step is forgotten: right as well, but slower where batches are large.
   */
  recycle(batches: readonly Batch[]): void;
  /** Ends the threads, whatever they are at; a `next` that is waiting throws. */
  close(): Promise<void>;
}

/**
 * Opens the datasets of a stage; small ones are verified whole first. Throws `data`, `config` or `tokenizer` where something is
 * at fault, before a step.
 */
export async function openLoader(options: LoaderOptions): Promise<Loader> {
  const { workers = COMPILED ? 1 : 0, prefetch, open, ...producing } = options;
  if (!open) {
    for (const dataset of new Set(options.stage.data.map(source => source.dataset))) {
      await verifySmallDataset(dataset);
    }
  }
  if (workers === 0) return inProcess(producing, open ?? openDataset);
  if (open)
    throw new GroundError('usage', 'a worker opens datasets itself', { hint: 'use workers: 0 with `open`' });
  return openPool(producing, workers, prefetch);
}

async function inProcess(
  options: ProducerOptions,
  open: (dataset: string) => Promise<RecordSource>,
): Promise<Loader> {
  const producer = await openProducer(options, open);
  let failure: unknown = null;
  return {
    async next() {
      if (failure !== null) throw failure;
      const begun = performance.now();
      try {
        const step = await producer.next();
        return { ...step, waitSeconds: (performance.now() - begun) / 1000, queued: 0 };
      } catch (thrown) {
        failure = thrown;
        throw thrown;
      }
    },
    recycle(batches) {
      const buffers = buffersOf(batches);
      giveBuffers(structuredClone(buffers, { transfer: buffers }));
    },
    close: () => producer.close(),
  };
}
