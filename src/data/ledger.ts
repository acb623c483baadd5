/** What is known only once batches are finished: samples served, damaged rows, padding. Kept in the order of the steps. */
import { GroundError } from '../errors.ts';
import type { Batch } from '../models/batch.ts';
import type { LoaderStage } from './candidates.ts';
import type { BadSample, FinishedBatch, LoaderPosition, PlannedStep } from './plan.ts';
import type { TaskName } from './tasks/names.ts';

/** Samples that one source has given so far. */
export interface SourceCount {
  /** "dataset:task" in as few words as tell the sources apart. */
  readonly name: string;
  readonly dataset: string;
  readonly task: TaskName;
  readonly count: number;
}

/** A step, ready to be trained on. */
export interface ProducedStep {
  readonly batches: readonly Batch[];
  /** Where the next step begins. */
  readonly position: LoaderPosition;
  /** Samples that were passed over, and why: too long for the model, or damaged. */
  readonly skipped: readonly string[];
  /** What the mixture has come to since the stage began, by source. */
  readonly served: readonly SourceCount[];
  /** Share of the sequences' positions that hold nothing, 0..1; 0 where the step has no sequences. */
  readonly padding: number;
}

const DEFAULT_LIMIT = 100;

/** Adds up finished steps. Steps must come in the order of their plans. */
export class Ledger {
  readonly #stage: LoaderStage;
  readonly #served: number[];
  readonly #bad: (readonly [dataset: number, row: number])[];
  readonly #known: Set<string>;
  readonly #names: readonly string[];

  constructor(stage: LoaderStage, position?: LoaderPosition) {
    this.#stage = stage;
    this.#names = sourceNames(stage.data);
    // Positions from before samples were counted know the rows taken: the same, but for those passed over.
    this.#served = [...(position?.served ?? position?.taken ?? stage.data.map(() => 0))];
    this.#bad = [...(position?.bad ?? [])];
    this.#known = new Set(this.#bad.map(([dataset, row]) => `${dataset} ${row}`));
  }

  /** The next step. Throws `data` where it brings the damaged rows over the stage's limit. */
  settle(plan: PlannedStep, finished: readonly FinishedBatch[]): ProducedStep {
    const bad = [...plan.bad, ...finished.flatMap(batch => batch.bad)];
    const skipped = [...plan.skipped, ...bad.map(sample => this.#count(sample))];
    for (const { served } of finished) {
      for (const [i, count] of served.entries()) this.#served[i]! += count;
    }
    const positions = finished.reduce((sum, batch) => sum + batch.positions, 0);
    const used = finished.reduce((sum, batch) => sum + batch.used, 0);
    return {
      batches: finished.map(({ batch }) => batch),
      position: {
        ...plan.position,
        served: [...this.#served],
        ...(this.#bad.length > 0 ? { bad: [...this.#bad] } : {}),
      },
      skipped,
      served: this.#stage.data.map(({ dataset, task }, i) => ({
        name: this.#names[i]!,
        dataset,
        task,
        count: this.#served[i]!,
      })),
      padding: positions === 0 ? 0 : 1 - used / positions,
    };
  }

  /** Counts a damaged row, once however often it is met. */
  #count({ dataset, row, message }: BadSample): string {
    const limit = this.#stage.bad_sample_limit ?? DEFAULT_LIMIT;
    const key = `${dataset} ${row}`;
    if (!this.#known.has(key)) {
      this.#known.add(key);
      this.#bad.push([dataset, row]);
    }
    if (this.#bad.length > limit) {
      throw new GroundError(
        'data',
        `${this.#bad.length} damaged samples, more than bad_sample_limit ${limit}; the last: ${message}`,
        { hint: '`ground data validate` lists what is damaged; mend the dataset or raise bad_sample_limit' },
      );
    }
    return `bad sample skipped: ${message} (${this.#bad.length} of at most ${limit})`;
  }
}

/**
 * A name for each source: the last part of its dataset's path and its task; more parts where two datasets would have one
 * name, a number where a source is listed again.
 */
export function sourceNames(data: LoaderStage['data']): string[] {
  const paths = data.map(({ dataset }) => dataset.split(/[\\/]+/).filter(part => part !== ''));
  const longest = Math.max(...paths.map(parts => parts.length));
  const shortened = (parts: number): string[] => paths.map(path => path.slice(-parts).join('/'));
  const datasets = new Set(shortened(longest)).size;
  let parts = 1;
  while (parts < longest && new Set(shortened(parts)).size < datasets) parts++;
  const names = shortened(parts).map((dataset, i) => `${dataset}:${data[i]!.task}`);
  return names.map((name, i) => {
    const before = names.slice(0, i).filter(other => other === name).length;
    return before === 0 ? name : `${name}#${before + 1}`;
  });
}
