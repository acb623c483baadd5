/** The order in which rows are drawn: by weight between sources, shuffled within each, and how far that has come. */
import { GroundError } from '../errors.ts';
import type { Candidates, Outcome, Source } from './candidates.ts';
import { drawIndex } from './mixture.ts';
import type { BadSample, PlannedRow } from './plan.ts';

/** Draws rows of sources one after the other, and notes those that are passed over. */
export class Draws {
  readonly #candidates: Candidates;
  /** Rows taken of each source, those passed over included. */
  readonly taken: number[];
  #skipped: string[] = [];
  #bad: BadSample[] = [];

  constructor(candidates: Candidates, taken: readonly number[]) {
    this.#candidates = candidates;
    this.taken = [...taken];
  }

  /**
   * Draw number `number` of the mixture called `name`: the next row that `make` makes something of, from the source that
   * the weights choose (0: never). Throws `data` where no row of that source serves.
   */
  async next<T>(
    name: string,
    number: number,
    weightOf: (source: Source) => number,
    make: (row: PlannedRow) => Promise<Outcome<T>>,
  ): Promise<T> {
    const { sources, stage } = this.#candidates;
    const source = drawIndex(sources.map(weightOf), number, stage.seed, name);
    const { rows } = sources[source]!;
    for (let attempt = 0; attempt < rows; attempt++) {
      const outcome = await make(this.#candidates.rowOf({ source, taken: this.taken[source]!++ }));
      if (outcome.kind === 'sample') return outcome.sample;
      this.note(outcome);
    }
    throw this.#noneServes(sources[source]!);
  }

  /** Writes down why a row is passed over. */
  note(outcome: Exclude<Outcome<unknown>, { kind: 'sample' }>): void {
    if (outcome.kind === 'long') this.#skipped.push(outcome.message);
    if (outcome.kind === 'bad') this.#bad.push(outcome.bad);
  }

  /** What was passed over since this was last asked. */
  passedOver(): { readonly skipped: readonly string[]; readonly bad: readonly BadSample[] } {
    const [skipped, bad] = [this.#skipped, this.#bad];
    this.#skipped = [];
    this.#bad = [];
    return { skipped, bad };
  }

  #noneServes({ rows, reader, task }: Source): GroundError {
    const last = this.#skipped.at(-1) ?? this.#bad.at(-1)?.message;
    const example = last === undefined ? '' : ` (the last one: ${last})`;
    return new GroundError(
      'data',
      `none of the ${rows} records of ${reader.dataset} can serve the task ${task}${example}`,
      {
        hint: 'choose another task or dataset for this source, or raise max_length or packing.length where samples are too long',
      },
    );
  }
}
