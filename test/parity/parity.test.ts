import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { caseFolders, reportCase } from '../../scripts/parity/report.ts';
import { startEngine } from '../../src/engine/engine.ts';
import { findInstalled } from '../../src/engine/installed.ts';
import { tensorCount } from '../../src/engine/memory.ts';

const fixtures = join(import.meta.dirname, '../fixtures/parity');
const cases = readdirSync(fixtures).filter(name => name !== 'README.md');
const engines = findInstalled().length > 0 ? (['tensorflow', 'wasm'] as const) : (['wasm'] as const);

it('every folder is a case', () => {
  expect(caseFolders(fixtures).map(dir => dir.slice(fixtures.length + 1))).toEqual(cases.sort());
  expect(cases.length).toBeGreaterThan(20);
});

describe.each(engines)('golden cases on %s', engine => {
  let before = 0;
  beforeAll(async () => {
    await startEngine({ engine, device: 'cpu' });
    before = tensorCount();
  });

  it.each(cases)('%s', async name => {
    const report = await reportCase(join(fixtures, name), engine);
    expect(report.failures).toEqual([]);
    expect(report.verdict).toBe('pass');
    expect(report.compared).toBeGreaterThan(5);
  });

  afterAll(() => {
    expect(tensorCount()).toBe(before);
  });
});
