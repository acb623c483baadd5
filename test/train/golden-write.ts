/** Stores the curves that golden.test.ts compares with: `npx tsx test/train/golden-write.ts`, when they change on purpose. */
import { readFileSync, writeFileSync } from 'node:fs';
import { startTestEngine } from '../helpers/engine.ts';
import { goldenCurves } from './golden-curves.ts';

const file = new URL('../fixtures/golden/losses.json', import.meta.url);
await startTestEngine();
const stored = JSON.parse(readFileSync(file, 'utf8'));
const rounded = Object.entries(await goldenCurves()).map(
  ([stage, losses]) => [stage, losses.map(loss => Number(loss.toPrecision(7)))] as const,
);
writeFileSync(file, `${JSON.stringify({ ...stored, curves: Object.fromEntries(rounded) }, null, 2)}\n`);
