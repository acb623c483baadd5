/** Checking a dataset: every shard's bytes, every row's content, every sample that the rows make. */
import { messageOf } from '../errors.ts';
import { type Dataset, openDataset } from './dataset.ts';
import { type Fingerprint, fingerprintOf } from './image-hash.ts';
import { inOrder } from './in-order.ts';
import { Lru } from './lru.ts';
import { MANIFEST_FILE, type Manifest, readManifest } from './manifest.ts';
import { type ImageRecord, isTextAlone } from './record.ts';
import type { Rendering } from './rendering.ts';
import { EvaluationImages } from './validation/against.ts';
import { errorsOf, odditiesOf } from './validation/annotations.ts';
import { checkImage } from './validation/images.ts';
import {
  type Finding,
  type Problem,
  type ProblemKind,
  ProblemLog,
  severityOf,
} from './validation/problem.ts';
import { SampleStatistics, type TaskReport } from './validation/samples.ts';
import { FirstRows, LookAlikes, looksAlike } from './validation/twins.ts';
import { shardProblem } from './verify.ts';

export type { Problem } from './validation/problem.ts';
export type { TaskReport } from './validation/samples.ts';

export interface ValidateOptions {
  /** What to render the records with; they are not rendered where absent. */
  readonly rendering?: Rendering;
  /** Folders of evaluation sets, whose images must not be in this one. */
  readonly against?: readonly string[];
  /** Problems of each kind that are listed; all are counted. All where absent. */
  readonly limit?: number;
  /** Told the rows that are done, first those of the evaluation sets, and how many there are. */
  readonly onProgress?: (rows: number, total: number) => void;
}

export interface ValidationReport {
  readonly rows: number;
  readonly shards: number;
  readonly errors: number;
  readonly warnings: number;
  /** How often each kind of problem was found. */
  readonly totals: Readonly<Partial<Record<ProblemKind, number>>>;
  /** In the order of the shards and rows, the first `limit` of each kind. */
  readonly problems: readonly Problem[];
  readonly tasks: readonly TaskReport[];
}

/** Images decoded at once. */
const IN_FLIGHT = 4;
/** Images that look similar which are compared with a new one, and fingerprints of them that are kept. */
const MOST_COMPARED = 4;
const KEPT_PRINTS = 1024;

/**
 * Reads all of a dataset and lists everything that is wrong with it (`PROBLEM_KINDS`). Memory does not grow with the images:
 * what is remembered of a row is under 100 bytes. Throws `data` only where there is no readable manifest, or an
 * evaluation set cannot be read.
 */
export async function validateDataset(dir: string, options: ValidateOptions = {}): Promise<ValidationReport> {
  const manifest = await readManifest(dir);
  const { against = [], limit = Number.POSITIVE_INFINITY, rendering, onProgress = () => {} } = options;
  let total = manifest.rows;
  for (const other of against) total += (await readManifest(other)).rows;
  let done = 0;
  const advance = (rows = 1): void => {
    done += rows;
    onProgress(done, total);
  };
  const evaluation = await EvaluationImages.open(against, advance);
  const dataset = await openDataset(dir, { checkSizes: false });
  const log = new ProblemLog(limit);
  try {
    const isEmpty = manifest.rows === 0;
    if (isEmpty) log.add({ kind: 'shard', problem: 'the dataset has no rows' }, MANIFEST_FILE);
    const samples = rendering && !isEmpty ? await SampleStatistics.open(dataset, rendering) : null;
    await new Check(dir, manifest, dataset, log, evaluation, samples, advance).run();
    return {
      rows: manifest.rows,
      shards: manifest.shards.length,
      errors: log.count('error'),
      warnings: log.count('warning'),
      totals: log.totals,
      problems: log.problems,
      tasks: samples?.reports() ?? [],
    };
  } finally {
    await dataset.close();
  }
}

/** What is wrong with one record by itself; nothing where all is well. */
export async function problemsOf(record: ImageRecord): Promise<Finding[]> {
  return (await checkRecord(record)).findings;
}

interface CheckedRecord {
  readonly record: ImageRecord;
  readonly findings: Finding[];
  readonly print: Fingerprint | null;
}

async function checkRecord(record: ImageRecord): Promise<CheckedRecord> {
  const { findings, pixels } = await checkImage(record);
  return {
    record,
    findings: [...findings, ...errorsOf(record), ...odditiesOf(record)],
    print: pixels && fingerprintOf(pixels),
  };
}

/** One pass over a dataset. */
class Check {
  readonly #dir: string;
  readonly #manifest: Manifest;
  readonly #dataset: Dataset;
  readonly #log: ProblemLog;
  readonly #evaluation: EvaluationImages;
  readonly #samples: SampleStatistics | null;
  readonly #advance: (rows?: number) => void;
  readonly #ids = new FirstRows();
  readonly #files = new FirstRows();
  readonly #looks = new LookAlikes();
  readonly #prints = new Lru<number, Promise<Fingerprint | null>>(KEPT_PRINTS);

  constructor(
    dir: string,
    manifest: Manifest,
    dataset: Dataset,
    log: ProblemLog,
    evaluation: EvaluationImages,
    samples: SampleStatistics | null,
    advance: (rows?: number) => void,
  ) {
    this.#dir = dir;
    this.#manifest = manifest;
    this.#dataset = dataset;
    this.#log = log;
    this.#evaluation = evaluation;
    this.#samples = samples;
    this.#advance = advance;
  }

  async run(): Promise<void> {
    let first = 0;
    for (const shard of this.#manifest.shards) {
      const wrong = await shardProblem(this.#dir, shard);
      if (wrong) {
        const unread = wrong.readable ? '' : ` (its ${shard.rows} rows were not read)`;
        this.#log.add({ kind: 'shard', problem: `${wrong.problem}${unread}` }, shard.file);
      }
      if (wrong?.readable === false) this.#advance(shard.rows);
      else await this.#checkRows(shard.file, first, shard.rows);
      first += shard.rows;
    }
  }

  async #checkRows(shard: string, first: number, count: number): Promise<void> {
    const rows = Array.from({ length: count }, (_, row) => row);
    let row = 0;
    for await (const checked of inOrder(rows, IN_FLIGHT, row => this.#read(first + row))) {
      if ('kind' in checked) this.#log.add(checked, shard, row);
      else {
        const { id } = checked.record;
        const beside = await this.#besideOthers(checked, first + row);
        for (const finding of [...checked.findings, ...beside]) this.#log.add(finding, shard, row, id);
        const sound = checked.findings.every(({ kind }) => severityOf(kind) === 'warning');
        const samples = sound ? (this.#samples?.add(checked.record, first + row) ?? []) : [];
        for (const finding of samples) this.#log.add(finding, shard, row, id);
      }
      row++;
      this.#advance();
    }
  }

  async #read(row: number): Promise<CheckedRecord | Finding> {
    try {
      return await checkRecord(await this.#dataset.read(row));
    } catch (thrown) {
      const problem = messageOf(thrown);
      return { kind: /linked image/.test(problem) ? 'image' : 'row', problem };
    }
  }

  /** What is wrong with a record only because there are others. */
  async #besideOthers({ record, print }: CheckedRecord, row: number): Promise<Finding[]> {
    const findings: Finding[] = [];
    const sameId = this.#ids.add(record.id, row);
    if (sameId !== null) {
      findings.push({ kind: 'id', problem: `has the same id as ${this.#placeOf(sameId)}` });
    }
    if (isTextAlone(record) || record.image.length === 0) return findings;
    const copied = this.#files.add(record.image, row);
    if (copied !== null) {
      findings.push({ kind: 'copy', problem: `image is the same file as that of ${this.#placeOf(copied)}` });
    } else if (print) {
      this.#prints.get(row, async () => print);
      const twin = await this.#lookAlike(print, row);
      if (twin !== null) {
        findings.push({ kind: 'look-alike', problem: `image looks like that of ${this.#placeOf(twin)}` });
      }
    }
    const leak = this.#evaluation.find(record.id, record.image, print);
    return leak ? [...findings, leak] : findings;
  }

  /** The first row whose image looks the same; remembers this one where there is none. */
  async #lookAlike(print: Fingerprint, row: number): Promise<number | null> {
    for (const other of this.#looks.find(print, MOST_COMPARED)) {
      const theirs = await this.#prints.get(other, async () => {
        const { print } = await checkRecord(await this.#dataset.read(other));
        return print;
      });
      if (theirs && looksAlike(theirs, print)) return other;
    }
    this.#looks.add(print, row);
    return null;
  }

  #placeOf(row: number): string {
    const { shard, row: inShard } = this.#dataset.placeOf(row);
    return `${shard} row ${inShard}`;
  }
}
