/** What can be wrong with a dataset, by kind, and the log in which it is gathered. */

/**
 * Everything that is looked for. An error is what training refuses (`on_bad_sample`), what makes a shard unreadable, or
 * what the dataset must not have as a whole; a warning is what training takes as it is and a person should know.
 */
export const PROBLEM_KINDS = {
  shard: { severity: 'error', what: 'shards that are missing, cut, altered or of another schema' },
  row: { severity: 'error', what: 'rows that cannot be read' },
  image: { severity: 'error', what: 'images that are missing or cannot be decoded' },
  size: { severity: 'error', what: 'images of another size than recorded' },
  box: { severity: 'error', what: 'boxes and points that are inverted, empty or outside of the image' },
  mask: { severity: 'error', what: 'masks of another size, or damaged' },
  text: { severity: 'error', what: 'texts that are empty or garbled' },
  answer: { severity: 'error', what: 'empty answers' },
  untrained: { severity: 'error', what: 'samples of which nothing is trained on' },
  span: { severity: 'error', what: 'spans outside of their caption, or of unknown objects' },
  relation: { severity: 'error', what: 'relations of unknown objects' },
  sample: { severity: 'error', what: 'samples that cannot be written in tokens' },
  id: { severity: 'error', what: 'ids that occur twice' },
  leak: { severity: 'error', what: 'images of evaluation sets, by id or file' },
  'odd-image': { severity: 'warning', what: 'images with a side of one pixel' },
  orientation: { severity: 'warning', what: 'images with an EXIF orientation' },
  colours: { severity: 'warning', what: 'CMYK images' },
  'odd-mask': { severity: 'warning', what: 'masks that are empty or lie elsewhere than their box' },
  'odd-text': { severity: 'warning', what: 'control characters, line breaks, empty questions' },
  'odd-relation': { severity: 'warning', what: 'objects in relation to themselves' },
  length: { severity: 'warning', what: 'samples longer than the model takes' },
  copy: { severity: 'warning', what: 'images that are there twice, to the byte' },
  'look-alike': { severity: 'warning', what: 'images that look the same' },
  'leak-alike': { severity: 'warning', what: 'images that look like those of evaluation sets' },
} as const satisfies Record<string, { severity: 'error' | 'warning'; what: string }>;

export type ProblemKind = keyof typeof PROBLEM_KINDS;
export type Severity = 'error' | 'warning';

/** Something found in a row or shard, place left out. */
export interface Finding {
  readonly kind: ProblemKind;
  readonly problem: string;
}

export interface Problem extends Finding {
  readonly severity: Severity;
  /** File name of the shard, or of the manifest where the dataset as a whole is at fault. */
  readonly shard: string;
  /** Row inside the shard; null where the shard as a whole is at fault. */
  readonly row: number | null;
  readonly id: string | null;
}

/** Problems in the order in which they were found: all are counted, the first `limit` of each kind are kept. */
export class ProblemLog {
  readonly #limit: number;
  readonly #problems: Problem[] = [];
  readonly #totals = new Map<ProblemKind, number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  add({ kind, problem }: Finding, shard: string, row: number | null = null, id: string | null = null): void {
    const before = this.#totals.get(kind) ?? 0;
    this.#totals.set(kind, before + 1);
    if (before >= this.#limit) return;
    this.#problems.push({ severity: severityOf(kind), kind, shard, row, id, problem });
  }

  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** How often each kind was met; kinds that were not are left out. */
  get totals(): Readonly<Partial<Record<ProblemKind, number>>> {
    return Object.fromEntries(this.#totals);
  }

  count(severity: Severity): number {
    let count = 0;
    for (const [kind, times] of this.#totals) if (severityOf(kind) === severity) count += times;
    return count;
  }
}

export function severityOf(kind: ProblemKind): Severity {
  return PROBLEM_KINDS[kind].severity;
}
