import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FixtureCase, Values } from '../../scripts/parity/case.ts';
import { compare } from '../../scripts/parity/compare.ts';
import { runnerOf } from '../../scripts/parity/index.ts';
import type { CaseReport } from '../../scripts/parity/report.ts';
import { Results } from '../../scripts/parity/results.ts';

const fixtures = join(import.meta.dirname, '../fixtures/parity');
const floats = (shape: readonly number[], ...data: number[]): Values => ({
  shape,
  data: Float32Array.from(data),
});
const integers = (shape: readonly number[], ...data: number[]): Values => ({
  shape,
  data: Int32Array.from(data),
});

/** A case that expects the tensors given, with tolerances of 1e-3 (out), 1e-2 (scalar) and 1e-1 (grad). */
function caseOf(io: Record<string, Values>, meta: Partial<FixtureCase['meta']> = {}): FixtureCase {
  const group = (rtol: number) => ({ rtol, atol: 0, zero_atol: 1e-5 });
  return {
    name: 'case',
    dir: '',
    rawMeta: {},
    config: undefined,
    weights: new Map(),
    io: new Map(Object.entries(io)),
    meta: {
      tolerance: { out: group(1e-3), scalar: group(1e-2), grad: group(1e-1) },
      analytically_zero: [],
      compare_where: {},
      compare_as_sets: [],
      ...meta,
    },
  };
}

/** Whether a case passes on results with the tensors given. */
function passes(
  fixture: FixtureCase,
  got: Record<string, Values>,
  prepare: (r: Results) => void = () => {},
): boolean {
  const results = new Results();
  for (const [name, { shape, data }] of Object.entries(got)) results.set(name, shape, data);
  prepare(results);
  return compare(fixture, results).every(c => c.passes);
}

describe('a tensor', () => {
  const fixture = caseOf({ 'in.x': floats([1], 5), 'out.x': floats([2], 1, 100) });

  it('may be off by a share of its largest value', () => {
    expect(passes(fixture, { 'out.x': floats([2], 1.09, 100) })).toBe(true);
    expect(passes(fixture, { 'out.x': floats([2], 1.11, 100) })).toBe(false);
  });

  it('may not be missing, misshapen or not a number', () => {
    expect(passes(fixture, {})).toBe(false);
    expect(passes(fixture, { 'out.x': floats([1, 2], 1, 100) })).toBe(false);
    expect(passes(fixture, { 'out.x': floats([2], Number.NaN, 100) })).toBe(false);
  });

  it('is compared by the tolerance of its group, or by the one that a runner names', () => {
    const grouped = caseOf({ 'out.s': floats([], 1), 'grad.x': floats([1], 1) });
    expect(passes(grouped, { 'out.s': floats([], 1.009), 'grad.x': floats([1], 1.09) })).toBe(true);
    expect(passes(grouped, { 'out.s': floats([], 1.011), 'grad.x': floats([1], 1.09) })).toBe(false);
    expect(passes(grouped, { 'out.s': floats([], 1.009), 'grad.x': floats([1], 1.11) })).toBe(false);
    const stricter = (r: Results): void => r.compareWith(/^out\.s$/, { rtol: 1e-3, atol: 0 });
    expect(passes(grouped, { 'out.s': floats([], 1.009), 'grad.x': floats([1], 1) }, stricter)).toBe(false);
  });

  it('without any tolerance fails', () => {
    expect(passes(caseOf({ 'out.x': floats([1], 1) }, { tolerance: {} }), { 'out.x': floats([1], 1) })).toBe(
      false,
    );
  });

  it('is left out only where a runner says so', () => {
    expect(passes(fixture, {}, r => r.leaveOut(/^out\.x$/, 'the README says so'))).toBe(true);
  });
});

it('gradients that are zero in exact arithmetic are compared with zero', () => {
  const fixture = caseOf({ 'grad.b': floats([2], 3e-9, 0) }, { analytically_zero: ['grad.b'] });
  expect(passes(fixture, { 'grad.b': floats([2], -9e-6, 0) })).toBe(true);
  expect(passes(fixture, { 'grad.b': floats([2], -2e-5, 0) })).toBe(false);
});

it('rows that a mask hides are not compared, the others are', () => {
  const fixture = caseOf(
    { 'in.mask': integers([2], 1, 0), 'out.x': floats([2, 2], 1, 2, 3, 4) },
    { compare_where: { 'out.x': 'in.mask' } },
  );
  expect(passes(fixture, { 'out.x': floats([2, 2], 1, 2, 30, 40) })).toBe(true);
  expect(passes(fixture, { 'out.x': floats([2, 2], 1, 3, 3, 4) })).toBe(false);
});

it('integers are equal; sets in any order along the last axis', () => {
  const plain = caseOf({ 'out.i': integers([2, 2], 1, 2, 3, 4) });
  const sets = caseOf({ 'out.i': integers([2, 2], 1, 2, 3, 4) }, { compare_as_sets: ['out.i'] });
  const swapped = { 'out.i': integers([2, 2], 2, 1, 3, 4) };
  expect(passes(plain, swapped)).toBe(false);
  expect(passes(sets, swapped)).toBe(true);
  expect(passes(sets, { 'out.i': integers([2, 2], 1, 3, 2, 4) })).toBe(false);
});

it('cases are known by the beginning of their names', () => {
  for (const name of ['llama', 'llama-b', 'clip-dual-legacy-eos', 'ferret-sampler-x', 'bert-text']) {
    expect(runnerOf(name), name).toBeDefined();
  }
  expect(runnerOf('clip-dual-b')).toBe(runnerOf('clip-dual'));
  expect(runnerOf('clip-dual-b')).not.toBe(runnerOf('clip-vision'));
  expect(runnerOf('whisper')).toBeUndefined();
});

describe('the command', () => {
  let dir = '';
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'parity-'));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  const parity = (...args: string[]) =>
    spawnSync(process.execPath, ['--import', 'tsx', 'scripts/parity.ts', ...args], {
      cwd: join(import.meta.dirname, '../..'),
      encoding: 'utf8',
    });

  it('prints a line a case and fails on wrong values, damaged and unknown cases', () => {
    cpSync(join(fixtures, 'losses'), join(dir, 'losses-good'), { recursive: true });
    cpSync(join(fixtures, 'losses'), join(dir, 'losses-wrong'), { recursive: true });
    const meta = join(dir, 'losses-wrong', 'meta.json');
    writeFileSync(meta, readFileSync(meta, 'utf8').replace(/"smooth": [\d.]+/, '"smooth": 0.2'));
    cpSync(join(fixtures, 'losses'), join(dir, 'losses-torn'), { recursive: true });
    writeFileSync(join(dir, 'losses-torn', 'io.safetensors'), 'torn');
    mkdirSync(join(dir, 'unheard-of'));

    const { status, stdout } = parity(dir, '--engine', 'wasm', '--json');
    expect(status).toBe(1);
    const reports = JSON.parse(stdout) as CaseReport[];
    expect(reports.map(r => [r.case, r.engine, r.verdict])).toEqual([
      ['losses-good', 'wasm', 'pass'],
      ['losses-torn', 'wasm', 'FAIL'],
      ['losses-wrong', 'wasm', 'FAIL'],
      ['unheard-of', 'wasm', 'FAIL'],
    ]);
    expect(reports[2]?.failures.join()).toMatch(/^(out|grad)\.ce_smooth\S* is off by .* allowed/);
    expect(reports[2]?.failures).toHaveLength(2);
    expect(reports[3]?.failures).toEqual(['no case of this name is known']);

    for (const name of ['losses-torn', 'losses-wrong', 'unheard-of'])
      rmSync(join(dir, name), { recursive: true });
    const good = parity(dir, '--engine=wasm');
    expect(good.status).toBe(0);
    expect(good.stdout).toMatch(
      /^losses-good +wasm +24 compared +abs \S+ +rel \S+ +tolerance \S+ .* pass\n1 of 1 pass\n$/,
    );
  });

  it('refuses a folder without cases and options that it does not know', () => {
    expect(parity(join(dir, 'nowhere')).stderr).toContain('holds no case folders');
    expect(parity(join(dir, 'nowhere')).status).toBe(2);
    expect(parity(dir, '--engine', 'abacus').status).toBe(2);
    expect(parity().stderr).toContain('usage: npm run parity');
  });
});
