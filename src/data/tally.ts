/** Numbers counted by value, so that their median is known without keeping each of them. */

/** Least, middle and greatest of some numbers, and their mean; zeros where there are none. */
export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
  readonly mean: number;
}

/** Different values kept apart; beyond it they are rounded to three digits. */
const MOST_VALUES = 4096;

/** Counts numbers in bounded memory: exact up to 4096 different values, their quantiles to three digits beyond. */
export class Tally {
  #counts = new Map<number, number>();
  #rounded = false;
  #count = 0;
  #sum = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;

  get count(): number {
    return this.#count;
  }

  get sum(): number {
    return this.#sum;
  }

  add(value: number): void {
    this.#count++;
    this.#sum += value;
    this.#min = Math.min(this.#min, value);
    this.#max = Math.max(this.#max, value);
    this.#increase(value, 1);
  }

  spread(): Spread {
    if (this.#count === 0) return { min: 0, median: 0, max: 0, mean: 0 };
    return { min: this.#min, median: this.quantile(0.5), max: this.#max, mean: this.#sum / this.#count };
  }

  /** The value below which a share of the numbers lies; 0 where there are none. */
  quantile(share: number): number {
    let left = Math.floor(this.#count * share);
    for (const [value, times] of [...this.#counts].sort(([a], [b]) => a - b)) {
      if (left < times) return Math.min(Math.max(value, this.#min), this.#max);
      left -= times;
    }
    return this.#count === 0 ? 0 : this.#max;
  }

  /** How many numbers lie below each of the ascending `edges` and not below the one before; the last count is of all above. */
  histogram(edges: readonly number[]): number[] {
    const counts = new Array<number>(edges.length + 1).fill(0);
    for (const [value, times] of this.#counts) {
      const bin = edges.findIndex(edge => value < edge);
      counts[bin < 0 ? edges.length : bin]! += times;
    }
    return counts;
  }

  #increase(value: number, times: number): void {
    const key = this.#rounded ? Number(value.toPrecision(3)) : value;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + times);
    if (this.#rounded || this.#counts.size <= MOST_VALUES) return;
    const exact = this.#counts;
    this.#counts = new Map();
    this.#rounded = true;
    for (const [known, count] of exact) this.#increase(known, count);
  }
}

/** Names counted, the most frequent first, then in order of the alphabet. */
export class NameCounts {
  readonly #counts = new Map<string, number>();

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  toRecord(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)));
  }
}
