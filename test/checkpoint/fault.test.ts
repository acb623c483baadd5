import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Phase } from '../../src/fault.ts';
import { Random } from '../../src/random.ts';
import { loadNewest } from '../../src/train/heal.ts';
import { verifyCheckpoint } from '../../src/train/reading.ts';
import { type CheckpointRef, listCheckpoints } from '../../src/train/rundir.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { after, frozenWeights, type Model, modelOf } from './fault-model.ts';

const RUN = fileURLToPath(new URL('./fault-run.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const STEPS = 10;
/** How many in the test of random ones; `GROUND_FAULTS=200 npx vitest run test/checkpoint/fault.test.ts` takes minutes. */
const FAULTS = Number(process.env.GROUND_FAULTS ?? 10);

interface Outcome {
  readonly killed: boolean;
  readonly saved: readonly number[];
  readonly failed: readonly number[];
}

/** Runs to the end, or until the fault ends it. */
function run(stage: string, fault?: string): Outcome {
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', RUN, stage, String(STEPS)],
    {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...process.env, ...(fault === undefined ? {} : { GROUND_FAULT: fault }) },
    },
  );
  if (signal === null && status !== 0) throw new Error(`${fault}: ended with ${status}\n${stderr}`);
  const stepsOf = (word: string): number[] =>
    [...stdout.matchAll(new RegExp(`^${word} (\\d+)$`, 'gm'))].map(match => Number(match[1]));
  return { killed: signal === 'SIGKILL', saved: stepsOf('saved'), failed: stepsOf('failed') };
}

/** What a process that starts now would go on from; null where there is no checkpoint. */
async function standing(stage: string): Promise<Model | null> {
  const { found } = await loadNewest(stage, async () => frozenWeights());
  return found && modelOf(found.value);
}

/** What a stage has must be exactly what training without interruption had at that step. */
async function expectTrue(stage: string): Promise<number> {
  const model = await standing(stage);
  if (!model) return 0;
  const expected = after(model.step);
  expect(model.weights).toEqual(expected.weights);
  expect(model.moments).toEqual(expected.moments);
  return model.step;
}

/** Damages one file of a checkpoint; says what it did. */
function damage(checkpoint: string, random: Random): string {
  const files = readdirSync(checkpoint).sort();
  const file = files[Math.floor(random.uniform(0, files.length))] as string;
  const path = join(checkpoint, file);
  const { size } = statSync(path);
  const kind = ['flip', 'truncate', 'remove'][Math.floor(random.uniform(0, 3))] as string;
  if (kind === 'truncate') truncateSync(path, Math.floor(random.uniform(0, size)));
  else if (kind === 'remove') rmSync(path);
  else {
    const bytes = readFileSync(path);
    const at = Math.floor(random.uniform(0, size));
    bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random.uniform(0, 8)));
    writeFileSync(path, bytes);
  }
  return `${kind} ${file}`;
}

/** Phases, and about how often a whole run comes by each. */
const PHASES: Readonly<Record<Phase, number>> = {
  step: 10,
  snapshot: 5,
  write: 55,
  fsync: 55,
  link: 5,
  rename: 7,
  prune: 8,
};

describe('a run that is killed', () => {
  it.each(Object.entries(PHASES))(
    'at the phase %s loses nothing and ends as if it had not been',
    async (phase, times) => {
      const stage = join(temporaryFolder(), 'stage1');
      const fault = `${phase}:${Math.ceil(times / 2)}`;
      const outcome = run(stage, fault);
      expect(outcome.killed).toBe(true);
      expect(await expectTrue(stage)).toBeGreaterThanOrEqual(outcome.saved.at(-1) ?? 0);
      expect(run(stage).killed).toBe(false);
      expect(await expectTrue(stage)).toBe(STEPS);
      expect(readdirSync(stage).sort()).toEqual([
        'checkpoint-000008',
        'checkpoint-000010',
        'frozen.safetensors',
      ]);
    },
  );

  it(`survives ${FAULTS} random faults in a row: kills, refused writes, damaged files`, async () => {
    const random = new Random(process.env.GROUND_FAULT_SEED ?? 'faults');
    const phases = Object.keys(PHASES) as Phase[];
    let stage = join(temporaryFolder(), 'stage1');
    let known = 0;
    for (let fault = 1; fault <= FAULTS; fault++) {
      const phase = phases[fault % phases.length] as Phase;
      const count = 1 + Math.floor(random.uniform(0, PHASES[phase]));
      // The phases at which a file system can refuse.
      const refused = random.uniform(0, 1) < 0.25 && ['write', 'fsync', 'rename', 'link'].includes(phase);
      // What is written before the first step must succeed.
      const code = refused ? `${phase}:${Math.max(count, 8)}:ENOSPC` : `${phase}:${count}`;
      const outcome = run(stage, code);
      const step = await expectTrue(stage);
      expect(step, code).toBeGreaterThanOrEqual(Math.max(known, ...outcome.saved));
      known = step;

      const whole: CheckpointRef[] = [];
      for (const ref of await listCheckpoints(stage)) {
        if ((await verifyCheckpoint(ref.path)).length === 0) whole.push(ref);
      }
      const [newest, before] = whole.reverse();
      if (newest && before && random.uniform(0, 1) < 0.5) {
        const what = damage(newest.path, random);
        const left = await expectTrue(stage);
        // The shared weights are made again; any other damage costs this one checkpoint and no other.
        const shared = what.endsWith('frozen.safetensors');
        expect(left, what).toBe(shared ? newest.step : before.step);
        expect((await verifyCheckpoint(newest.path)).length, what).toBe(shared ? 0 : 1);
        known = left;
      }
      if (known === STEPS && !outcome.killed) {
        stage = join(temporaryFolder(), 'stage1');
        known = 0;
      }
    }
    run(stage);
    expect(await expectTrue(stage)).toBe(STEPS);
  }, 1_800_000);
});
