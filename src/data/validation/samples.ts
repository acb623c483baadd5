/** What the records of a dataset become when they are trained on: how much of it is trained, and how long it is. */
import { messageOf } from '../../errors.ts';
import type { Candidates } from '../candidates.ts';
import type { Dataset } from '../dataset.ts';
import type { Annotations } from '../record.ts';
import { trainedTokens } from '../render.ts';
import { openTasks, type Rendering } from '../rendering.ts';
import { renderFitting, renderOf, sequenceLength } from '../sample.ts';
import { type Spread, Tally } from '../tally.ts';
import type { TaskName } from '../tasks/names.ts';
import type { Finding } from './problem.ts';

export interface TaskReport {
  readonly task: TaskName;
  /** Records that can serve, and those of them that are too long. */
  readonly records: number;
  readonly refused: number;
  /** Positions of all their sequences, those of visual tokens included, and how many of them are trained on. */
  readonly positions: number;
  readonly trained: number;
  /** Trained over all positions; 0 where there are none. */
  readonly trainedShare: number;
  /** Lengths of sequences, those refused included. */
  readonly length: Spread;
  /** How many sequences are shorter than each of `LENGTH_EDGES`, and not than the one before; the last of all others. */
  readonly lengths: readonly number[];
}

/** Bounds of the histogram of lengths. */
export const LENGTH_EDGES = [64, 128, 256, 512, 1024, 2048, 4096, 8192];

interface Counts {
  readonly lengths: Tally;
  records: number;
  refused: number;
  positions: number;
  trained: number;
}

/** Renders records with every task, as the first epoch of a run does, and adds up. */
export class SampleStatistics {
  readonly #candidates: Candidates;
  readonly #counts: readonly Counts[];

  /** Throws as `openTasks`. */
  static async open(dataset: Dataset, rendering: Rendering): Promise<SampleStatistics> {
    const tasks = new Set(rendering.stage.data.map(source => source.task));
    tasks.delete('contrastive');
    return new SampleStatistics(await openTasks(dataset, rendering, [...tasks]));
  }

  private constructor(candidates: Candidates) {
    this.#candidates = candidates;
    this.#counts = candidates.sources.map(() => ({
      lengths: new Tally(),
      records: 0,
      refused: 0,
      positions: 0,
      trained: 0,
    }));
  }

  /** What is wrong with the samples that a sound record makes. */
  add(record: Annotations, row: number): Finding[] {
    return this.#candidates.sources.flatMap((_, i) => {
      try {
        return this.#addSample(record, row, i);
      } catch (thrown) {
        const { task } = this.#candidates.sources[i]!;
        const said = messageOf(thrown).replace(`${record.id}: `, '');
        return [{ kind: 'sample' as const, problem: `task ${task}: ${said}` }];
      }
    });
  }

  reports(): TaskReport[] {
    return this.#counts.map(({ lengths, records, refused, positions, trained }, i) => ({
      task: this.#candidates.sources[i]!.task,
      records,
      refused,
      positions,
      trained,
      trainedShare: positions === 0 ? 0 : trained / positions,
      length: lengths.spread(),
      lengths: lengths.histogram(LENGTH_EDGES),
    }));
  }

  #addSample(record: Annotations, row: number, source: number): Finding[] {
    const { context, sources } = this.#candidates;
    const counts = this.#counts[source]!;
    const { task } = sources[source]!;
    const conversation = this.#candidates.ask(record, this.#candidates.firstDrawOf(source, row));
    if (!conversation) return [];
    counts.records++;
    const fitted = renderFitting(conversation, record, context);
    const rendered =
      typeof fitted === 'string' ? renderOf(conversation, record, context, false) : fitted.rendered;
    const { text, visual } = sequenceLength(rendered, record, context);
    counts.lengths.add(text + visual);
    if (typeof fitted === 'string') {
      counts.refused++;
      return [{ kind: 'length', problem: `task ${task}: ${fitted}` }];
    }
    const trained = trainedTokens(rendered);
    counts.positions += text + visual;
    counts.trained += trained;
    return trained > 0 ? [] : [{ kind: 'untrained', problem: `task ${task}: no token of it is trained on` }];
  }
}
