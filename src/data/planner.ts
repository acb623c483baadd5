/** Which rows make the batches of each step: draws in order, groups samples into batches, and knows how far it has come. */
import { GroundError } from '../errors.ts';
import { Random } from '../random.ts';
import type { Candidates, Outcome, Source } from './candidates.ts';
import { Draws } from './draws.ts';
import { drawIndex, isDuring } from './mixture.ts';
import { Packer } from './packer.ts';
import type { Kind, PlannedBatch, PlannedRow, PlannedSample, PlannedStep, PlanPosition } from './plan.ts';

/** Samples that may wait for a row with room, where the recipe does not say. */
const PACKING_WINDOW = 32;
/** Batches whose samples are sorted by length together, where the recipe does not say. */
const BUCKET_BATCHES = 16;

type TextKind = Exclude<Kind, 'contrastive'>;

/** Plans one step after the other. Not reentrant: await each step before the next. */
export class Planner {
  readonly #candidates: Candidates;
  readonly #draws: Draws;
  #step: number;
  #batches: number;
  readonly #drawn: Record<Kind, number>;
  /** What the position names and nobody has asked for yet. */
  #resumed: Pick<PlanPosition, 'packer' | 'buckets'>;
  #packer: Packer<PlannedSample> | undefined;
  #packed: number;
  /** Batches of samples of like length that were drawn and are not given yet. */
  readonly #sorted: Record<TextKind, PlannedSample[][]> = { text: [], visual: [] };

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
    this.#draws = new Draws(candidates, position?.taken ?? sources.map(() => 0));
    this.#step = position?.step ?? 0;
    this.#batches = position?.batches ?? 0;
    this.#drawn = { text: 0, visual: 0, contrastive: 0, ...position?.draws };
    this.#packed = position?.packer?.draws ?? 0;
    this.#resumed = position ?? {};
  }

  /**
   * `accumulate` conversation batches where any source makes conversations, and one contrastive batch where any does. Throws
   * `config` where none of them is drawn at this step.
   */
  async next(): Promise<PlannedStep> {
    const { sources, stage } = this.#candidates;
    await this.#restore();
    const batches: PlannedBatch[] = [];
    if (sources.some(source => source.kind !== 'contrastive')) {
      for (let i = 0; i < stage.batch.accumulate; i++) batches.push(await this.#conversations());
    }
    if (sources.some(source => source.kind === 'contrastive')) batches.push(await this.#contrastive());
    this.#step++;
    return { batches, position: this.#position(), ...this.#draws.passedOver() };
  }

  #position(): PlanPosition {
    const { packing, bucket } = this.#candidates.stage.batch;
    const names = (samples: readonly PlannedSample[]) =>
      samples.map(({ source, taken }) => [source, taken] as const);
    const { text, visual } = this.#sorted;
    return {
      step: this.#step,
      batches: this.#batches,
      draws: { ...this.#drawn },
      taken: [...this.#draws.taken],
      ...(packing ? { packer: { draws: this.#packed, waiting: names(this.#packer?.waiting ?? []) } } : {}),
      ...(bucket ? { buckets: { text: text.map(names), visual: visual.map(names) } } : {}),
    };
  }

  /** Makes again what a position only names. */
  async #restore(): Promise<void> {
    const { packer, buckets } = this.#resumed;
    this.#resumed = {};
    const { packing, samples: rows } = this.#candidates.stage.batch;
    const again = async (draws: readonly (readonly [number, number])[]): Promise<PlannedSample[]> => {
      const made: PlannedSample[] = [];
      for (const [source, taken] of draws) {
        const outcome = await this.#conversation(this.#candidates.rowOf({ source, taken }));
        if (outcome.kind === 'sample') made.push(outcome.sample);
        else this.#draws.note(outcome);
      }
      return made;
    };
    if (packing && !this.#packer) {
      const { length, window = PACKING_WINDOW } = packing;
      this.#packer = new Packer({ rows, length, window }, await again(packer?.waiting ?? []));
    }
    for (const kind of ['text', 'visual'] as const) {
      for (const batch of buckets?.[kind] ?? []) this.#sorted[kind].push(await again(batch));
    }
  }

  async #conversations(): Promise<PlannedBatch> {
    const { stage, sources } = this.#candidates;
    const { packing, bucket, samples } = stage.batch;
    if (packing && this.#packer) {
      this.#batches++;
      const rows = await this.#packer.next(() =>
        this.#draws.next(
          'packed',
          this.#packed++,
          source => (source.kind === 'contrastive' ? 0 : this.#weightOf(source)),
          row => this.#conversation(row),
        ),
      );
      return { kind: 'conversation', rows, length: packing.length };
    }
    const kinds = ['text', 'visual'] as const;
    const weights = kinds.map(kind =>
      sources.reduce((sum, source) => sum + (source.kind === kind ? this.#weightOf(source) : 0), 0),
    );
    const kind = kinds[drawIndex(weights, this.#batches++, stage.seed, 'kind')] ?? 'visual';
    const drawn = bucket
      ? await this.#alike(kind, bucket.window ?? BUCKET_BATCHES * samples)
      : await this.#drawMany(kind, samples, row => this.#conversation(row));
    return { kind: 'conversation', rows: drawn.map(sample => [sample]), length: null };
  }

  async #contrastive(): Promise<PlannedBatch> {
    const { samples: size, contrastive = size } = this.#candidates.stage.batch;
    const samples = await this.#drawMany('contrastive', contrastive, row => this.#candidates.pairs(row));
    return { kind: 'contrastive', samples };
  }

  /**
   * Samples of like length: `window` of them, or the whole batches in it, are drawn, sorted by length and cut into batches,
   * which are given in an order of their own.
   */
  async #alike(kind: TextKind, window: number): Promise<PlannedSample[]> {
    const { seed, batch } = this.#candidates.stage;
    const sorted = this.#sorted[kind];
    if (sorted.length === 0) {
      const first = this.#drawn[kind];
      const count = Math.max(Math.floor(window / batch.samples), 1);
      const drawn = await this.#drawMany(kind, count * batch.samples, row => this.#conversation(row));
      drawn.sort((a, b) => a.length - b.length);
      const batches = Array.from({ length: count }, (_, i) =>
        drawn.slice(i * batch.samples, (i + 1) * batch.samples),
      );
      sorted.push(...new Random(seed, 'buckets', kind, first).shuffle(batches));
    }
    return sorted.shift()!;
  }

  async #drawMany<T>(
    kind: Kind,
    count: number,
    make: (row: PlannedRow) => Promise<Outcome<T>>,
  ): Promise<T[]> {
    const drawn: T[] = [];
    for (let i = 0; i < count; i++) {
      const weightOf = (source: Source) => (source.kind === kind ? this.#weightOf(source) : 0);
      drawn.push(await this.#draws.next(kind, this.#drawn[kind]++, weightOf, make));
    }
    return drawn;
  }

  /** What a source weighs in the mixture of this step. */
  #weightOf({ during, weight }: Source): number {
    return isDuring(during, this.#step, this.#candidates.stage.steps) ? weight : 0;
  }

  #conversation(row: PlannedRow): Promise<Outcome<PlannedSample>> {
    const { context, stage } = this.#candidates;
    return this.#candidates.conversation(row, stage.batch.packing?.length ?? context.model.max_length);
  }
}
