/** Samples to rows of one length: first fit, and what does not fit waits for the next rows. */

/** Anything that takes up positions of a row. */
export interface Packable {
  readonly length: number;
}

/**
 * Packs a stream into `rows` rows of `length` positions at a time. Each sample goes into the first row that has room for
 * it; one that finds none waits. When `window` samples wait, the rows are done and those that wait come first in the next
 * ones, in their order, so that none waits for ever. What is packed depends on the stream and on who waits, on nothing else.
 */
export class Packer<T extends Packable> {
  readonly #shape: { readonly rows: number; readonly length: number; readonly window: number };
  #waiting: T[];

  /** Each of `waiting` must fit a row. */
  constructor(
    shape: { readonly rows: number; readonly length: number; readonly window: number },
    waiting: readonly T[] = [],
  ) {
    this.#shape = shape;
    this.#waiting = [...waiting];
  }

  /** Samples drawn that are in no row yet. */
  get waiting(): readonly T[] {
    return this.#waiting;
  }

  /** The next rows. `draw` gives samples no longer than a row. */
  async next(draw: () => Promise<T>): Promise<T[][]> {
    const { rows, length, window } = this.#shape;
    const open = Array.from({ length: rows }, (): { left: number; samples: T[] } => ({
      left: length,
      samples: [],
    }));
    const fits = (sample: T): boolean => {
      const row = open.find(({ left }) => left >= sample.length);
      if (!row) return false;
      row.left -= sample.length;
      row.samples.push(sample);
      return true;
    };
    this.#waiting = this.#waiting.filter(sample => !fits(sample));
    while (this.#waiting.length < window) {
      const sample = await draw();
      if (!fits(sample)) this.#waiting.push(sample);
    }
    return open.map(({ samples }) => samples);
  }
}
