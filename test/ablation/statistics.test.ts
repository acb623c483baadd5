import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Outcome, type Summary, summarize } from '../../scripts/ablation/statistics.ts';

const OPTIONS = { baseline: 'full', resamples: 400, seed: 0 };

/** Questions of one seed, two an image. */
const outcomes = (rights: readonly boolean[]): Outcome[] =>
  rights.map((isRight, i) => ({ key: `q${i}`, image: `${i >> 1}`, isRight }));

/** `share` of 40 questions are right, the first ones. */
const share = (rights: number): Outcome[] => outcomes(Array.from({ length: 40 }, (_, i) => i < rights * 40));

function scored(variants: Record<string, readonly (readonly Outcome[])[]>): Record<string, Summary> {
  return Object.fromEntries(summarize(new Map(Object.entries(variants)), OPTIONS));
}

describe('summarize', () => {
  test('means over seeds, each by itself beside it, within the interval', () => {
    const { full } = scored({ full: [share(0.5), share(0.6), share(0.7)] });
    expect(full?.seeds).toEqual([0.5, 0.6, 0.7]);
    expect(full?.mean).toBeCloseTo(0.6, 12);
    expect(full?.questions).toBe(120);
    expect(full?.difference).toBeNull();
    expect(full?.low).toBeLessThan(0.6);
    expect(full?.high).toBeGreaterThan(0.6);
  });

  test('the same answers differ by nothing', () => {
    const seeds = [share(0.3), share(0.8)];
    const { other } = scored({ full: seeds, other: seeds });
    expect(other?.difference).toMatchObject({ difference: 0, low: 0, high: 0, p: 1 });
  });

  test('differences are paired: seeds that are all better by the same are better beyond doubt', () => {
    const better = (base: number) => share(base + 0.1);
    const { other } = scored({
      full: [share(0.1), share(0.5), share(0.8)],
      other: [better(0.1), better(0.5), better(0.8)],
    });
    // Each alone is far less sure than their difference.
    expect(other?.difference?.difference).toBeCloseTo(0.1, 12);
    expect(other?.difference?.low).toBeGreaterThan(0);
    expect((other?.high ?? 0) - (other?.low ?? 0)).toBeGreaterThan(0.3);
  });

  test('a variant ahead in one seed and behind in another is not told apart', () => {
    const { other } = scored({
      full: [share(0.5), share(0.5), share(0.5)],
      other: [share(0.9), share(0.2), share(0.5)],
    });
    expect(other?.difference?.low).toBeLessThan(0);
    expect(other?.difference?.high).toBeGreaterThan(0);
  });

  test('seeds that differ widen the interval', () => {
    const { equal, unequal } = scored({
      full: [share(0.5), share(0.5), share(0.5)],
      equal: [share(0.5), share(0.5), share(0.5)],
      unequal: [share(0.1), share(0.5), share(0.9)],
    });
    const width = (summary: Summary | undefined) => (summary?.high ?? 0) - (summary?.low ?? 0);
    expect(width(unequal)).toBeGreaterThan(1.3 * width(equal));
  });

  test('refuses variants that were asked other questions', () => {
    expect(() => scored({ full: [share(0.5)], other: [outcomes([true, false])] })).toThrow(
      'other was asked other questions than full',
    );
  });

  test('does not depend on the order of answers, and always holds its mean between 0 and 1', () => {
    const seed = fc.array(fc.boolean(), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(fc.array(seed, { minLength: 1, maxLength: 3 }), seeds => {
        const own = seeds.map(outcomes);
        const { full, turned } = scored({ full: own, turned: own.map(some => [...some].reverse()) });
        expect(turned).toEqual({ ...full, difference: expect.objectContaining({ difference: 0 }) });
        expect(full?.low).toBeGreaterThanOrEqual(0);
        expect(full?.high).toBeLessThanOrEqual(1);
      }),
      { numRuns: 20 },
    );
  });
});
