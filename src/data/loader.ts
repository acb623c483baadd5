/**
 * Batches for training, prepared ahead in a worker thread. Deterministic by the stage's seed: a loader opened at a
 * position gives what the first one would have given next, at once and whatever the position.
 */
import { Worker } from 'node:worker_threads';
import { type ErrorCode, GroundError, messageOf } from '../errors.ts';
import { openDataset } from './dataset.ts';
import { openProducer, type ProducedStep, type ProducerOptions } from './producer.ts';
import type { RecordSource } from './rows.ts';

export type { LoaderPosition, LoaderStage } from './producer.ts';

export interface LoaderOptions extends ProducerOptions {
  /** 1: a worker thread (default where compiled); 0: in process. The batches are the same to the bit. */
  readonly workers?: 0 | 1;
  /** Steps a worker prepares ahead (2). */
  readonly prefetch?: number;
  /** Opens a dataset; in process only. `openDataset` where absent. */
  readonly open?: (dataset: string) => Promise<RecordSource>;
}

/** What one optimizer step consumes. */
export interface StepBatches extends ProducedStep {
  /** Time that `next` waited for it. */
  readonly waitSeconds: number;
}

export interface Loader {
  /** The next step. Throws `data` naming dataset, shard and row where a record is damaged; then every call does. */
  next(): Promise<StepBatches>;
  close(): Promise<void>;
}

/** What the worker sends. */
export type WorkerMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'step'; readonly step: ProducedStep }
  | { readonly kind: 'error'; readonly code: ErrorCode; readonly message: string; readonly hint?: string };

/** TypeScript source cannot be a worker's file without a loader: development runs stay in process. */
const COMPILED = !import.meta.url.endsWith('.ts');

/** Opens the datasets of a stage. Throws `data`, `config` or `tokenizer` where something is at fault, before a step. */
export async function openLoader(options: LoaderOptions): Promise<Loader> {
  const { workers = COMPILED ? 1 : 0, prefetch = 2, open, ...producing } = options;
  if (workers === 0) return inProcess(producing, open ?? openDataset);
  if (open)
    throw new GroundError('usage', 'a worker opens datasets itself', { hint: 'use workers: 0 with `open`' });
  return inWorker(producing, Math.max(prefetch, 1));
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
        return { ...step, waitSeconds: (performance.now() - begun) / 1000 };
      } catch (thrown) {
        failure = thrown;
        throw thrown;
      }
    },
    close: () => producer.close(),
  };
}

async function inWorker(options: ProducerOptions, prefetch: number): Promise<Loader> {
  const file = new URL(COMPILED ? './worker.js' : './worker.ts', import.meta.url);
  const worker = new Worker(file, { workerData: options });
  const ready: ProducedStep[] = [];
  let failure: Error | null = null;
  let wake: () => void = () => {};
  let opened = false;
  const fail = (error: Error): void => {
    failure ??= error;
    wake();
    // What it prepared before is here already; nothing more will come.
    void worker.terminate();
  };
  worker.on('message', (message: WorkerMessage) => {
    if (message.kind === 'error') {
      const { code, hint } = message;
      fail(new GroundError(code, message.message, hint === undefined ? {} : { hint }));
    } else {
      if (message.kind === 'step') ready.push(message.step);
      else opened = true;
      wake();
    }
  });
  worker.on('error', thrown =>
    fail(new GroundError('data', `data worker: ${messageOf(thrown)}`, { cause: thrown })),
  );
  worker.on('exit', code => fail(new GroundError('data', `the data worker stopped (exit code ${code})`)));
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) {
      if (failure) throw failure;
      await new Promise<void>(resolve => {
        wake = resolve;
      });
    }
  };
  await until(() => opened);
  for (let i = 0; i < prefetch; i++) worker.postMessage('next');
  return {
    async next() {
      const begun = performance.now();
      await until(() => ready.length > 0);
      worker.postMessage('next');
      return { ...ready.shift()!, waitSeconds: (performance.now() - begun) / 1000 };
    },
    async close() {
      await worker.terminate();
    },
  };
}
