import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { candidates, checkSampling, drawToken, likeliest } from '../../src/eval/sampling.ts';
import { Random } from '../../src/random.ts';

const open = { temperature: 1, topK: 0, topP: 1 };
const scores = fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 1, maxLength: 30 });

/** The definition, in plain arithmetic. */
function softmax(values: readonly number[], temperature: number): number[] {
  const exponentials = values.map(value => Math.exp(value / temperature));
  const total = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map(value => value / total);
}

describe('candidates', () => {
  it('are all tokens with their softmax where nothing is cut', () => {
    fc.assert(
      fc.property(scores, fc.double({ min: 0.2, max: 3, noNaN: true }), (values, temperature) => {
        const wanted = softmax(values, temperature);
        const found = candidates(values, { ...open, temperature });
        expect(found).toHaveLength(values.length);
        for (const { token, probability } of found) expect(probability).toBeCloseTo(wanted[token] ?? -1, 10);
      }),
    );
  });

  it('are the k most probable under top-k, and those that equal the last of them', () => {
    expect(candidates([1, 3, 2, 0], { ...open, topK: 2 }).map(c => c.token)).toEqual([1, 2]);
    expect(candidates([1, 3, 2, 2], { ...open, topK: 2 }).map(c => c.token)).toEqual([1, 2, 3]);
    expect(candidates([1, 3], { ...open, topK: 9 })).toHaveLength(2);
  });

  it('are the fewest that have probability p together under top-p, and never none', () => {
    fc.assert(
      fc.property(scores, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, topP) => {
        const all = softmax(values, 1);
        const found = candidates(values, { ...open, topP });
        const mass = (count: number): number =>
          found.slice(0, count).reduce((sum, { token }) => sum + (all[token] ?? 0), 0);
        expect(found.length).toBeGreaterThan(0);
        if (found.length > 1) expect(mass(found.length - 1)).toBeLessThan(topP + 1e-9);
        if (found.length < values.length) expect(mass(found.length)).toBeGreaterThanOrEqual(topP - 1e-9);
        expect(found.reduce((sum, c) => sum + c.probability, 0)).toBeCloseTo(1, 10);
      }),
    );
  });

  it('equal transformers: temperature, then top-k, then top-p of what is left', () => {
    // Probabilities 0.5, 0.3, 0.15, 0.05; of the first three 0.526, 0.316, 0.158.
    const values = [0.5, 0.3, 0.15, 0.05].map(Math.log);
    const found = candidates(values, { temperature: 1, topK: 3, topP: 0.8 });
    expect(found.map(c => c.token)).toEqual([0, 1]);
    expect(found[0]?.probability).toBeCloseTo(0.625, 10);
  });
});

describe('drawToken', () => {
  it('draws as often as the probabilities say', () => {
    const values = [0.5, 0.3, 0.15, 0.05].map(Math.log);
    const random = new Random('draws');
    const counts = [0, 0, 0, 0];
    const draws = 20_000;
    for (let i = 0; i < draws; i++) {
      const token = drawToken(values, { ...open, seed: 0 }, random);
      counts[token] = (counts[token] ?? 0) + 1;
    }
    // Five standard deviations of the first are 0.018.
    for (const [token, wanted] of [0.5, 0.3, 0.15, 0.05].entries()) {
      expect(Math.abs((counts[token] ?? 0) / draws - wanted)).toBeLessThan(0.018);
    }
  });

  it('takes the most probable token at top-k 1 and at a temperature near 0', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: -50, max: 50 }), { minLength: 1 }), values => {
        const random = new Random('greedy');
        const best = likeliest(values);
        expect(drawToken(values, { ...open, topK: 1, seed: 0 }, random)).toBe(best);
        expect(drawToken(values, { ...open, temperature: 1e-3, seed: 0 }, random)).toBe(best);
      }),
    );
  });
});

describe('likeliest', () => {
  it('is the first of the largest', () => {
    expect(likeliest([-3, -1, -1])).toBe(1);
    expect(likeliest([Number.NEGATIVE_INFINITY])).toBe(0);
  });
});

describe('checkSampling', () => {
  it.each([
    [{ temperature: 0 }, 'temperature'],
    [{ temperature: Number.NaN }, 'temperature'],
    [{ topK: -1 }, 'top-k'],
    [{ topK: 1.5 }, 'top-k'],
    [{ topP: 0 }, 'top-p'],
    [{ topP: 1.1 }, 'top-p'],
    [{ seed: 0.5 }, 'seed'],
  ])('refuses %j', (wrong, name) => {
    expect(() => checkSampling({ ...open, seed: 0, ...wrong })).toThrow(name);
  });

  it('takes what draws something', () => {
    expect(() => checkSampling({ temperature: 0.7, topK: 50, topP: 0.9, seed: 3 })).not.toThrow();
  });
});
