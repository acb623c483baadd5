/** Which rows make the batches of each step: draws sources and rows in order, and remembers how far it has come. */
import { GroundError } from '../errors.ts';
import type { Candidates, Outcome, Source } from './candidates.ts';
import { drawIndex } from './mixture.ts';
import type { BadSample, Kind, PlannedBatch, PlannedRow, PlannedStep, PlanPosition } from './plan.ts';

/** Plans one step after the other. Not reentrant: await each step before the next. */
export class Planner {
  readonly #candidates: Candidates;
  #step: number;
  #batches: number;
  readonly #draws: Record<Kind, number>;
  readonly #taken: number[];
  #skipped: string[] = [];
  #bad: BadSample[] = [];

  /** Throws `config` where `position` is one of other sources. */
  constructor(candidates: Candidates, position?: PlanPosition) {
    const { sources } = candidates;
    if (position && position.taken.length !== sources.length) {
      throw new GroundError(
        'config',
        `the run was at a position of ${position.taken.length} data sources, the recipe has ${sources.length}`,
        { hint: 'continue with the recipe the run was started with, or start a new run' },
      );
    }
    this.#candidates = candidates;
    this.#step = position?.step ?? 0;
    this.#batches = position?.batches ?? 0;
    this.#draws = { text: 0, visual: 0, contrastive: 0, ...position?.draws };
    this.#taken = position ? [...position.taken] : sources.map(() => 0);
  }

  /** `accumulate` conversation batches where any source makes conversations, and one contrastive batch where any does. */
  async next(): Promise<PlannedStep> {
    const { accumulate } = this.#candidates.stage.batch;
    const { sources } = this.#candidates;
    const batches: PlannedBatch[] = [];
    this.#skipped = [];
    this.#bad = [];
    if (sources.some(source => source.kind !== 'contrastive')) {
      for (let i = 0; i < accumulate; i++) batches.push(await this.#conversations());
    }
    if (sources.some(source => source.kind === 'contrastive')) batches.push(await this.#contrastive());
    this.#step++;
    const position: PlanPosition = {
      step: this.#step,
      batches: this.#batches,
      draws: { ...this.#draws },
      taken: [...this.#taken],
    };
    return { batches, position, skipped: this.#skipped, bad: this.#bad };
  }

  async #conversations(): Promise<PlannedBatch> {
    const { stage, context } = this.#candidates;
    const kinds = ['text', 'visual'] as const;
    const weights = kinds.map(kind => this.#weights(kind).reduce((sum, weight) => sum + weight, 0));
    const kind = kinds[drawIndex(weights, this.#batches++, stage.seed, 'kind')] ?? 'visual';
    const rows = await this.#drawMany(kind, stage.batch.samples, async row => {
      const outcome = await this.#candidates.conversation(row, context.model.max_length);
      return outcome.kind === 'sample' ? { kind: 'sample', sample: [outcome.sample] } : outcome;
    });
    return { kind: 'conversation', rows, length: null };
  }

  async #contrastive(): Promise<PlannedBatch> {
    const { samples: size, contrastive = size } = this.#candidates.stage.batch;
    const samples = await this.#drawMany('contrastive', contrastive, row => this.#candidates.pairs(row));
    return { kind: 'contrastive', samples };
  }

  async #drawMany<T>(
    kind: Kind,
    count: number,
    make: (row: PlannedRow) => Promise<Outcome<T>>,
  ): Promise<T[]> {
    const drawn: T[] = [];
    for (let i = 0; i < count; i++) drawn.push(await this.#draw(kind, make));
    return drawn;
  }

  #weights(kind: Kind): number[] {
    return this.#candidates.sources.map(source => (source.kind === kind ? source.weight : 0));
  }

  /** The next row of the kind that `make` makes something of. */
  async #draw<T>(kind: Kind, make: (row: PlannedRow) => Promise<Outcome<T>>): Promise<T> {
    const { seed } = this.#candidates.stage;
    const chosen = drawIndex(this.#weights(kind), this.#draws[kind]++, seed, kind);
    const source = this.#candidates.sources[chosen]!;
    for (let attempt = 0; attempt < source.rows; attempt++) {
      const draw = { source: chosen, taken: this.#taken[chosen]!++ };
      const outcome = await make(this.#candidates.rowOf(draw));
      if (outcome.kind === 'sample') return outcome.sample;
      if (outcome.kind === 'long') this.#skipped.push(outcome.message);
      if (outcome.kind === 'bad') this.#bad.push(outcome.bad);
    }
    throw this.#noneServes(source);
  }

  #noneServes({ rows, reader, task }: Source): GroundError {
    const last = this.#skipped.at(-1) ?? this.#bad.at(-1)?.message;
    const example = last === undefined ? '' : ` (the last one: ${last})`;
    return new GroundError(
      'data',
      `none of the ${rows} records of ${reader.dataset} can serve the task ${task}${example}`,
      {
        hint: 'choose another task or dataset for this source, or raise max_length where samples are too long',
      },
    );
  }
}
