/** Planned batches to arrays: decodes images, samples regions, collates. Holds nothing between batches but caches. */
import { GroundError } from '../errors.ts';
import type { Candidates, Outcome } from './candidates.ts';
import { collate, collatePacked } from './collate.ts';
import { type ContrastiveSample, collateContrastive } from './contrastive.ts';
import type { FeatureSets } from './feature-store.ts';
import type { Views } from './image.ts';
import { viewsWithFeatures } from './known-views.ts';
import { errorAt } from './naming.ts';
import type {
  BadSample,
  FinishedBatch,
  PlannedBatch,
  PlannedPairs,
  PlannedRow,
  PlannedSample,
} from './plan.ts';
import { assembleSample, type Sample } from './sample.ts';

/** Rows tried in place of a damaged one before its place stays empty. */
const SUBSTITUTES = 64;

/** Finishes batches, several at once where asked to. What comes of a batch depends on its plan and the data alone. */
export class Finisher {
  readonly #candidates: Candidates;

  constructor(candidates: Candidates) {
    this.#candidates = candidates;
  }

  /**
   * The arrays of a batch. A sample whose image turns out damaged gives its place to another of its source, drawn by its
   * name, so that the same plan makes the same batch. Throws `data` naming dataset, shard and row where damage is not
   * skipped, and where no sample is left.
   */
  async finish(batch: PlannedBatch): Promise<FinishedBatch> {
    const served = this.#candidates.sources.map(() => 0);
    const bad: BadSample[] = [];
    const sound = <T>(made: readonly Made<T>[]): T[] =>
      made.flatMap(one => {
        bad.push(...one.bad);
        if (one.value === null) return [];
        served[one.source]!++;
        return [one.value];
      });
    const { model, tokenizer } = this.#candidates.context;
    if (batch.kind === 'contrastive') {
      const samples = sound(await Promise.all(batch.samples.map(planned => this.#pairs(planned))));
      const collated = collateContrastive(someOf(samples, bad), model, tokenizer);
      return { batch: collated, served, bad, positions: 0, used: 0 };
    }
    const rows = await Promise.all(
      batch.rows.map(row => Promise.all(row.map(planned => this.#sample(planned, batch.length)))),
    );
    const { length } = batch;
    const sounds = rows.map(sound);
    someOf(sounds.flat(), bad);
    const { features } = this.#candidates;
    const collated =
      length === null
        ? collate(sounds.flat(), model, { features })
        : collatePacked(sounds, length, model, features);
    const used = collated.mask.data.reduce((sum, one) => sum + one, 0);
    return { batch: collated, served, bad, positions: collated.mask.data.length, used };
  }

  #sample(planned: PlannedSample, rowLength: number | null): Promise<Made<Sample>> {
    const limit = rowLength === null ? this.#candidates.context.model.max_length : planned.length;
    return this.#firstSound(
      planned,
      row => this.#candidates.conversation(row, limit),
      sample => this.#assemble(sample),
    );
  }

  #pairs(planned: PlannedPairs): Promise<Made<ContrastiveSample>> {
    return this.#firstSound(
      planned,
      row => this.#candidates.pairs(row),
      async ({ id, pairs, ...row }) => ({ id, pairs, views: await this.#views(row) }),
    );
  }

  /** What `finish` makes of the planned row, or of the first substitute that is sound. */
  async #firstSound<P extends PlannedRow, T>(
    planned: P,
    plan: (row: PlannedRow) => Promise<Outcome<P>>,
    finish: (planned: P) => Promise<T>,
  ): Promise<Made<T>> {
    const { source } = planned;
    const bad: BadSample[] = [];
    let candidate: Outcome<P> = { kind: 'sample', sample: planned };
    for (let attempt = 0; attempt < SUBSTITUTES; attempt++) {
      if (candidate.kind === 'bad') bad.push(candidate.bad);
      if (candidate.kind === 'sample') {
        try {
          return { source, value: await finish(candidate.sample), bad };
        } catch (thrown) {
          bad.push(this.#candidates.damage(candidate.sample, thrown));
        }
      }
      candidate = await plan(this.#candidates.substituteOf(planned, attempt));
    }
    return { source, value: null, bad };
  }

  async #assemble(planned: PlannedSample): Promise<Sample> {
    const { id, conversation, rendered, seed } = planned;
    const { context, features } = this.#candidates;
    const views = conversation.image ? await this.#views(planned, features) : null;
    try {
      return assembleSample(id, conversation, rendered, views, { ...context, seed });
    } catch (thrown) {
      throw errorAt(this.#candidates.sourceOf(planned).reader.dataset, thrown);
    }
  }

  async #views(
    planned: Pick<PlannedRow, 'source' | 'taken' | 'row'>,
    features?: FeatureSets,
  ): Promise<Views> {
    const row = await this.#candidates.sourceOf(planned).reader.read(planned.row);
    return features ? viewsWithFeatures(row, features, this.#candidates.context) : row.views();
  }
}

/** A finished sample, null where no row was sound, the source that it counts for, and the damaged rows met on the way. */
interface Made<T> {
  readonly source: number;
  readonly value: T | null;
  readonly bad: readonly BadSample[];
}

function someOf<T>(samples: readonly T[], bad: readonly BadSample[]): readonly T[] {
  if (samples.length > 0) return samples;
  const last = bad.at(-1);
  throw new GroundError('data', `no sample of a batch is sound${last ? `; the last: ${last.message}` : ''}`, {
    hint: '`ground data validate` lists what is damaged; build the dataset again',
  });
}
