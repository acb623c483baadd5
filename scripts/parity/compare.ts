/** The comparison of what was computed with what a case expects, by the rules that its meta.json gives. */
import type { FixtureCase, Tolerance, Values } from './case.ts';
import type { Results } from './results.ts';

/** One expected tensor or table, compared. */
export interface Comparison {
  readonly tensor: string;
  /** Why it was not compared: what the case's README says of it. */
  readonly skipped?: string;
  /** Largest difference found (of gradients that are zero in exact arithmetic: largest magnitude), and allowed. */
  readonly error: number;
  readonly allowed: number;
  /** Error and allowance as shares of the largest magnitude expected; 0 where only zeros are expected. */
  readonly relative: number;
  readonly relativeAllowed: number;
  readonly passes: boolean;
}

/** Equality to the bit. */
export const EXACT: Tolerance = { rtol: 0, atol: 0 };

/**
 * Compares every tensor of the case that is no input with what was computed, and adds the runner's own checks. A tensor
 * that was not computed, has another shape or holds NaN fails with an infinite error.
 */
export function compare(fixture: FixtureCase, got: Results): Comparison[] {
  const wanted = [...fixture.io].filter(([name]) => !name.startsWith('in.'));
  const tensors = wanted.map(([tensor, want]): Comparison => {
    const skipped = got.skipped(tensor);
    if (skipped !== undefined) return { ...judged(tensor, 0, 0, 0), skipped };
    const have = got.values.get(tensor);
    if (have === undefined || have.shape.join() !== want.shape.join()) return failed(tensor);
    return difference(fixture, tensor, have, want, got.tolerance(tensor));
  });
  return [...tensors, ...got.checks];
}

/** A comparison that no tolerance can save. */
export function failed(tensor: string): Comparison {
  return judged(tensor, Number.POSITIVE_INFINITY, 0, 1);
}

/** Two lists of numbers under a tolerance; lists of different lengths fail. */
export function compareLists(
  tensor: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  { rtol, atol }: Tolerance,
): Comparison {
  if (got.length !== want.length) return failed(tensor);
  const magnitude = largest(want);
  return judged(tensor, largestGap(got, want), atol + rtol * magnitude, magnitude);
}

function judged(tensor: string, error: number, allowed: number, magnitude: number): Comparison {
  const share = (x: number): number => (magnitude === 0 ? 0 : x / magnitude);
  return {
    tensor,
    error,
    allowed,
    relative: share(error),
    relativeAllowed: share(allowed),
    passes: error <= allowed,
  };
}

/** The group of a tensor, by which meta.json gives tolerances. */
export function groupOf(name: string, { data }: Values): 'grad' | 'scalar' | 'out' {
  if (name.startsWith('grad.')) return 'grad';
  return data.length === 1 ? 'scalar' : 'out';
}

function difference(
  { meta, io }: FixtureCase,
  name: string,
  got: Values,
  want: Values,
  own: Tolerance | undefined,
): Comparison {
  if (want.data instanceof Int32Array) {
    const ordered = meta.compare_as_sets.includes(name) ? sortedRows : (v: Values) => v.data;
    return compareLists(name, ordered(got), ordered(want), EXACT);
  }
  const tolerance = own ?? meta.tolerance[groupOf(name, want)];
  if (tolerance === undefined) return failed(name);
  if (meta.analytically_zero.includes(name)) {
    return judged(name, largest(got.data), tolerance.zero_atol ?? 0, 0);
  }
  const where = meta.compare_where[name];
  if (where === undefined) return compareLists(name, got.data, want.data, tolerance);
  const mask = io.get(where)?.data;
  if (mask === undefined) return failed(name);
  const kept = keptBy(mask, want.data.length / mask.length);
  return compareLists(name, got.data.filter(kept), want.data.filter(kept), tolerance);
}

/** Whether the mask, one value for every `width` values, keeps the value at an index. */
function keptBy(mask: ArrayLike<number>, width: number): (value: number, index: number) => boolean {
  return (_, index) => mask[Math.floor(index / width)] !== 0;
}

/** Largest |a - b|; infinite where a value is NaN. */
function largestGap(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let gap = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs((a[i] ?? Number.NaN) - (b[i] ?? Number.NaN));
    gap = Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(gap, d);
  }
  return gap;
}

function largest(data: ArrayLike<number>): number {
  return largestGap(data, new Float32Array(data.length));
}

function sortedRows({ shape, data }: Values): Int32Array {
  const width = shape[shape.length - 1] ?? 1;
  const out = Int32Array.from(data);
  for (let i = 0; i < out.length; i += width) out.subarray(i, i + width).sort();
  return out;
}
