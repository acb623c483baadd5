/** Which labels a dataset has, and which of them are seen together: what makes an absent label plausible. */
import type { Annotations } from '../record.ts';

/** Counts over images; an image counts once for a label, however many objects have it. */
export class LabelStatistics {
  readonly #images = new Map<string, number>();
  readonly #together = new Map<string, Map<string, number>>();
  #listsAbsent = false;

  /** The statistics of some records. */
  static of(records: Iterable<Pick<Annotations, 'objects' | 'absent'>>): LabelStatistics {
    const statistics = new LabelStatistics();
    for (const record of records) statistics.add(record);
    return statistics;
  }

  add({ objects, absent }: Pick<Annotations, 'objects' | 'absent'>): void {
    if (absent && absent.length > 0) this.#listsAbsent = true;
    const labels = [...new Set(objects.map(object => object.label))];
    for (const label of labels) {
      this.#images.set(label, (this.#images.get(label) ?? 0) + 1);
      const row = this.#together.get(label) ?? new Map<string, number>();
      this.#together.set(label, row);
      for (const other of labels) if (other !== label) row.set(other, (row.get(other) ?? 0) + 1);
    }
  }

  /** Sorted. */
  get labels(): string[] {
    return [...this.#images.keys()].sort();
  }

  /**
   * Whether some record says which labels were looked for and not found (LVIS). Then annotation was not exhaustive, and
   * a label that is missing from a record proves nothing.
   */
  get listsAbsent(): boolean {
    return this.#listsAbsent;
  }

  /** The share of the images with `label` that have `other` too; 0 for an unknown label. */
  shareWith(label: string, other: string): number {
    return (this.#together.get(label)?.get(other) ?? 0) / (this.#images.get(label) ?? 1);
  }
}
