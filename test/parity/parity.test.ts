import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCase } from '../../scripts/parity/case.ts';
import { runLosses } from '../../scripts/parity/cases/losses.ts';
import { compare } from '../../scripts/parity/compare.ts';
import { runCase } from '../../scripts/parity/index.ts';
import { tensorCount } from '../../src/engine/memory.ts';
import { startTestEngine } from '../helpers/engine.ts';

const fixtures = join(import.meta.dirname, '../fixtures');
const cases = readdirSync(fixtures).filter(
  name =>
    /^(clip|dinov2|qwen2|llama|ferret|losses)/.test(name) && existsSync(join(fixtures, name, 'meta.json')),
);

beforeAll(startTestEngine);

describe('networks equal their reference implementations', () => {
  let before = 0;
  beforeAll(() => {
    before = tensorCount();
  });

  it.each(cases)('%s', async name => {
    const comparisons = await runCase(join(fixtures, name));
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
    const got = runLosses(fixture);
    const verdict = (tensor: string) => compare(fixture, got).find(c => c.tensor === tensor)?.passes;
    const exact = fixture.io.get('out.ce_sum');
    if (exact === undefined) throw new Error('the case has changed');
    expect(verdict('out.ce_sum')).toBe(true);
    got.set(
      'out.ce_sum',
      [],
      Float32Array.from(exact.data, x => x * (1 + 1e-4)),
    );
    expect(verdict('out.ce_sum')).toBe(false);
    got.set('out.ce_sum', [], Float32Array.of(Number.NaN));
    expect(verdict('out.ce_sum')).toBe(false);
    got.set('out.ce_sum', [1], Float32Array.from(exact.data));
    expect(verdict('out.ce_sum')).toBe(false);
    got.values.delete('out.ce_sum');
    expect(verdict('out.ce_sum')).toBe(false);
  });
});
