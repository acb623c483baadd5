import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MAIN, metricsOf, renderScenes } from './ground.ts';

const STEPS = 1200;
/** What is fitted: by then every shape has been seen, so that nothing is recorded any more. */
const MEASURED = 600;

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ground-memory-'));
  renderScenes(folder);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Slope of the least-squares line. */
function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (i: 0 | 1) => points.reduce((sum, point) => sum + point[i], 0) / points.length;
  const [mx, my] = [mean(0), mean(1)];
  const covariance = points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  return covariance / points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
}

it('training holds as many tensors from step 2 on, and memory grows by less than 1 MB in 100 steps', () => {
  // Few records that always make the same conversations: few shapes. Three tasks of stage 3: regions, boxes, captions.
  const tasks = ['rec', 'reg', 'caption'].map(
    task => `{dataset: data/scenes/train, task: ${task}, max_records: 4, vary: false}`,
  );
  const settings = [
    'from=null',
    `data=[${tasks.join(', ')}]`,
    'eval.data=[]',
    'batch.samples=2',
    `steps=${STEPS}`,
    'log.every=1',
    'checkpoint.every=0',
  ];
  // V8 lets garbage of a hundred megabytes gather before it looks at all of its heap: here it looks each time.
  const args = ['--gc-global', MAIN, 'train', '--stage', '3', '--run', 'long'];
  const { status, stderr } = spawnSync(
    process.execPath,
    [...args, ...settings.flatMap(value => ['--set', value])],
    { cwd: folder, encoding: 'utf8' },
  );
  expect(status, stderr).toBe(0);
  const steps = metricsOf(folder, 'long', 3).filter(event => event.type === 'step');
  expect(steps.length).toBe(STEPS);
  expect(new Set(steps.slice(1).map(event => event.tensors)).size).toBe(1);
  const points = steps.slice(-MEASURED).map(event => [Number(event.step), Number(event.rssBytes)] as const);
  expect((100 * slope(points)) / 1e6, 'MB in 100 steps').toBeLessThan(1);
}, 300_000);
