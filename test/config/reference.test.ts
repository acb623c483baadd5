import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { configReference } from '../../src/config/reference.ts';

const docs = readFileSync(join(import.meta.dirname, '../../docs/configuration.md'), 'utf8');

test('docs/configuration.md lists the keys as they are (npx tsx scripts/config-reference.ts rewrites it)', () => {
  expect(docs).toContain(configReference());
});

test('every key has a meaning', () => {
  const rows = configReference()
    .split('\n')
    .filter(line => line.startsWith('| `'));
  expect(rows.length).toBeGreaterThan(80);
  expect(rows.filter(row => row.endsWith(' |  |'))).toEqual([]);
});
