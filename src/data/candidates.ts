/**
 * From a draw to a sample that may serve: reads the row, asks the task, renders. What comes of a draw depends on the draw
 * alone, so that planning may come back to it after a resume and finishing may draw substitutes.
 */
import { GroundError, messageOf } from '../errors.ts';
import type { ModelConfig } from '../models/config.ts';
import { hashSeed, Random } from '../random.ts';
import { pairsOf } from './contrastive.ts';
import type { Conversation } from './conversation.ts';
import type { FeatureSets } from './feature-store.ts';
import type { ViewMode } from './image.ts';
import type { During } from './mixture.ts';
import { permute } from './permutation.ts';
import type { BadSample, Draw, Kind, PlannedPairs, PlannedRow, PlannedSample } from './plan.ts';
import type { Annotations } from './record.ts';
import { trainedTokens } from './render.ts';
import { type RecordSource, RowReader } from './rows.ts';
import { renderFitting, type SampleContext, sequenceLength } from './sample.ts';
import { taskContext } from './tasks/context.ts';
import { conversationOf } from './tasks/index.ts';
import { type TaskName, TEXT_TASKS } from './tasks/names.ts';
import { LabelStatistics } from './tasks/statistics.ts';
import { loadTokenizer } from './tokenizer.ts';

/** What the loader needs of a stage; every `StageRecipe` has it. */
export interface LoaderStage {
  readonly views: ViewMode;
  readonly grounding_prompt: string;
  readonly data: readonly {
    readonly dataset: string;
    readonly task: TaskName;
    readonly weight: number;
    readonly max_records?: number;
    readonly vary?: boolean;
    /** Most questions a conversation (4), and most objects listed in a turn or contrasted (10). */
    readonly rounds?: number;
    readonly max_objects?: number;
    /** Shares of the stage's steps from which and until which the source is drawn ([0, 1]). */
    readonly during?: During;
  }[];
  readonly batch: {
    readonly samples: number;
    readonly accumulate: number;
    readonly contrastive?: number;
    /** Samples share rows of `length` positions, `samples` rows a batch; `window` samples may wait for room (32). */
    readonly packing?: { readonly length: number; readonly window?: number };
    /** Batches hold samples of like length, sorted among `window` of them (16 batches). */
    readonly bucket?: { readonly window?: number };
  };
  /** What a damaged sample does: end the run (where absent), or be replaced by another of its source. */
  readonly on_bad_sample?: 'fail' | 'skip';
  /** Damaged rows after which the run ends all the same (100). */
  readonly bad_sample_limit?: number;
  /** Steps of the stage, of which `during` names shares. */
  readonly steps: number;
  readonly seed: number;
}

/** What opening the sources of a stage takes; plain data, so that it can travel to a worker. */
export interface SourceOptions {
  readonly model: ModelConfig;
  readonly stage: LoaderStage;
  /** Memory for decoded images, bytes, shared evenly by the datasets (160 MiB). */
  readonly cacheBytes?: number;
  /** Where features of frozen encoders are kept; absent where they are not. */
  readonly features?: FeatureSets;
}

/** One entry of a stage's `data`, open. */
export interface Source {
  readonly index: number;
  readonly task: TaskName;
  readonly kind: Kind;
  readonly weight: number;
  readonly during: During;
  readonly reader: RowReader;
  readonly rows: number;
  /** Whether a row serves differently in each epoch. */
  readonly varies: boolean;
  readonly rounds: number;
  readonly maxObjects: number;
  readonly labels: readonly string[];
  /** How often labels are seen together; for tasks that need labels. */
  readonly statistics: LabelStatistics;
  /** Index of the first source with the same dataset. */
  readonly dataset: number;
}

/** What came of a draw. */
export type Outcome<T> =
  | { readonly kind: 'sample'; readonly sample: T }
  /** The record has nothing to say to the task. */
  | { readonly kind: 'unfit' }
  /** Too long for the model. */
  | { readonly kind: 'long'; readonly message: string }
  | { readonly kind: 'bad'; readonly bad: BadSample };

/** Memory for decoded images where none is said: some 6,000 rendered scenes of 96 pixels a side. */
export const DEFAULT_CACHE_BYTES = 160 * 2 ** 20;
/** Tasks that ask for labels beyond their own image's, and the rows these are collected from. */
const LABEL_TASKS: ReadonlySet<TaskName> = new Set([
  'roc',
  'count',
  'scene-text',
  'negatives',
  'grounded-count',
]);
const LABEL_ROWS = 256;
/** Fewer rows where images are large, whose bytes come with them: the loader must open at once. */
const LABEL_BYTES = 32 * 2 ** 20;

/**
 * Opens all datasets. Throws `tokenizer` and `data` for files at fault, `config` where there is nothing to draw from.
 */
export async function openCandidates(
  options: SourceOptions,
  open: (dataset: string) => Promise<RecordSource>,
): Promise<Candidates> {
  const { model, stage } = options;
  if (stage.data.length === 0) {
    throw new GroundError('config', 'data is empty', { hint: 'give the stage at least one data source' });
  }
  const context: SampleContext = {
    model,
    tokenizer: loadTokenizer(model.tokenizer),
    views: stage.views,
    seed: stage.seed,
  };
  const names = [...new Set(stage.data.map(source => source.dataset))];
  const cacheBytes = (options.cacheBytes ?? DEFAULT_CACHE_BYTES) / Math.max(names.length, 1);
  const skips = stage.on_bad_sample === 'skip';
  const readers = new Map<string, RowReader>();
  try {
    for (const name of names) readers.set(name, new RowReader(name, await open(name), context, cacheBytes));
    const statistics = new Map<string, LabelStatistics>();
    for (const { dataset, task } of stage.data) {
      if (LABEL_TASKS.has(task) && !statistics.has(dataset)) {
        statistics.set(dataset, await statisticsOf(readers.get(dataset)!, skips));
      }
    }
    const sources = stage.data.map((source, index): Source => {
      const reader = readers.get(source.dataset)!;
      const rows = Math.min(source.max_records ?? reader.rows, reader.rows);
      if (rows > 0) {
        const { task, weight } = source;
        return {
          index,
          task,
          kind: kindOf(task),
          weight,
          during: source.during ?? [0, 1],
          reader,
          rows,
          varies: source.vary !== false,
          rounds: source.rounds ?? 4,
          maxObjects: source.max_objects ?? 10,
          labels: statistics.get(source.dataset)?.labels ?? [],
          statistics: statistics.get(source.dataset) ?? new LabelStatistics(),
          dataset: stage.data.findIndex(({ dataset }) => dataset === source.dataset),
        };
      }
      throw new GroundError('data', `${source.dataset} has no records`, { hint: 'build the dataset again' });
    });
    return new Candidates(stage, context, sources, [...readers.values()], options.features);
  } catch (thrown) {
    await Promise.all([...readers.values()].map(reader => reader.close()));
    throw thrown;
  }
}

/** The sources of a stage, and what their rows can serve as. Calls may overlap. */
export class Candidates {
  readonly stage: LoaderStage;
  readonly context: SampleContext;
  readonly sources: readonly Source[];
  readonly features: FeatureSets | undefined;
  readonly #readers: readonly RowReader[];

  constructor(
    stage: LoaderStage,
    context: SampleContext,
    sources: readonly Source[],
    readers: readonly RowReader[],
    features?: FeatureSets,
  ) {
    this.stage = stage;
    this.context = context;
    this.sources = sources;
    this.features = features;
    this.#readers = readers;
  }

  /** Whether damaged samples are replaced. */
  get skips(): boolean {
    return this.stage.on_bad_sample === 'skip';
  }

  /** The row that a draw falls on: each epoch is a shuffle of all rows. */
  rowOf(draw: Draw): PlannedRow {
    const { rows } = this.sourceOf(draw);
    const epoch = Math.floor(draw.taken / rows);
    const order = hashSeed(this.stage.seed, 'order', draw.source, epoch);
    return this.#placed(draw, permute(draw.taken % rows, rows, order));
  }

  /** Another row in place of a damaged one, the same for the same attempt. */
  substituteOf(draw: Draw, attempt: number): PlannedRow {
    const random = new Random(this.stage.seed, 'substitute', draw.source, draw.taken, attempt);
    return this.#placed(draw, random.int(0, this.sourceOf(draw).rows));
  }

  sourceOf({ source }: Draw): Source {
    return this.sources[source]!;
  }

  /** The conversation that a row makes, of at most `limit` positions. Throws where damage is not to be skipped. */
  conversation(planned: PlannedRow, limit: number): Promise<Outcome<PlannedSample>> {
    return this.#outcome(planned, (record, source) => {
      const conversation = this.ask(record, planned);
      if (!conversation) return { kind: 'unfit' };
      const { width, height } = record;
      const size = { id: `${source.reader.dataset}, ${planned.id}`, width, height };
      const fitted = renderFitting(conversation, size, this.context, limit);
      if (typeof fitted === 'string') return { kind: 'long', message: `${planned.id}: ${fitted}` };
      if (trainedTokens(fitted.rendered) === 0) {
        throw new GroundError('data', `${planned.id}: no token of it is trained on`, {
          hint: 'look at it with `ground data show`; a chat template may leave answers out',
        });
      }
      const { text, visual } = sequenceLength(fitted.rendered, size, this.context);
      return { kind: 'sample', sample: { ...planned, ...fitted, length: text + visual } };
    });
  }

  /** What the task of a planned row says about its record; null where the record cannot serve. */
  ask(record: Annotations, planned: PlannedRow): Conversation | null {
    const source = this.sourceOf(planned);
    return conversationOf(
      record,
      source.task,
      taskContext({
        seed: planned.seed,
        rounds: source.rounds,
        maxObjects: source.maxObjects,
        groundingPrompt: this.stage.grounding_prompt,
        labels: source.labels,
        statistics: source.statistics,
      }),
    );
  }

  /** A row of a source as it is drawn in the first epoch. */
  firstDrawOf(source: number, row: number): PlannedRow {
    return this.#placed({ source, taken: 0 }, row);
  }

  /** The texts that a row gives to contrastive pretraining. Throws where damage is not to be skipped. */
  pairs(planned: PlannedRow): Promise<Outcome<PlannedPairs>> {
    return this.#outcome(planned, (record, source) => {
      const random = new Random(planned.seed, 'contrastive', planned.id);
      const pairs = pairsOf(record, source.maxObjects, random);
      return pairs ? { kind: 'sample', sample: { ...planned, pairs } } : { kind: 'unfit' };
    });
  }

  /** What was thrown over a row as a damaged sample; throws it on where damage is not to be skipped or is of more than a row. */
  damage(planned: PlannedRow, thrown: unknown): BadSample {
    if (!this.skips || !(thrown instanceof GroundError) || thrown.code !== 'data') throw thrown;
    const { reader, dataset } = this.sourceOf(planned);
    const message = messageOf(thrown);
    const place = `${reader.dataset}, ${reader.place(planned.row)}`;
    const said = message.startsWith(reader.dataset) ? message : `${place}: ${message}`;
    return { dataset, row: planned.row, message: said };
  }

  async close(): Promise<void> {
    await Promise.all(this.#readers.map(reader => reader.close()));
  }

  #placed(draw: Draw, row: number): PlannedRow {
    const { index, reader, task, rows, varies } = this.sourceOf(draw);
    const epoch = varies ? Math.floor(draw.taken / rows) : 0;
    return {
      source: draw.source,
      taken: draw.taken,
      row,
      id: `${reader.place(row)}#${task}`,
      seed: hashSeed(this.stage.seed, 'sample', index, epoch),
    };
  }

  async #outcome<T>(
    planned: PlannedRow,
    make: (record: Annotations, source: Source) => Outcome<T>,
  ): Promise<Outcome<T>> {
    const source = this.sourceOf(planned);
    try {
      return make((await source.reader.read(planned.row)).record, source);
    } catch (thrown) {
      return { kind: 'bad', bad: this.damage(planned, thrown) };
    }
  }
}

function kindOf(task: TaskName): Kind {
  if (task === 'contrastive') return 'contrastive';
  return TEXT_TASKS.has(task) ? 'text' : 'visual';
}

/** The labels of the first rows of a dataset. */
async function statisticsOf(reader: RowReader, skips: boolean): Promise<LabelStatistics> {
  const statistics = new LabelStatistics();
  let bytes = 0;
  for (let row = 0; row < Math.min(reader.rows, LABEL_ROWS) && bytes < LABEL_BYTES; row++) {
    try {
      const { record, imageBytes } = await reader.read(row);
      statistics.add(record);
      bytes += imageBytes;
    } catch (thrown) {
      // Drawn to serve, the row is skipped and counted; here it has no labels.
      if (!skips) throw thrown;
    }
  }
  return statistics;
}
