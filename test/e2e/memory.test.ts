import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { goOn, MAIN, metricsOf, renderScenes, standingStill } from './ground.ts';

const STEPS = 2000;
/** From here on memory is looked at: by then every shape has been seen, so that nothing is recorded any more. */
const WARM = 1000;
/** Steps of a stretch, of which the least memory counts: what a moment needs, and garbage that waits, is none of it. */
const STRETCH = 125;

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ground-memory-'));
  renderScenes(folder);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/**
 * Bytes by which memory grows from a stretch to the next, in the middle: a leak makes all of them grow, and an allocator
 * that once takes a block more only one.
 */
function growth(bytes: readonly number[]): number {
  const least: number[] = [];
  for (let begin = 0; begin < bytes.length; begin += STRETCH)
    least.push(Math.min(...bytes.slice(begin, begin + STRETCH)));
  const grown = least.slice(1).map((value, i) => value - (least[i] ?? Number.NaN));
  return grown.sort((a, b) => a - b)[Math.floor(grown.length / 2)] ?? Number.NaN;
}

/**
 * Memory that a process allocated, bytes, wherever it lies now; null while it does not stand still. Pages of files do not
 * count: they come and go as the system likes.
 */
function allocatedWhereStopped(pid: number): number | null {
  const file = `/proc/${pid}/status`;
  const status = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const kilobytes = (key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
  return /^State:\s+T/m.test(status) ? 1024 * (kilobytes('RssAnon') + kilobytes('VmSwap')) : null;
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
      env: standingStill('step:*'),
    });
    let complaints = '';
    child.stderr.on('data', text => {
      complaints += text;
    });
    const ended = new Promise<number | null>(resolve => child.on('close', resolve));
    // One figure a step, before it, however fast this machine is.
    const allocated: number[] = [];
    const watch = setInterval(() => {
      const bytes = allocatedWhereStopped(child.pid ?? 0);
      if (bytes === null) return;
      allocated.push(bytes);
      goOn(child);
    }, 1);
    const code = await ended;
    clearInterval(watch);
    expect(code, complaints).toBe(0);
    const steps = metricsOf(folder, 'long', 3).filter(event => event.type === 'step');
    expect(steps).toHaveLength(STEPS);
    expect(new Set(steps.slice(1).map(event => event.tensors)).size).toBe(1);
    expect(allocated).toHaveLength(STEPS);
    expect((growth(allocated.slice(WARM)) / STRETCH) * 100, 'bytes in 100 steps').toBeLessThan(1e6);
  },
  3_600_000,
);
