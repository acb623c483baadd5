/** Records and their views by dataset and row, with a bounded memory of those seen lately. */
import { GroundError, messageOf } from '../errors.ts';
import type { Views } from './image.ts';
import type { ImageRecord } from './record.ts';
import { prepareViews, type SampleContext } from './sample.ts';

/** What the loader needs of a dataset; `openDataset` gives it, and so does an array in tests. */
export interface RecordSource {
  readonly rows: number;
  read(row: number): Promise<ImageRecord>;
  /** Where a row lies, for messages and sample ids. */
  placeOf?(row: number): { readonly shard: string; readonly row: number };
  close?(): Promise<void>;
}

export interface Row {
  readonly record: ImageRecord;
  /** The image's views; decoded on first use. */
  views(): Promise<Views>;
}

const NO_BYTES = new Uint8Array(0);

/** One open dataset with what was read of it. Small datasets are decoded once for a whole run. */
export class RowReader {
  readonly dataset: string;
  readonly #source: RecordSource;
  readonly #context: SampleContext;
  readonly #capacity: number;
  readonly #held = new Map<number, Row>();

  /** Keeps rows worth about `cacheBytes`. */
  constructor(dataset: string, source: RecordSource, context: SampleContext, cacheBytes: number) {
    this.dataset = dataset;
    this.#source = source;
    this.#context = context;
    const { side, grids } = context.model.image;
    const tiles =
      context.views === 'global' ? 0 : Math.max(...grids.map(([columns, rows]) => columns * rows));
    // Views, and as much again as a guess for annotations.
    this.#capacity = Math.max(Math.floor(cacheBytes / (3 * side * side * (1 + tiles) + 4096)), 64);
  }

  get rows(): number {
    return this.#source.rows;
  }

  /** "shard:row" where the dataset knows it, else the row. */
  place(row: number): string {
    const place = this.#source.placeOf?.(row);
    return place ? `${place.shard}:${place.row}` : `${row}`;
  }

  /** Reads a row. Throws `data` naming dataset, shard and row. */
  async read(row: number): Promise<Row> {
    const held = this.#held.get(row);
    if (held) {
      this.#held.delete(row);
      this.#held.set(row, held);
      return held;
    }
    const read = this.#rowOf(await this.#named(row, () => this.#source.read(row)), row);
    this.#held.set(row, read);
    if (this.#held.size > this.#capacity) this.#held.delete(this.#held.keys().next().value ?? row);
    return read;
  }

  async close(): Promise<void> {
    this.#held.clear();
    await this.#source.close?.();
  }

  #rowOf(record: ImageRecord, row: number): Row {
    let encoded = record.image;
    let views: Promise<Views> | null = null;
    return {
      // Without the bytes: they are a window of a whole record batch and would keep it in memory.
      record: { ...record, image: NO_BYTES },
      views: () => {
        views ??= this.#named(row, () => prepareViews({ ...record, image: encoded }, this.#context)).finally(
          () => {
            encoded = NO_BYTES;
          },
        );
        return views;
      },
    };
  }

  async #named<T>(row: number, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      const hint = thrown instanceof GroundError ? thrown.hint : undefined;
      const code = thrown instanceof GroundError ? thrown.code : 'data';
      throw new GroundError(code, `${this.dataset}, ${this.place(row)}: ${messageOf(thrown)}`, {
        cause: thrown,
        ...(hint === undefined ? {} : { hint }),
      });
    }
  }
}
