import { readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { register } from '../../src/cli/checkpoints.ts';
import { runProgram } from '../../src/cli/context.ts';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { lockFolder } from '../../src/train/lock.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { contentOf } from './content.ts';

/** Runs `ground checkpoints …` in the current folder. */
async function checkpoints(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const printed = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map(name =>
    vi.spyOn(process[name], 'write').mockImplementation(text => {
      printed[name] += String(text);
      return true;
    }),
  );
  try {
    const program = new Command('ground');
    register(program);
    return { code: await runProgram(program, ['checkpoints', ...args]), ...printed };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** Makes a fresh folder the current one, with two runs in it; returns the folder of the first one's stage. */
async function twoRuns(): Promise<string> {
  const folder = temporaryFolder();
  const before = process.cwd();
  process.chdir(folder);
  onTestFinished(() => process.chdir(before));
  const stage = join(process.cwd(), 'checkpoints', 'tiny', 'stage1');
  for (const step of [10, 20, 30]) await saveCheckpoint(stage, contentOf(step, 10));
  await saveCheckpoint(join('checkpoints', 'other', 'stage2'), contentOf(5, 10));
  return stage;
}

describe('ground checkpoints', () => {
  it('lists all runs, or one, for people and for scripts', async () => {
    const stage = await twoRuns();
    const all = await checkpoints('list');
    expect(all.code).toBe(0);
    expect(all.stdout.split('\n').map(line => line.split(/ {2,}/).slice(0, 3).join(' ').trim())).toEqual([
      'run stage step',
      'other 2 5',
      'tiny 1 10',
      'tiny 1 20',
      'tiny 1 30',
      '',
    ]);
    const { checkpoints: entries } = JSON.parse(
      (await checkpoints('list', '--run', 'tiny', '--json')).stdout,
    );
    expect(entries).toHaveLength(3);
    expect(entries[0]).toMatchObject({
      run: 'tiny',
      stage: 1,
      step: 10,
      path: join(stage, 'checkpoint-000010'),
      problems: [],
    });
  });

  it('says so when there is nothing, and names the runs there are', async () => {
    await twoRuns();
    const unknown = await checkpoints('list', '--run', 'huge');
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain('there is no run huge in');
    expect(unknown.stderr).toContain('there are: other, tiny');
    process.chdir('checkpoints/tiny/stage1');
    expect((await checkpoints('list')).stdout).toBe('no checkpoints yet\n');
  });

  it('verify fails with 1 and names the damaged file', async () => {
    const stage = await twoRuns();
    expect((await checkpoints('verify')).code).toBe(0);
    truncateSync(join(stage, 'checkpoint-000020', 'model.safetensors'), 5);
    const { code, stderr } = await checkpoints('verify', '--run', 'tiny');
    expect(code).toBe(1);
    expect(stderr).toMatch(/1 of 3 damaged: .*checkpoint-000020: model\.safetensors has 5 bytes instead of/);
    const json = JSON.parse((await checkpoints('verify', '--json')).stdout);
    expect(json.error.code).toBe('checkpoint');
  });

  it('prune keeps the newest whole ones, tells beforehand what it would do, and leaves a running stage alone', async () => {
    const stage = await twoRuns();
    const planned = JSON.parse((await checkpoints('prune', '--run', 'tiny', '--dry-run', '--json')).stdout);
    expect(planned).toEqual({
      deleted: [join(stage, 'checkpoint-000010'), join(stage, 'checkpoint-000020')],
      dryRun: true,
    });
    expect(readdirSync(stage)).toHaveLength(3);
    const lock = await lockFolder(stage);
    const refused = await checkpoints('prune', '--run', 'tiny');
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is being written by process'),
    });
    await lock.release();
    expect((await checkpoints('prune', '--run', 'tiny', '--keep', '2')).code).toBe(0);
    expect(readdirSync(stage).sort()).toEqual(['checkpoint-000020', 'checkpoint-000030']);
    expect((await checkpoints('prune', '--run', 'tiny', '--keep', '2')).stdout).toBe('nothing to delete\n');
  });

  it('prune refuses to keep none', async () => {
    await twoRuns();
    expect(await checkpoints('prune', '--run', 'tiny', '--keep', '0')).toMatchObject({ code: 2 });
    expect(await checkpoints('prune', '--run', 'tiny', '--keep', 'some')).toMatchObject({ code: 2 });
  });
});
