/** Groups that a stage starts anew, whatever the checkpoint before it has for them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadCheckpoint } from '../../src/train/reading.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { stageOn, type Trace, trainHere, writeScenes } from './stage-here.ts';

let folder = '';
beforeAll(async () => {
  await startTestEngine();
  folder = await mkdtemp(join(tmpdir(), 'ground-reset-'));
  await writeScenes(join(folder, 'scenes'), 16);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const SHORT = ['schedule.warmup=0', 'checkpoint.every=1', 'batch.samples=2', 'reset=[llm.model.layers]'];
const stage = (...overrides: string[]) => stageOn(join(folder, 'scenes'), 1, [...SHORT, ...overrides]);

async function weightsOf({ result, failure }: Trace): Promise<Map<string, Float32Array>> {
  if (result === null) throw failure;
  const { model } = await loadCheckpoint(result.checkpoint, { optimizer: false });
  return new Map([...model].map(([name, { data }]) => [name, data]));
}

const resets = ({ events }: Trace): string[] =>
  events.flatMap(event =>
    event.type === 'note' && event.message.includes('(reset)') ? [event.message] : [],
  );

describe('reset', () => {
  it('starts a frozen group at random, leaves the others as they were, says so, and only once', async () => {
    const first = await trainHere(stage('from=null', 'seed=5', 'steps=1'), join(folder, 'first'));
    const from = `from=${first.result?.checkpoint}`;
    const run = join(folder, 'second');
    const second = await trainHere(stage(from, 'seed=6', 'steps=1'), run);
    const on = await trainHere(stage(from, 'seed=6', 'steps=2'), run, { resume: true });
    const other = await trainHere(stage('from=null', 'seed=6', 'steps=1'), join(folder, 'other'));
    const [before, after, later, random] = await Promise.all([first, second, on, other].map(weightsOf));
    let anew = 0;
    for (const [name, values] of after ?? []) {
      if (name.startsWith('projector.global')) continue;
      const isAnew = name.startsWith('llm.model.layers');
      if (isAnew) anew++;
      expect(values, name).toEqual((isAnew ? random : before)?.get(name));
      expect(later?.get(name), name).toEqual(values);
    }
    expect(anew).toBeGreaterThan(0);
    const attention = 'llm.model.layers.0.self_attn.q_proj.weight';
    expect(after?.get(attention)).not.toEqual(before?.get(attention));
    expect([first, second, on].map(trace => resets(trace).length)).toEqual([0, 1, 0]);
    expect(resets(second)[0]).toContain('llm.model.layers starts at random');
  });

  it('refuses a group that the model does not have', async () => {
    const { failure } = await trainHere(
      stage('from=null', 'steps=1', 'reset=[llm.layers]'),
      join(folder, 'none'),
    );
    expect(String(failure)).toContain('reset: "llm.layers" matches no parameter of the model');
  });
});
