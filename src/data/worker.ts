/**
 * One of the loader's worker threads. The first plans a step for each request and gives the plans to all in turn; each
 * finishes its own, and hands the arrays over uncopied.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import sharp from 'sharp';
import { GroundError, messageOf } from '../errors.ts';
import { giveBuffers } from './buffers.ts';
import { type Candidates, DEFAULT_CACHE_BYTES, openCandidates } from './candidates.ts';
import { buffersOf } from './collate.ts';
import { openDataset } from './dataset.ts';
import { Finisher } from './finisher.ts';
import type { FinishedBatch, PlannedStep } from './plan.ts';
import { Planner } from './planner.ts';
import type { PlanMessage, WorkerMessage, WorkerOptions, WorkerRequest } from './pool.ts';

const port: MessagePort =
  parentPort ??
  (() => {
    throw new Error('worker.ts runs as a worker thread only');
  })();

// The training step needs the cores: one thread an image, and no cache that our own makes useless.
sharp.concurrency(1);
sharp.cache(false);

const send = (message: WorkerMessage, transfer: ArrayBuffer[] = []): void =>
  port.postMessage(message, transfer);

function report(thrown: unknown, index?: number): void {
  const known = thrown instanceof GroundError ? thrown : null;
  send({
    kind: 'error',
    code: known?.code ?? 'data',
    message: messageOf(thrown),
    ...(index === undefined ? {} : { index }),
    ...(known?.hint === undefined ? {} : { hint: known.hint }),
  });
}

async function finish(finisher: Finisher, { index, plan }: PlanMessage): Promise<void> {
  try {
    const finished: FinishedBatch[] = [];
    for (const batch of plan.batches) finished.push(await finisher.finish(batch));
    // The arrays say it all: the planned samples stay here.
    const rest: PlannedStep = { ...plan, batches: [] };
    send({ kind: 'step', index, plan: rest, finished }, buffersOf(finished.map(({ batch }) => batch)));
  } catch (thrown) {
    report(thrown, index);
  }
}

/** Plans in order, one step after the other; after a failure there is no next step. */
function plannerOf(candidates: Candidates, finisher: Finisher, options: WorkerOptions): () => void {
  const planner = new Planner(candidates, options.producing.position);
  let index = 0;
  let failed = false;
  const planNext = async (): Promise<void> => {
    if (failed) return;
    const message: PlanMessage = { index: index++, plan: await planner.next() };
    const other = options.others[(message.index % options.workers) - 1];
    if (other) other.postMessage(message);
    else void finish(finisher, message);
  };
  let last: Promise<void> = Promise.resolve();
  return () => {
    last = last.then(planNext).catch(thrown => {
      failed = true;
      report(thrown, index - 1);
    });
  };
}

const options: WorkerOptions = workerData;
try {
  const { cacheBytes = DEFAULT_CACHE_BYTES, ...sources } = options.producing;
  const share = { ...sources, cacheBytes: cacheBytes / options.workers };
  const candidates = await openCandidates(share, openDataset);
  const finisher = new Finisher(candidates);
  options.plans?.on('message', (message: PlanMessage) => void finish(finisher, message));
  const plan = plannerOf(candidates, finisher, options);
  port.on('message', (request: WorkerRequest) => {
    if (request === 'next') plan();
    else giveBuffers(request);
  });
  send({ kind: 'ready' });
} catch (thrown) {
  report(thrown);
}
