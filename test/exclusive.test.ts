import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { processToken, withLock } from '../src/exclusive.ts';

let dir: string;
let file: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ground-lock-test-'));
  file = join(dir, 'sub', 'lock');
});
afterEach(() => rmSync(dir, { recursive: true }));

const quiet = () => {};

it('lets one in at a time, whatever happens inside', async () => {
  let inside = 0;
  let most = 0;
  const work = (fail: boolean) => async () => {
    inside++;
    most = Math.max(most, inside);
    await new Promise(resolve => setTimeout(resolve, 5));
    inside--;
    if (fail) throw new Error('work failed');
  };
  const results = await Promise.allSettled(
    Array.from({ length: 8 }, (_, i) => withLock(file, quiet, work(i % 2 === 0), 1)),
  );
  expect(most).toBe(1);
  expect(results.filter(result => result.status === 'rejected')).toHaveLength(4);
  expect(existsSync(file)).toBe(false);
});

it('takes over from a process that is dead', async () => {
  const child = spawn('sleep', ['60']);
  const token = processToken(child.pid ?? 0);
  expect(token).toMatch(/^\d+/);
  await withLock(file, quiet, async () => {});
  writeFileSync(file, token ?? '');
  const died = new Promise(resolve => child.on('exit', resolve));
  child.kill('SIGKILL');
  await died;
  expect(await withLock(file, quiet, async () => 'done')).toBe('done');
});

it.skipIf(process.platform !== 'linux')(
  'takes over when the number belongs to another process now',
  async () => {
    await withLock(file, quiet, async () => {});
    writeFileSync(file, `${process.pid} 1`); // this process did not start one tick after boot
    expect(await withLock(file, quiet, async () => readFileSync(file, 'utf8'))).toBe(
      processToken(process.pid),
    );
  },
);

it('takes over a lock that names nobody', async () => {
  await withLock(file, quiet, async () => {});
  writeFileSync(file, '');
  expect(await withLock(file, quiet, async () => 'done')).toBe('done');
});

it('waits for a living process and says whom it waits for', async () => {
  const waits: number[] = [];
  let release = () => {};
  const held = withLock(file, quiet, () => new Promise<void>(resolve => (release = resolve)));
  await new Promise(resolve => setTimeout(resolve, 20));
  let entered = false;
  const second = withLock(
    file,
    pid => waits.push(pid),
    async () => {
      entered = true;
    },
    5,
  );
  await new Promise(resolve => setTimeout(resolve, 50));
  expect(entered).toBe(false);
  release();
  await Promise.all([held, second]);
  expect(entered).toBe(true);
  expect(waits).toEqual([process.pid]);
});
