import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MAIN, metricsOf, renderScenes } from './ground.ts';

const STEPS = 2000;
/** From here on memory is fitted: by then every shape has been seen, so that nothing is recorded any more. */
const WARM = 1000;

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

/** Resident memory that a process allocated, bytes; null once it has gone. Pages of files come and go as the system likes. */
function allocatedBytes(pid: number): number | null {
  const file = `/proc/${pid}/status`;
  const kilobytes = existsSync(file)
    ? /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(file, 'utf8'))?.[1]
    : undefined;
  return kilobytes === undefined ? null : 1024 * Number(kilobytes);
}

it.skipIf(process.platform !== 'linux')(
  'training holds as many tensors from step 2 on, and memory grows by less than 1 MB in 100 steps',
  async () => {
    // Few records that always make the same conversations: few shapes. Regions, boxes and captions; all modules train.
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
    const child = spawn(process.execPath, [...args, ...settings.flatMap(value => ['--set', value])], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let complaints = '';
    child.stderr.on('data', text => {
      complaints += text;
    });
    const ended = new Promise<number | null>(resolve => child.on('close', resolve));
    const points: (readonly [step: number, bytes: number])[] = [];
    const log = join(folder, 'checkpoints/long/stage3/metrics.jsonl');
    const watch = setInterval(() => {
      const step = existsSync(log) ? readFileSync(log).filter(byte => byte === 10).length - 1 : 0;
      const bytes = allocatedBytes(child.pid ?? 0);
      // The last steps are beside the point: then the checkpoint is made.
      if (step > WARM && step < STEPS - 10 && bytes !== null) points.push([step, bytes]);
    }, 200);
    const code = await ended;
    clearInterval(watch);
    expect(code, complaints).toBe(0);
    const steps = metricsOf(folder, 'long', 3).filter(event => event.type === 'step');
    expect(steps).toHaveLength(STEPS);
    expect(new Set(steps.slice(1).map(event => event.tensors)).size).toBe(1);
    expect(points.length).toBeGreaterThan(20);
    expect((100 * slope(points)) / 1e6, 'MB in 100 steps').toBeLessThan(1);
  },
  600_000,
);
