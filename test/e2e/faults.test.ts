/** The trainer itself, built and with its threads, killed at each phase of a save and in front of a full disk. */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  goOn,
  MAIN,
  metricsOf,
  newestCheckpoint,
  QUICK,
  renderScenes,
  standingStill,
  succeed,
} from './ground.ts';

const STEPS = 6;
const TRAIN = ['train', '--stage', '1', ...QUICK, '--set', 'from=null', '--set', `steps=${STEPS}`];
const FILES = ['model.safetensors', 'frozen.safetensors', 'optimizer.safetensors', 'state.json'];

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ground-faults-'));
  renderScenes(folder);
  succeed(folder, ...TRAIN, '--run', 'whole');
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs with a fault (src/fault.ts). */
function hit(run: string, fault: string) {
  return spawnSync(process.execPath, [MAIN, ...TRAIN, '--run', run], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, GROUND_FAULT: fault },
  });
}

function expectSameAsWhole(run: string): void {
  const [whole, other] = ['whole', run].map(name => newestCheckpoint(folder, name, 1)) as [string, string];
  for (const file of FILES) {
    expect(readFileSync(join(other, file)).equals(readFileSync(join(whole, file))), file).toBe(true);
  }
}

describe('training', () => {
  it('ends with the same bytes after being killed in every phase, once after the other', () => {
    // Phases of a save happen in the writing thread, whose count starts with the thread.
    for (const fault of ['snapshot:1', 'write:3', 'fsync:12', 'link:1', 'rename:1', 'step:3', 'prune:1']) {
      const { signal, stderr } = hit('killed', fault);
      expect(signal, `${fault}\n${stderr}`).toBe('SIGKILL');
    }
    succeed(folder, ...TRAIN, '--run', 'killed');
    expectSameAsWhole('killed');
    succeed(folder, 'checkpoints', 'verify', '--run', 'killed');
  });

  it('goes on when one save is refused, says so, and the next one succeeds', () => {
    const { status, stderr } = hit('refused', 'link:1:ENOSPC');
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/step 2 NOT saved: cannot link .*ENOSPC/);
    expect(stderr).toMatch(/hint: the disk .* is full: free space/);
    expect(stderr).toMatch(/training goes on.*no checkpoint yet/);
    const events = metricsOf(folder, 'refused', 1);
    expect(events.find(e => e.type === 'save-failed')).toMatchObject({ step: 2, lastCheckpoint: null });
    expect(events.filter(e => e.type === 'checkpoint').map(e => e.step)).toEqual([4, 6]);
    expectSameAsWhole('refused');
  });

  it('makes frozen weights again that were damaged on the disk, and goes on from the newest step', () => {
    expect(hit('rotten', 'step:6').signal).toBe('SIGKILL');
    const file = join(newestCheckpoint(folder, 'rotten', 1), 'frozen.safetensors');
    const bytes = readFileSync(file);
    bytes[9000] = (bytes[9000] ?? 0) ^ 4;
    writeFileSync(file, bytes);
    const { stderr } = succeed(folder, ...TRAIN, '--run', 'rotten');
    expect(stderr).toMatch(/made the damaged frozen weights of .* again/);
    expect(stderr).toMatch(/continuing from .*checkpoint-00000[24]/);
    expectSameAsWhole('rotten');
  });
});

describe('a volume that fills up while training', () => {
  const volume = mkdtempSync(join(tmpdir(), 'ground-volume-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', volume]).status === 0;
  afterAll(() => {
    if (mounted) spawnSync('umount', [volume]);
    rmSync(volume, { recursive: true, force: true });
  });

  it.skipIf(!mounted)(
    'costs saves and no training; with room again everything is as it should be',
    async () => {
      mkdirSync(join(folder, 'checkpoints'), { recursive: true });
      symlinkSync(volume, join(folder, 'checkpoints/full'));
      // Before step 2, the first to be saved, it waits until the volume is full.
      const child = spawn(process.execPath, [MAIN, ...TRAIN, '--run', 'full'], {
        cwd: folder,
        env: standingStill('step:2'),
      });
      let stderr = '';
      child.stderr.on('data', chunk => {
        stderr += chunk;
      });
      const ended = new Promise<number | null>(resolve => child.on('close', resolve));
      const ballast = join(volume, 'ballast');
      let filled = false;
      let over = false;
      void ended.then(() => {
        over = true;
      });
      while (!over) {
        if (filled) goOn(child);
        else if (/step 1\//.test(stderr)) {
          filled = true;
          // As much as there is room for.
          spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=64k']);
        }
        if (filled && existsSync(ballast) && /NOT saved/.test(stderr)) rmSync(ballast);
        await new Promise(resolve => setTimeout(resolve, 5));
      }
      expect(await ended, stderr).toBe(0);
      expect(stderr).toMatch(/NOT saved: .*(free|ENOSPC)/);
      expectSameAsWhole('full');
      expect(metricsOf(folder, 'full', 1).filter(e => e.type === 'step')).toHaveLength(STEPS);
    },
  );
});
