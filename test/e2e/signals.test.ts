/** The built command, sent signals while it trains, and tried out before. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  goOn,
  ground,
  MAIN,
  metricsOf,
  newestCheckpoint,
  QUICK,
  renderScenes,
  standingStill,
  succeed,
} from './ground.ts';

const STAGE1 = ['train', '--stage', '1', ...QUICK, '--set', 'from=null', '--set', 'checkpoint.every=0'];
const stage1 = (run: string, steps: number, ...more: string[]): string[] => [
  ...STAGE1,
  ...['--run', run, '--set', `steps=${steps}`],
  ...more.flatMap(value => ['--set', value]),
];
/** More steps than any test waits for. */
const ENDLESS = 1_000_000;

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ground-signals-'));
  renderScenes(folder);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Starts the command and calls `act` once, when it has printed its third step and before it takes the next one. */
async function afterThirdStep(args: readonly string[], act: (child: ChildProcess) => void) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: standingStill('step:4'),
  });
  let stderr = '';
  let waking: NodeJS.Timeout | undefined;
  child.stderr.on('data', text => {
    stderr += text;
    if (waking !== undefined || !/step +3\//.test(stderr)) return;
    act(child);
    // Again and again: it may not stand still yet.
    waking = setInterval(() => goOn(child), 5);
  });
  const code = await new Promise<number | null>(resolve => child.on('close', resolve));
  clearInterval(waking);
  return { code, stderr };
}

const checkpoints = (run: string): string[] =>
  readdirSync(join(folder, 'checkpoints', run, 'stage1')).filter(name => name.startsWith('checkpoint-'));

describe.skipIf(process.platform === 'win32')('a training command', () => {
  const STEPS = 60;

  it('that gets SIGINT saves its step, exits with 130, and goes on later to the same end', async () => {
    const stopped = await afterThirdStep(stage1('stopped', STEPS), child => child.kill('SIGINT'));
    expect(stopped.code, stopped.stderr).toBe(130);
    expect(stopped.stderr).toMatch(/^SIGINT: ending after this step/m);
    const [, step, path = ''] = /step (\d+) of 60 is saved in (.*)$/m.exec(stopped.stderr) ?? [];
    expect(stopped.stderr).toContain('hint: the same command goes on from there');
    expect(stopped.stderr).not.toContain('error');
    expect(checkpoints('stopped')).toEqual([`checkpoint-${String(step).padStart(6, '0')}`]);
    expect(existsSync(join(path, 'manifest.json'))).toBe(true);
    expect(metricsOf(folder, 'stopped', 1).at(-1)).toMatchObject({ type: 'stop', reason: 'interrupted' });
    const resumed = succeed(folder, ...stage1('stopped', STEPS));
    expect(resumed.stderr).toContain(`continuing from ${path}`);
    succeed(folder, ...stage1('whole', STEPS));
    const [a, b] = ['stopped', 'whole'].map(name =>
      join(newestCheckpoint(folder, name, 1), 'model.safetensors'),
    );
    expect(readFileSync(a ?? '').equals(readFileSync(b ?? ''))).toBe(true);
    expect(metricsOf(folder, 'stopped', 1).filter(event => event.type === 'step')).toHaveLength(STEPS);
  });

  it('that gets two signals quits at once; its lock is in nobody’s way', async () => {
    const { code, stderr } = await afterThirdStep(stage1('twice', ENDLESS), child => {
      child.kill('SIGINT');
      child.kill('SIGTERM');
    });
    expect([130, 143], stderr).toContain(code);
    expect(stderr).not.toContain('is saved in');
    expect(checkpoints('twice')).toEqual([]);
    expect(readdirSync(join(folder, 'checkpoints/twice'))).toContain('lock');
  });

  it('that gets SIGUSR1 saves and goes on, here on the run of a process that quit', async () => {
    const args = stage1('twice', 2 * STEPS);
    const { code, stderr } = await afterThirdStep(args, child => child.kill('SIGUSR1'));
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('SIGUSR1: saving after this step');
    expect(metricsOf(folder, 'twice', 1).filter(event => event.type === 'checkpoint')).toHaveLength(2);
    expect(checkpoints('twice')).toHaveLength(2);
  });

  it('that gets SIGTERM exits with 143, and has its run to itself until then', async () => {
    let second: ReturnType<typeof ground> | undefined;
    const first = await afterThirdStep(stage1('shared', ENDLESS), child => {
      second = ground(folder, 'train', '--stage', '2', ...QUICK, '--run', 'shared', '--set', 'from=null');
      child.kill('SIGTERM');
    });
    expect(first.code).toBe(143);
    expect(second?.code).toBe(1);
    expect(second?.stderr).toMatch(/error: .*checkpoints\/shared is being written by process \d+ on /);
  });
});

it('a loss that is not finite ends the command with the file that tells where', () => {
  const { code, stderr } = ground(folder, ...stage1('diverged', 50, 'lr=1e30'));
  expect(code).toBe(1);
  const [, file = ''] =
    /error: step \d+: the loss is NaN.*nothing was updated.*are in (\S+\.json)/.exec(stderr) ?? [];
  const report = JSON.parse(readFileSync(file, 'utf8'));
  expect(report.batches[0].samples).toHaveLength(2);
  expect(report.gradients[0].module).toBe('projector.global');
  expect(stderr).toMatch(/hint: lower the learning rate/);
});

describe('a dry run', () => {
  /** Every file below the folder, and when it was changed last. */
  const listing = (): string[] =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map(name => {
        const stats = statSync(join(folder, name));
        return stats.isDirectory() ? name : `${name} ${stats.mtimeMs}`;
      })
      .sort();

  it('tries data, steps and a checkpoint out, compares memory with the plan, and leaves nothing', () => {
    const before = listing();
    const { stdout } = succeed(folder, ...stage1('tried', 9), '--dry-run', '--json');
    expect(listing()).toEqual(before);
    const { stages } = JSON.parse(stdout);
    expect(stages).toHaveLength(1);
    const [{ begins, batches, step, checkpoint, memory, trainable }] = stages;
    expect(begins).toEqual({ kind: 'fresh', step: 0, from: null });
    expect(batches).toEqual([expect.objectContaining({ kind: 'conversation', samples: 2 })]);
    expect(step.loss).toBeGreaterThan(1);
    expect(checkpoint.bytes).toBeGreaterThan(12 * trainable);
    expect(checkpoint.frozenBytes).toBeGreaterThan(0);
    const ratio = memory.measuredBytes / memory.plannedBytes;
    expect(ratio).toBeGreaterThan(0.6);
    expect(ratio).toBeLessThan(1.6);
  });

  it('tries every stage that would be trained, in words', () => {
    const before = listing();
    const { stdout, stderr } = succeed(
      folder,
      ...['train', '--stage', '1', '--dry-run', '--run', 'tried', ...QUICK, '--set', 'batch.contrastive=4'],
    );
    expect(stdout).toMatch(/^dry run +stage 0 +stage 1$/m);
    expect(stdout).toMatch(/^measured \/ planned +\d+ % +\d+ %$/m);
    expect(stderr).toContain('stage 1 starts from stage0, which is not trained yet: random weights');
    expect(listing()).toEqual(before);
  });

  it('looks at a run that is there as training would, and changes nothing of it', () => {
    const before = listing();
    const { stdout } = succeed(folder, ...stage1('whole', 60), '--dry-run');
    expect(stdout).toContain('is finished at step 60');
    const other = ground(folder, ...stage1('whole', 60, 'lr=1e-3'), '--dry-run');
    expect(other.code).toBe(2);
    expect(other.stderr).toMatch(/was trained with another recipe.*lr: 0.002 became 0.001/);
    expect(listing()).toEqual(before);
  });
});
