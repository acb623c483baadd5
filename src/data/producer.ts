/**
 * Steps of batches from records, in one thread: plans, finishes and adds up. The parts are there for whoever finishes in
 * other threads: `Planner` must run in one place and in order, a `Finisher` wherever its datasets are open, `Ledger`
 * where finished steps are put in order again. A step is a function of (options, position) and the data alone.
 */
import { type Candidates, openCandidates, type SourceOptions } from './candidates.ts';
import { Finisher } from './finisher.ts';
import { Ledger, type ProducedStep } from './ledger.ts';
import type { LoaderPosition } from './plan.ts';
import { Planner } from './planner.ts';
import type { RecordSource } from './rows.ts';

export type { LoaderStage } from './candidates.ts';
export type { ProducedStep, SourceCount } from './ledger.ts';
export type { LoaderPosition } from './plan.ts';

/** Everything a producer depends on; plain data, so that it can travel to a worker. */
export interface ProducerOptions extends SourceOptions {
  readonly position?: LoaderPosition;
}

/**
 * Opens all datasets. Throws `tokenizer` and `data` for files at fault, `config` where there is nothing to draw from.
 */
export async function openProducer(
  options: ProducerOptions,
  open: (dataset: string) => Promise<RecordSource>,
): Promise<Producer> {
  const candidates = await openCandidates(options, open);
  try {
    return new Producer(candidates, options.position);
  } catch (thrown) {
    await candidates.close();
    throw thrown;
  }
}

/** Yields one step after the other. Not reentrant: await each step before the next. */
export class Producer {
  readonly #candidates: Candidates;
  readonly #planner: Planner;
  readonly #finisher: Finisher;
  readonly #ledger: Ledger;

  /** Takes over `candidates`. Throws `config` where the position is one of other sources. */
  constructor(candidates: Candidates, position?: LoaderPosition) {
    this.#candidates = candidates;
    this.#planner = new Planner(candidates, position);
    this.#finisher = new Finisher(candidates);
    this.#ledger = new Ledger(candidates.stage, position);
  }

  async next(): Promise<ProducedStep> {
    const plan = await this.#planner.next();
    const finished = [];
    for (const batch of plan.batches) finished.push(await this.#finisher.finish(batch));
    return this.#ledger.settle(plan, finished);
  }

  close(): Promise<void> {
    return this.#candidates.close();
  }
}
