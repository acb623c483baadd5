import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { writeFileAtomic } from '../../src/atomic.ts';
import { Random } from '../../src/random.ts';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { openNewest, requireWhole } from '../../src/train/find.ts';
import { lockFolder } from '../../src/train/lock.ts';
import { loadCheckpoint, verifyCheckpoint } from '../../src/train/reading.ts';
import { listCheckpoints } from '../../src/train/rundir.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { contentOf } from './content.ts';

const WRITER = fileURLToPath(new URL('./writer.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const VALUES = 100_000;

/** Starts the writer; `printed` is the last step it reported. */
function startWriter(stage: string): { child: ChildProcess; printed: () => number } {
  const child = spawn(process.execPath, ['--import', 'tsx', WRITER, stage, String(VALUES)], { cwd: ROOT });
  let text = '';
  child.stdout?.on('data', chunk => {
    text += chunk;
  });
  return { child, printed: () => Number(text.trim().split('\n').at(-1) ?? 0) };
}

/** Kills at a moment at which a half written folder lies there: the folder is looked at while the child stands still. */
async function killHalfway(child: ChildProcess, stage: string): Promise<void> {
  while (child.exitCode === null) {
    child.kill('SIGSTOP');
    if (leftovers(stage).length > 0) break;
    child.kill('SIGCONT');
    await setTimeout(1);
  }
  child.kill('SIGKILL');
}

const leftovers = (stage: string): string[] => readdirSync(stage).filter(name => name.includes('.tmp-'));

describe('a process killed while it saves', () => {
  it('never leaves a damaged checkpoint, loses none that it reported, and the next one goes on from there', async () => {
    const stage = join(temporaryFolder(), 'stage1');
    const random = new Random('kill');
    let last = 0;
    let interrupted = 0;
    // A child that has just been told to stand still may take one step more: then the round counts for nothing.
    for (let round = 0; round < 8 || interrupted < 3; round++) {
      const { child, printed } = startWriter(stage);
      // Not 'exit': what it printed last may arrive after that.
      const exit = once(child, 'close');
      while (printed() <= last && child.exitCode === null) await setTimeout(2);
      if (round % 2 === 0) await killHalfway(child, stage);
      else {
        await setTimeout(random.uniform(0, 80));
        child.kill('SIGKILL');
      }
      await exit;
      expect(printed()).toBeGreaterThan(last);

      const { found: checkpoint, warnings } = await openNewest(stage, requireWhole);
      expect(warnings).toEqual([]);
      expect(checkpoint?.step).toBeGreaterThanOrEqual(printed());
      // One more may have appeared whose report was not written any more.
      expect(checkpoint?.step).toBeLessThanOrEqual(printed() + 1);
      for (const { path } of await listCheckpoints(stage)) expect(await verifyCheckpoint(path)).toEqual([]);
      const loaded = await loadCheckpoint(checkpoint?.path ?? '');
      const expected = contentOf(loaded.state.step, VALUES);
      expect(loaded.state).toEqual(expected.state);
      for (const [name, array] of expected.model) expect(loaded.model.get(name)).toEqual(array);
      last = checkpoint?.step ?? 0;
      if (leftovers(stage).length > 0) interrupted++;
    }
    await (await lockFolder(stage)).release();
    expect(readdirSync(stage).every(name => /^checkpoint-\d{6}$/.test(name))).toBe(true);
  });
});

const bash = spawnSync('bash', ['-c', 'ulimit -f 100']).status === 0;

describe.skipIf(!bash)('a file system that stops taking bytes', () => {
  // Of about 805 KB in all: inside the weights' header, inside the weights, and so that each leaves the first file whole.
  it.each([1, 300, 780])(
    'after %i KiB of a file: nothing is left behind and the complaint says what to do',
    async limit => {
      const stage = join(temporaryFolder(), 'stage1');
      const command = `ulimit -f ${limit}; exec "$0" --import tsx "$1" "$2" ${VALUES}`;
      const result = spawnSync('bash', ['-c', command, process.execPath, WRITER, stage], {
        cwd: ROOT,
        encoding: 'utf8',
        env: { ...process.env, TSX_DISABLE_CACHE: '1' },
      });
      expect(JSON.parse(result.stdout)).toEqual({
        code: 'io',
        message: expect.stringMatching(/cannot write .*model\.safetensors.*EFBIG/),
        hint: expect.stringContaining('ulimit -f'),
      });
      expect(readdirSync(stage)).toEqual(['lock']);
    },
  );
});

/** A volume of 256 KiB, where this user may mount one. */
function tinyVolume(): string | undefined {
  const folder = join(temporaryFolder(), 'volume');
  mkdirSync(folder);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder]).status === 0;
  if (mounted) onTestFinished(() => void spawnSync('umount', [folder]));
  return mounted ? folder : undefined;
}

describe('a full disk', () => {
  it('is noticed before a checkpoint is begun, and while a file is written; what was there stays', async context => {
    const volume = tinyVolume();
    if (volume === undefined) return context.skip();
    await saveCheckpoint(volume, contentOf(1, 100));
    await expect(saveCheckpoint(volume, contentOf(2, VALUES))).rejects.toMatchObject({
      code: 'io',
      message: expect.stringMatching(/takes 0\.8 MB, but only 0\.\d MB are free/),
    });
    await writeFile(join(volume, 'notes'), 'old');
    await expect(writeFileAtomic(join(volume, 'notes'), new Uint8Array(1 << 20))).rejects.toMatchObject({
      code: 'io',
      message: expect.stringContaining('ENOSPC'),
      hint: expect.stringContaining('full'),
    });
    expect(await readFile(join(volume, 'notes'), 'utf8')).toBe('old');
    expect(readdirSync(volume).sort()).toEqual(['checkpoint-000001', 'notes']);
    expect((await openNewest(volume, requireWhole)).found?.step).toBe(1);
  });
});
