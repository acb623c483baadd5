import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LOCK, lockFolder } from '../../src/train/lock.ts';
import { temporaryFolder } from '../helpers/folder.ts';

/** A process id that was used a moment ago and is free again. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  return child.pid as number;
}

const owner = (fields: object) =>
  JSON.stringify({ pid: process.pid, host: hostname(), started: null, since: '2020-01-01', ...fields });

describe('the lock of a folder', () => {
  it('is held by one at a time and free again after release', async () => {
    const stage = join(temporaryFolder(), 'run', 'stage1');
    const lock = await lockFolder(stage);
    await expect(lockFolder(stage)).rejects.toMatchObject({
      code: 'train',
      message: expect.stringContaining(`is being written by process ${process.pid} on ${hostname()}`),
      hint: expect.stringContaining(join(stage, LOCK)),
    });
    await lock.release();
    expect(await readdir(stage)).toEqual([]);
    await (await lockFolder(stage)).release();
  });

  it('goes to exactly one of many that start together, even over a stale lock', async () => {
    const stage = temporaryFolder();
    await writeFile(join(stage, LOCK), owner({ pid: await deadPid() }));
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(stage)));
    const winners = results.flatMap(r => (r.status === 'fulfilled' ? [r.value] : []));
    expect(winners).toHaveLength(1);
    await winners[0]?.release();
    expect(await readdir(stage)).toEqual([]);
  });

  it('goes to exactly one of many that start one after another over a stale lock, again and again', async () => {
    const dead = await deadPid();
    for (let round = 0; round < 40; round++) {
      const stage = temporaryFolder();
      await writeFile(join(stage, LOCK), owner({ pid: dead }));
      // Each begins at another moment of the others' clearing.
      const results = await Promise.allSettled(
        Array.from({ length: 12 }, async (_, i) => {
          for (let turn = 0; turn < (i * (round + 1)) % 17; turn++) await new Promise(setImmediate);
          return lockFolder(stage);
        }),
      );
      const winners = results.flatMap(r => (r.status === 'fulfilled' ? [r.value] : []));
      expect(winners).toHaveLength(1);
      await winners[0]?.release();
      expect(await readdir(stage)).toEqual([]);
    }
  });

  it('is cleared though a process was killed while it cleared', async () => {
    const stage = temporaryFolder();
    await writeFile(join(stage, LOCK), owner({ pid: await deadPid() }));
    const guard = join(stage, `${LOCK}.clearing`);
    await writeFile(guard, '');
    const longAgo = new Date(Date.now() - 3_600_000);
    await utimes(guard, longAgo, longAgo);
    await (await lockFolder(stage)).release();
    expect(await readdir(stage)).toEqual([]);
  });

  it('of a dead process is taken over, and so is one whose process id was given to another', async () => {
    const stage = temporaryFolder();
    for (const stale of [{ pid: await deadPid() }, { started: '1' }]) {
      await writeFile(join(stage, LOCK), owner(stale));
      const lock = await lockFolder(stage);
      expect(JSON.parse(await readFile(join(stage, LOCK), 'utf8'))).toMatchObject({ pid: process.pid });
      await lock.release();
    }
  });

  it('of another machine holds while it shows signs of life', async () => {
    const stage = temporaryFolder();
    await writeFile(join(stage, LOCK), owner({ host: 'elsewhere' }));
    await expect(lockFolder(stage)).rejects.toThrow('on elsewhere');
    const longAgo = new Date(Date.now() - 3_600_000);
    await utimes(join(stage, LOCK), longAgo, longAgo);
    await (await lockFolder(stage)).release();
  });

  it('that is empty or damaged holds for a moment only', async () => {
    const stage = temporaryFolder();
    await writeFile(join(stage, LOCK), '');
    await expect(lockFolder(stage)).rejects.toThrow('a starting process');
    const longAgo = new Date(Date.now() - 3_600_000);
    await utimes(join(stage, LOCK), longAgo, longAgo);
    await (await lockFolder(stage)).release();
  });

  it('is not deleted by one who lost it', async () => {
    const stage = temporaryFolder();
    const lock = await lockFolder(stage);
    await writeFile(join(stage, LOCK), owner({ host: 'thief' }));
    await lock.release();
    expect(await readdir(stage)).toEqual([LOCK]);
  });

  it('clears what dead processes left, and puts back what one had set aside', async () => {
    const stage = temporaryFolder();
    const dead = await deadPid();
    await mkdir(join(stage, `checkpoint-000003.tmp-${dead}`));
    await mkdir(join(stage, `checkpoint-000002.old-${dead}`));
    await mkdir(join(stage, `checkpoint-000001.old-${dead}`));
    await mkdir(join(stage, 'checkpoint-000001'));
    await mkdir(join(stage, `checkpoint-000009.tmp-${process.ppid}`));
    const lock = await lockFolder(stage);
    expect(lock.cleaned).toHaveLength(3);
    await lock.release();
    expect((await readdir(stage)).sort()).toEqual([
      'checkpoint-000001',
      'checkpoint-000002',
      `checkpoint-000009.tmp-${process.ppid}`,
    ]);
  });
});
