import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { metricsLine } from '../../src/telemetry/schema.ts';

it('docs/metrics.md names every type of line and every key of it', () => {
  const docs = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  for (const line of metricsLine.options) {
    const { type, ...keys } = line.shape;
    const row = docs.split('\n').find(text => text.startsWith(`| \`${type.value}\` |`));
    expect(row, type.value).toBeDefined();
    for (const key of Object.keys(keys)) {
      if (key !== 'time') expect(row, `${type.value}.${key}`).toContain(`\`${key}\``);
    }
  }
});
