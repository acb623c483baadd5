import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { startTestEngine } from '../helpers/engine.ts';
import { goldenCurves, STAGES, STEPS } from './golden-curves.ts';

/** The largest relative difference that counts as rounding, by engine, and the curves as they were stored. */
const { tolerance, curves: stored } = JSON.parse(
  readFileSync(new URL('../fixtures/golden/losses.json', import.meta.url), 'utf8'),
);

it('every stage of the tiny recipe learns as it did when its curve was stored', async () => {
  const { name } = await startTestEngine();
  const curves = await goldenCurves();
  expect(Object.keys(curves)).toEqual(STAGES.map(stage => `stage${stage}`));
  for (const [stage, losses] of Object.entries(curves)) {
    expect(losses, stage).toHaveLength(STEPS);
    const gaps = losses.map((loss, i) => Math.abs(loss / stored[stage][i] - 1));
    const worst = gaps.indexOf(Math.max(...gaps));
    expect(
      gaps[worst],
      `${stage}, step ${worst + 1}: ${losses[worst]}, stored ${stored[stage][worst]}`,
    ).toBeLessThan(tolerance[name]);
  }
});
