/** Images of evaluation sets, and images met before: by their ids and by how they look. */
import type { Dataset } from '../dataset.ts';
import { decodeImage } from '../image.ts';
import { type Fingerprint, FingerprintIndex, fingerprintOf, isSameImage } from '../image-hash.ts';
import { inOrder } from '../in-order.ts';
import type { ImageRecord } from '../record.ts';

/** Images decoded at once. */
export const IN_FLIGHT = 4;

/** Knows the images of datasets that models are scored on. */
export class LeakGuard {
  readonly #ids = new Set<string>();
  readonly #looks = new FingerprintIndex();
  #unreadable = 0;

  /** Images that could not be decoded: they are known by their ids alone. */
  get unreadable(): number {
    return this.#unreadable;
  }

  get images(): number {
    return this.#ids.size;
  }

  /** Reads all of a dataset. Throws where a row cannot be read. */
  async add(dataset: Dataset, onRow: () => void): Promise<void> {
    for await (const { id, print } of inOrder(rowsOf(dataset), IN_FLIGHT, async row => {
      const record = await dataset.read(row);
      return { id: record.id, print: await lookOf(record) };
    })) {
      this.#ids.add(id);
      if (print) this.#looks.add(print, id);
      else if (print === null) this.#unreadable++;
      onRow();
    }
  }

  /** Why an image must not be trained on; null where nothing is known against it. */
  reasonAgainst(id: string, print: Fingerprint): string | null {
    if (this.#ids.has(id)) return 'in an evaluation set, by id';
    return this.#looks.find(print) === null ? null : 'in an evaluation set, by its looks';
  }
}

/** Images seen so far, each to be used once. */
export class SeenImages {
  readonly #ids = new Set<string>();
  readonly #looks = new Map<bigint, Fingerprint[]>();

  /** Remembers an image; says why it is not a new one. Looks are compared among images of exactly one hash. */
  reasonAgainst(id: string, print: Fingerprint): string | null {
    if (this.#ids.has(id)) return 'there twice, by id';
    this.#ids.add(id);
    const alike = this.#looks.get(print.hash) ?? [];
    if (alike.some(other => isSameImage(other, print))) return 'there twice, by its looks';
    this.#looks.set(print.hash, [...alike, print]);
    return null;
  }
}

/** The fingerprint of a record's image; null where it cannot be decoded, undefined where it has none. */
export async function lookOf(record: ImageRecord): Promise<Fingerprint | null | undefined> {
  if (record.width === 0) return undefined;
  try {
    return fingerprintOf(await decodeImage(record));
  } catch {
    return null;
  }
}

export function* rowsOf({ rows }: { readonly rows: number }): Generator<number> {
  for (let row = 0; row < rows; row++) yield row;
}
