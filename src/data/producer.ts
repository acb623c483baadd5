/**
 * Steps of batches from records: draws sources and rows, makes samples, collates. Runs in the worker or in process;
 * either way a step is a function of (options, position) alone.
 */
import { GroundError } from '../errors.ts';
import type { Batch } from '../models/batch.ts';
import type { ModelConfig } from '../models/config.ts';
import { hashSeed, Random } from '../random.ts';
import { collate } from './collate.ts';
import { type ContrastiveSample, collateContrastive, pairsOf } from './contrastive.ts';
import type { Conversation } from './conversation.ts';
import type { ViewMode } from './image.ts';
import { drawIndex } from './mixture.ts';
import { errorAt } from './naming.ts';
import { permute } from './permutation.ts';
import type { Rendered } from './render.ts';
import { type RecordSource, type Row, RowReader } from './rows.ts';
import { assembleSample, lengthProblem, renderOf, type Sample, type SampleContext } from './sample.ts';
import { taskContext } from './tasks/context.ts';
import { conversationOf } from './tasks/index.ts';
import type { TaskName } from './tasks/names.ts';
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
  }[];
  readonly batch: {
    readonly samples: number;
    readonly accumulate: number;
    readonly contrastive?: number;
  };
  readonly seed: number;
}

/** Everything a producer depends on; plain data, so that it can travel to a worker. */
export interface ProducerOptions {
  readonly model: ModelConfig;
  readonly stage: LoaderStage;
  /** Most questions a conversation (4), and most objects listed in a turn (10). */
  readonly rounds?: number;
  readonly maxObjects?: number;
  /** Memory for decoded images, bytes, shared evenly by the datasets (64 MiB). */
  readonly cacheBytes?: number;
  readonly position?: LoaderPosition;
}

/** How far a loader has come; small, plain JSON. */
export interface LoaderPosition {
  /** Steps given. */
  readonly step: number;
  /** Conversation batches drawn, and samples drawn of each kind of batch. */
  readonly batches: number;
  readonly draws: Readonly<Record<Kind, number>>;
  /** Rows taken of each source, in the order of the recipe, refused ones included. */
  readonly taken: readonly number[];
}

export interface ProducedStep {
  readonly batches: readonly Batch[];
  /** Where the next step begins. */
  readonly position: LoaderPosition;
  /** Samples that were passed over, and why: too long for the model. */
  readonly skipped: readonly string[];
}

/** Batches are of one kind each. */
type Kind = 'text' | 'visual' | 'contrastive';

const DEFAULT_CACHE_BYTES = 64 * 2 ** 20;
/** Tasks that ask for labels beyond their own image's, and the rows these are collected from. */
const LABEL_TASKS: ReadonlySet<TaskName> = new Set(['roc', 'count', 'scene-text']);
const LABEL_ROWS = 256;

interface Source {
  readonly index: number;
  readonly task: TaskName;
  readonly kind: Kind;
  readonly weight: number;
  readonly reader: RowReader;
  readonly rows: number;
  /** Whether a row serves differently in each epoch. */
  readonly varies: boolean;
  readonly labels: readonly string[];
}

/** A row drawn for a source. */
interface Drawn {
  readonly id: string;
  readonly dataset: string;
  readonly row: Row;
  /** Names the choices made for it. */
  readonly seed: number;
}

/** A drawn row that can serve, before its image is decoded. */
interface Planned extends Drawn {
  readonly conversation: Conversation;
  readonly rendered: Rendered;
}

/**
 * Opens all datasets. Throws `tokenizer` and `data` for files at fault, `config` where there is nothing to draw from.
 */
export async function openProducer(
  options: ProducerOptions,
  open: (dataset: string) => Promise<RecordSource>,
): Promise<Producer> {
  const { model, stage } = options;
  const context: SampleContext = {
    model,
    tokenizer: loadTokenizer(model.tokenizer),
    views: stage.views,
    seed: stage.seed,
  };
  const names = [...new Set(stage.data.map(source => source.dataset))];
  const cacheBytes = (options.cacheBytes ?? DEFAULT_CACHE_BYTES) / Math.max(names.length, 1);
  const readers = new Map<string, RowReader>();
  try {
    for (const name of names) readers.set(name, new RowReader(name, await open(name), context, cacheBytes));
    const labels = new Map<string, readonly string[]>();
    for (const { dataset, task } of stage.data) {
      if (LABEL_TASKS.has(task) && !labels.has(dataset)) {
        labels.set(dataset, await labelsOf(readers.get(dataset)!));
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
          reader,
          rows,
          varies: source.vary !== false,
          labels: labels.get(source.dataset) ?? [],
        };
      }
      throw new GroundError('data', `${source.dataset} has no records`, { hint: 'build the dataset again' });
    });
    return new Producer(options, context, sources, [...readers.values()]);
  } catch (thrown) {
    await Promise.all([...readers.values()].map(reader => reader.close()));
    throw thrown;
  }
}

/** Yields one step after the other. Not reentrant: await each step before the next. */
export class Producer {
  readonly #options: ProducerOptions;
  readonly #context: SampleContext;
  readonly #sources: readonly Source[];
  readonly #readers: readonly RowReader[];
  #step: number;
  #batches: number;
  readonly #draws: Record<Kind, number>;
  readonly #taken: number[];
  #skipped: string[] = [];

  constructor(
    options: ProducerOptions,
    context: SampleContext,
    sources: readonly Source[],
    readers: readonly RowReader[],
  ) {
    const { position } = options;
    if (position && position.taken.length !== sources.length) {
      throw new GroundError(
        'config',
        `the run was at a position of ${position.taken.length} data sources, the recipe has ${sources.length}`,
        { hint: 'continue with the recipe the run was started with, or start a new run' },
      );
    }
    if (sources.length === 0) {
      throw new GroundError('config', 'data is empty', { hint: 'give the stage at least one data source' });
    }
    this.#options = options;
    this.#context = context;
    this.#sources = sources;
    this.#readers = readers;
    this.#step = position?.step ?? 0;
    this.#batches = position?.batches ?? 0;
    this.#draws = { text: 0, visual: 0, contrastive: 0, ...position?.draws };
    this.#taken = position ? [...position.taken] : sources.map(() => 0);
  }

  /** `accumulate` conversation batches where any source makes conversations, and one contrastive batch where any does. */
  async next(): Promise<ProducedStep> {
    const { accumulate } = this.#options.stage.batch;
    const batches: Batch[] = [];
    this.#skipped = [];
    if (this.#sources.some(source => source.kind !== 'contrastive')) {
      for (let i = 0; i < accumulate; i++) batches.push(await this.#conversations());
    }
    if (this.#sources.some(source => source.kind === 'contrastive')) batches.push(await this.#contrastive());
    this.#step++;
    const position: LoaderPosition = {
      step: this.#step,
      batches: this.#batches,
      draws: { ...this.#draws },
      taken: [...this.#taken],
    };
    return { batches, position, skipped: this.#skipped };
  }

  async close(): Promise<void> {
    await Promise.all(this.#readers.map(reader => reader.close()));
  }

  async #conversations(): Promise<Batch> {
    const kinds = ['text', 'visual'] as const;
    const weights = kinds.map(kind => this.#weights(kind).reduce((sum, weight) => sum + weight, 0));
    const kind = kinds[drawIndex(weights, this.#batches++, this.#options.stage.seed, 'kind')] ?? 'visual';
    const planned: Planned[] = [];
    for (let i = 0; i < this.#options.stage.batch.samples; i++) {
      planned.push(await this.#draw(kind, (drawn, source) => this.#plan(drawn, source)));
    }
    const samples = await Promise.all(planned.map(sample => this.#finish(sample)));
    return collate(samples, this.#options.model);
  }

  async #contrastive(): Promise<Batch> {
    const { maxObjects = 10, stage, model } = this.#options;
    const drawn: (Drawn & Pick<ContrastiveSample, 'pairs'>)[] = [];
    const { samples: size, contrastive = size } = stage.batch;
    for (let i = 0; i < contrastive; i++) {
      const sample = await this.#draw('contrastive', candidate => {
        const random = new Random(candidate.seed, 'contrastive', candidate.id);
        const pairs = pairsOf(candidate.row.record, maxObjects, random);
        return pairs && { ...candidate, pairs };
      });
      drawn.push(sample);
    }
    const samples = await Promise.all(
      drawn.map(async ({ id, row, pairs }) => ({ id, pairs, views: await row.views() })),
    );
    return collateContrastive(samples, model, this.#context.tokenizer);
  }

  #weights(kind: Kind): number[] {
    return this.#sources.map(source => (source.kind === kind ? source.weight : 0));
  }

  /** The next row of the kind that `accept` makes something of. */
  async #draw<T>(kind: Kind, accept: (drawn: Drawn, source: Source) => T | null): Promise<T> {
    const { seed } = this.#options.stage;
    const chosen = drawIndex(this.#weights(kind), this.#draws[kind]++, seed, kind);
    const source = this.#sources[chosen]!;
    for (let attempt = 0; attempt < source.rows; attempt++) {
      const taken = this.#taken[source.index]!++;
      const epoch = Math.floor(taken / source.rows);
      const order = hashSeed(seed, 'order', source.index, epoch);
      const row = permute(taken % source.rows, source.rows, order);
      const id = `${source.reader.place(row)}#${source.task}`;
      const drawn: Drawn = {
        id,
        dataset: source.reader.dataset,
        row: await source.reader.read(row),
        seed: hashSeed(seed, 'sample', source.index, source.varies ? epoch : 0),
      };
      const made = accept(drawn, source);
      if (made !== null) return made;
    }
    throw new GroundError(
      'data',
      `none of the ${source.rows} records of ${source.reader.dataset} can serve the task ${source.task}${this.#lastSkip()}`,
      {
        hint: 'choose another task or dataset for this source, or raise max_length where samples are too long',
      },
    );
  }

  #lastSkip(): string {
    const last = this.#skipped.at(-1);
    return last === undefined ? '' : ` (the last one: ${last})`;
  }

  #plan(drawn: Drawn, source: Source): Planned | null {
    const { stage, rounds = 4, maxObjects = 10 } = this.#options;
    const { record } = drawn.row;
    const conversation = conversationOf(
      record,
      source.task,
      taskContext({
        seed: drawn.seed,
        rounds,
        maxObjects,
        groundingPrompt: stage.grounding_prompt,
        labels: source.labels,
      }),
    );
    if (!conversation) return null;
    const size = {
      id: `${drawn.dataset}, ${drawn.id}`,
      width: record.width,
      height: record.height,
    };
    const rendered = renderOf(conversation, size, this.#context, false);
    const problem = lengthProblem(rendered, size, this.#context);
    if (problem === null) return { ...drawn, conversation, rendered };
    this.#skipped.push(`${drawn.id}: ${problem}`);
    return null;
  }

  async #finish({ id, dataset, row, conversation, rendered, seed }: Planned): Promise<Sample> {
    const views = conversation.image ? await row.views() : null;
    try {
      return assembleSample(id, conversation, rendered, views, { ...this.#context, seed });
    } catch (thrown) {
      throw errorAt(dataset, thrown);
    }
  }
}

function kindOf(task: TaskName): Kind {
  if (task === 'contrastive') return 'contrastive';
  return task === 'scene-text' ? 'text' : 'visual';
}

/** Labels that occur in the first rows of a dataset, sorted. */
async function labelsOf(reader: RowReader): Promise<string[]> {
  const labels = new Set<string>();
  for (let row = 0; row < Math.min(reader.rows, LABEL_ROWS); row++) {
    for (const { label } of (await reader.read(row)).record.objects) labels.add(label);
  }
  return [...labels].sort();
}
