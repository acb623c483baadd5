/** Records and their views by dataset and row, with a bounded memory of those seen lately. */
import { GroundError } from '../errors.ts';
import { imageKey } from './feature-store.ts';
import { Gate } from './gate.ts';
import type { Views } from './image.ts';
import { Lru } from './lru.ts';
import { errorAt } from './naming.ts';
import type { Annotations, ImageRecord } from './record.ts';
import { prepareViews, type SampleContext } from './sample.ts';
import { errorsOf } from './validation/annotations.ts';

/** What the loader needs of a dataset; `openDataset` gives it, and so does an array in tests. */
export interface RecordSource {
  readonly rows: number;
  read(row: number): Promise<ImageRecord>;
  /** Where a row lies, for messages and sample ids. */
  placeOf?(row: number): { readonly shard: string; readonly row: number };
  close?(): Promise<void>;
}

export interface Row {
  readonly record: Annotations;
  /** Bytes of the encoded image. */
  readonly imageBytes: number;
  /** The image's views; decoded on first use. */
  views(): Promise<Views>;
  /** Names the image by its content; worked out on first use. */
  imageKey(): Promise<string>;
}

interface Held {
  /** Without the bytes of the image: they have a bound of their own. */
  readonly record: Annotations;
  readonly imageBytes: number;
  views: Promise<Views> | null;
  key: Promise<string> | null;
}

/** Encoded images that wait between the reading of a row and its decoding, bytes; beyond it they are read again. */
const ENCODED_BYTES = 16 * 2 ** 20;

/**
 * Images of one thread that are decoded at once: as many as libuv has threads for. What is decoded is up to a hundred times
 * larger than the file, so a batch must not have all of its images in memory at the same time.
 */
const DECODES = 4;
const decodes = new Gate(DECODES);

/** One open dataset with what was read of it. Small datasets are decoded once for a whole run. */
export class RowReader {
  readonly dataset: string;
  readonly #source: RecordSource;
  readonly #context: SampleContext;
  readonly #held: Lru<number, Promise<Held>>;
  readonly #encoded = new Map<number, Uint8Array>();
  #encodedBytes = 0;

  /** Keeps rows worth about `cacheBytes`. */
  constructor(dataset: string, source: RecordSource, context: SampleContext, cacheBytes: number) {
    this.dataset = dataset;
    this.#source = source;
    this.#context = context;
    const { side, grids } = context.model.image;
    const tiles =
      context.views === 'global' ? 0 : Math.max(...grids.map(([columns, rows]) => columns * rows));
    // Views, and a guess for annotations.
    const rowBytes = 3 * side * side * (1 + tiles) + 8192;
    this.#held = new Lru(Math.max(Math.floor(cacheBytes / rowBytes), 1));
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
    const held = await this.#held.get(row, async () => {
      const { image, ...record } = await this.#readRecord(row);
      this.#keep(row, image);
      return { record, imageBytes: image.length, views: null, key: null };
    });
    const decode = async (): Promise<Views> => {
      const image = this.#take(row) ?? (await this.#readRecord(row)).image;
      try {
        return await prepareViews({ ...held.record, image }, this.#context);
      } catch (thrown) {
        throw errorAt(`${this.dataset}, ${this.place(row)}`, thrown);
      }
    };
    const digest = async (): Promise<string> => {
      // It waits on: the image may have to be decoded after all.
      const image = this.#encoded.get(row) ?? (await this.#readRecord(row)).image;
      return imageKey({ ...held.record, image });
    };
    return {
      record: held.record,
      imageBytes: held.imageBytes,
      views: () => {
        held.views ??= decodes.run(decode);
        return held.views;
      },
      imageKey: () => {
        held.key ??= digest();
        return held.key;
      },
    };
  }

  async close(): Promise<void> {
    this.#held.clear();
    this.#encoded.clear();
    await this.#source.close?.();
  }

  #keep(row: number, image: Uint8Array): void {
    this.#take(row);
    this.#encoded.set(row, image);
    this.#encodedBytes += image.length;
    for (const [oldest] of this.#encoded) {
      if (this.#encodedBytes <= ENCODED_BYTES) break;
      this.#take(oldest);
    }
  }

  /** The encoded image of a row where it waits; it then waits no longer. */
  #take(row: number): Uint8Array | undefined {
    const image = this.#encoded.get(row);
    if (image === undefined) return undefined;
    this.#encoded.delete(row);
    this.#encodedBytes -= image.length;
    return image;
  }

  async #readRecord(row: number): Promise<ImageRecord> {
    try {
      const record = await this.#source.read(row);
      checkAnnotations(record);
      return record;
    } catch (thrown) {
      this.#held.delete(row);
      throw errorAt(`${this.dataset}, ${this.place(row)}`, thrown);
    }
  }
}

/** What is wrong in the annotations would be taught. Throws `data` with the first error of the record. */
function checkAnnotations(record: ImageRecord): void {
  for (const { problem } of errorsOf(record)) {
    throw new GroundError('data', `${record.id}, ${problem}`, {
      hint: '`ground data validate` lists all such errors; mend the annotations and build the dataset again',
    });
  }
}
