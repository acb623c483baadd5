/**
 * The loader's worker threads as the training thread sees them. The first worker plans and hands the plans round; each
 * finishes its share and sends it here, where steps are put in order again. A training step blocks this thread, so plans
 * do not come through it, and a fixed number of steps is under way at any time: one more is asked for when one is taken.
 */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { type ErrorCode, GroundError, messageOf } from '../errors.ts';
import type { Batch } from '../models/batch.ts';
import { buffersOf } from './collate.ts';
import { Ledger } from './ledger.ts';
import type { Loader, StepBatches } from './loader.ts';
import type { FinishedBatch, PlannedStep } from './plan.ts';
import type { ProducerOptions } from './producer.ts';

/** TypeScript source cannot be a worker's file without a loader: development runs stay in process. */
export const COMPILED = !import.meta.url.endsWith('.ts');

/** What a worker is started with. */
export interface WorkerOptions {
  readonly producing: ProducerOptions;
  /** Threads that share the work, this one included. */
  readonly workers: number;
  /** Of the worker that plans: to each of the others. */
  readonly others: readonly MessagePort[];
  /** Of each of the others: where its plans come from. */
  readonly plans: MessagePort | null;
}

/** A plan on its way to the worker that finishes it. `index` counts the steps of this loader. */
export interface PlanMessage {
  readonly index: number;
  readonly plan: PlannedStep;
}

/** What a worker is sent: that one more step is wanted (the one that plans), or memory to use again. */
export type WorkerRequest = 'next' | readonly ArrayBuffer[];

/** What a worker sends. An error without `index` is of no step: the worker could not begin. */
export type WorkerMessage =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'step';
      readonly index: number;
      readonly plan: PlannedStep;
      readonly finished: readonly FinishedBatch[];
    }
  | {
      readonly kind: 'error';
      readonly index?: number;
      readonly code: ErrorCode;
      readonly message: string;
      readonly hint?: string;
    };

type Arrived = Extract<WorkerMessage, { kind: 'step' }> | GroundError;

/** Steps under way where nothing else is said: two a worker, more where they are small. */
const STEPS_A_WORKER = 2;
const MOST_STEPS = 16;
const AHEAD_BYTES = 64 * 2 ** 20;

/** Starts `workers` threads that keep `prefetch` steps under way. Throws what opening the datasets throws. */
export async function openPool(
  producing: ProducerOptions,
  workers: number,
  prefetch?: number,
): Promise<Loader> {
  const least = Math.max(prefetch ?? workers * STEPS_A_WORKER, 1);
  const pool = new Pool(producing, workers, prefetch === undefined ? MOST_STEPS - least : 0);
  try {
    await pool.opened();
  } catch (thrown) {
    await pool.close();
    throw thrown;
  }
  pool.ask(least);
  return pool;
}

class Pool implements Loader {
  readonly #workers: readonly Worker[];
  readonly #ledger: Ledger;
  /** Steps and errors of steps, by index. */
  readonly #arrived = new Map<number, Arrived>();
  #ready = 0;
  /** Steps that may be asked for beyond the first ones, once the size of a step is known. */
  #spare: number;
  #next = 0;
  #recycled = 0;
  /** What ended the pool. */
  #failure: Error | null = null;
  #wake: () => void = () => {};

  constructor(producing: ProducerOptions, workers: number, spare: number) {
    this.#spare = spare;
    this.#ledger = new Ledger(producing.stage, producing.position);
    const file = new URL(COMPILED ? './worker.js' : './worker.ts', import.meta.url);
    const channels = Array.from({ length: workers - 1 }, () => new MessageChannel());
    const start = (others: readonly MessagePort[], plans: MessagePort | null): Worker => {
      const workerData: WorkerOptions = { producing, workers, others, plans };
      return new Worker(file, { workerData, transferList: [...others, ...(plans ? [plans] : [])] });
    };
    this.#workers = [
      start(
        channels.map(channel => channel.port1),
        null,
      ),
      ...channels.map(channel => start([], channel.port2)),
    ];
    for (const worker of this.#workers) this.#listen(worker);
  }

  /** Asks for `count` steps more. */
  ask(count: number): void {
    const request: WorkerRequest = 'next';
    for (let i = 0; i < count; i++) this.#workers[0]?.postMessage(request);
  }

  async opened(): Promise<void> {
    await this.#until(() => this.#ready === this.#workers.length);
  }

  async next(): Promise<StepBatches> {
    const begun = performance.now();
    const queued = this.#queued();
    await this.#until(() => this.#arrived.has(this.#next));
    const step = this.#arrived.get(this.#next);
    try {
      if (step === undefined || step instanceof Error) throw step;
      const settled = this.#ledger.settle(step.plan, step.finished);
      this.#arrived.delete(this.#next);
      this.#next++;
      this.ask(1);
      return { ...settled, waitSeconds: (performance.now() - begun) / 1000, queued };
    } catch (thrown) {
      this.#arrived.clear();
      this.#fail(thrown instanceof Error ? thrown : new Error(messageOf(thrown)));
      throw thrown;
    }
  }

  recycle(batches: readonly Batch[]): void {
    const request: WorkerRequest = buffersOf(batches);
    // Any of them has use for it; taking turns as steps do, each gets back about what it gave.
    this.#workers[this.#recycled++ % this.#workers.length]?.postMessage(request, request);
  }

  async close(): Promise<void> {
    this.#fail(new GroundError('data', 'the loader is closed'));
    await Promise.all(this.#workers.map(worker => worker.terminate()));
  }

  /** The size of the first step says how many there is room for. */
  #askMore(finished: readonly FinishedBatch[]): void {
    if (this.#spare <= 0) return;
    const buffers = buffersOf(finished.map(({ batch }) => batch));
    const bytes = buffers.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const room = Math.floor(AHEAD_BYTES / Math.max(bytes, 1)) - (MOST_STEPS - this.#spare);
    this.ask(Math.max(Math.min(this.#spare, room), 0));
    this.#spare = 0;
  }

  #queued(): number {
    let index = this.#next;
    while (this.#arrived.has(index)) index++;
    return index - this.#next;
  }

  #listen(worker: Worker): void {
    worker.on('message', (message: WorkerMessage) => {
      if (message.kind === 'ready') this.#ready++;
      else if (message.kind === 'step') {
        this.#arrived.set(message.index, message);
        this.#askMore(message.finished);
      } else {
        const { index, code, hint } = message;
        const error = new GroundError(code, message.message, hint === undefined ? {} : { hint });
        if (index === undefined) this.#fail(error);
        else this.#arrived.set(index, error);
      }
      this.#wake();
    });
    worker.on('messageerror', thrown => this.#fail(lost(thrown)));
    worker.on('error', thrown => this.#fail(lost(thrown)));
    worker.on('exit', code =>
      this.#fail(new GroundError('data', `a data worker stopped (exit code ${code})`, { hint: AGAIN })),
    );
  }

  /** What has arrived before is still given; nothing more will come. */
  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#wake();
    for (const worker of this.#workers) void worker.terminate();
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#failure) throw this.#failure;
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
  }
}

const AGAIN = 'start the same command again: it goes on from the last checkpoint';

/** A thread that ended by itself: out of memory, or by a mistake of ours. */
function lost(thrown: unknown): GroundError {
  const outOfMemory =
    thrown instanceof Error && 'code' in thrown && thrown.code === 'ERR_WORKER_OUT_OF_MEMORY';
  if (!outOfMemory) return new GroundError('data', `data worker: ${messageOf(thrown)}`, { cause: thrown });
  return new GroundError('data', 'a data worker ran out of memory', {
    hint: `fewer --workers, samples a batch or objects a record need less; then ${AGAIN}`,
    cause: thrown,
  });
}
