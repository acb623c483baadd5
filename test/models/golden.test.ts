import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tensorCount } from '../../src/engine/memory.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { compare, readCase } from '../helpers/fixture.ts';
import { parityRunners, runParityCase } from '../helpers/parity/index.ts';

const fixtures = join(import.meta.dirname, '../fixtures');
const cases = readdirSync(fixtures).filter(name => /^(clip|dinov2|qwen2|llama|ferret|losses)/.test(name));

beforeAll(startTestEngine);

describe('networks equal their reference implementations', () => {
  let before = 0;
  beforeAll(() => {
    before = tensorCount();
  });

  it.each(cases)('%s', async name => {
    const comparisons = await runParityCase(join(fixtures, name));
    expect(comparisons.filter(c => !c.passes)).toEqual([]);
    expect(comparisons.filter(c => c.skipped === undefined).length).toBeGreaterThan(10);
  });

  afterAll(() => {
    expect(tensorCount()).toBe(before);
  });
});

describe('the comparison itself', () => {
  it('fails on a value off by twice the tolerance, on NaN, on a missing tensor and on another shape', async () => {
    const fixture = await readCase(join(fixtures, 'losses'));
    const got = new Map(parityRunners.losses?.(fixture));
    const verdict = (tensor: string) => compare(fixture, got).find(c => c.tensor === tensor)?.passes;
    const exact = fixture.io.get('out.ce_sum');
    if (exact === undefined) throw new Error('the case has changed');
    expect(verdict('out.ce_sum')).toBe(true);
    got.set('out.ce_sum', { shape: [], data: Float32Array.from(exact.data, x => x * (1 + 1e-4)) });
    expect(verdict('out.ce_sum')).toBe(false);
    got.set('out.ce_sum', { shape: [], data: Float32Array.of(Number.NaN) });
    expect(verdict('out.ce_sum')).toBe(false);
    got.set('out.ce_sum', { shape: [1], data: Float32Array.from(exact.data) });
    expect(verdict('out.ce_sum')).toBe(false);
    got.delete('out.ce_sum');
    expect(verdict('out.ce_sum')).toBe(false);
  });
});
