/** Confidence intervals and comparisons by resampling, with whole images as units: questions about one image are alike. */
import { Random } from '../../random.ts';

/** The middle 95 % of the resampled values. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** The difference of two systems on the same questions. */
export interface Difference extends Interval {
  /** The second minus the first. */
  readonly difference: number;
  /** Two-sided: how often a difference as far from zero on the other side would be drawn; never below 1 / (resamples + 1). */
  readonly p: number;
}

const TAIL = 0.025;

/**
 * Draws as many groups as there are, with replacement, `resamples` times, and hands each draw to `use`. The draws depend on
 * the seed and the number of groups alone, so that two systems with the same groups see the same draws.
 */
export function resample<T>(
  groups: readonly (readonly T[])[],
  { seed, resamples }: { readonly seed: number; readonly resamples: number },
  use: (drawn: T[]) => void,
): void {
  const random = new Random(seed, 'bootstrap');
  for (let i = 0; i < resamples; i++) {
    use(groups.flatMap(() => groups[random.int(0, groups.length)] ?? []));
  }
}

/** The interval of resampled values; null of none. */
export function intervalOf(values: readonly number[]): Interval | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return { low: quantile(sorted, TAIL), high: quantile(sorted, 1 - TAIL) };
}

/** A difference with its interval and p, from the differences of the draws; null of none. */
export function differenceOf(difference: number, draws: readonly number[]): Difference | null {
  const interval = intervalOf(draws);
  if (!interval) return null;
  const tail = (test: (value: number) => boolean): number =>
    (draws.filter(test).length + 1) / (draws.length + 1);
  const p = Math.min(
    1,
    2 *
      Math.min(
        tail(value => value <= 0),
        tail(value => value >= 0),
      ),
  );
  return { difference, ...interval, p };
}

/** Linear between the two values around, as NumPy's default. `sorted` rises and is not empty. */
function quantile(sorted: readonly number[], share: number): number {
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? 0;
  const above = sorted[Math.ceil(place)] ?? below;
  return below + (above - below) * (place - Math.floor(place));
}
