import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ground } from './harness.ts';

/** A folder without data: the recipe's own may have been rendered here. */
let folder: string;
const home = process.cwd();
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ground-plan-'));
  process.chdir(folder);
});
afterAll(() => {
  process.chdir(home);
  rmSync(folder, { recursive: true, force: true });
});

describe('ground plan', () => {
  const tiny = ['plan', '--recipe', 'configs/ferret-v2-tiny', '--set', 'batch.samples=2'];

  it('prints modules, operations and memory of the stages asked for', async () => {
    const { code, stdout, stderr } = await ground(...tiny, '--stage', '1,3');
    expect([code, stderr]).toEqual([0, expect.stringContaining('the data is not there')]);
    expect(stdout).toMatch(/module +parameters +trained in stage 1 +trained in stage 3\n/);
    expect(stdout).toMatch(/\nprojector\.global +[\d,]+ +all +all\n/);
    expect(stdout).toMatch(/\nsampler +[\d,]+ +frozen +all\n/);
    expect(stdout).toMatch(/\npeak of all tensors +[\d.]+ MiB +[\d.]+ MiB\n/);
    expect(stdout).toMatch(/\n +3 +2 +[\d.]+ [MG] /);
  });

  it('gives all of it as JSON', async () => {
    const { code, stdout } = await ground(...tiny, '--stage', '2', '--json');
    expect(code).toBe(0);
    const { recipe, stages, idleBytes } = JSON.parse(stdout);
    expect(recipe).toMatch(/configs.ferret-v2-tiny$/);
    expect(stages).toHaveLength(1);
    const [{ stage, memory, work, processBytes, secondsPerStep, secondsPerStage, steps }] = stages;
    expect(stage).toBe(2);
    expect(processBytes).toBeGreaterThan(idleBytes + memory.peak);
    expect(work.flopsPerStep).toBe(2 * work.flopsPerSample);
    expect(secondsPerStage).toBeCloseTo(secondsPerStep * steps, 6);
  });

  it('follows --set, and refuses what the recipe does not allow', async () => {
    const parameters = async (...set: string[]): Promise<number> =>
      JSON.parse((await ground(...tiny, '--stage', '1', '--json', ...set)).stdout).stages[0].parameters;
    expect(await parameters('--set', 'model.llm.num_hidden_layers=4')).toBeGreaterThan(await parameters());
    const { code, stderr } = await ground(...tiny, '--stage', '1', '--set', 'train=nothing');
    expect([code, stderr]).toEqual([2, expect.stringContaining('nothing')]);
  });

  it('refuses stages that are not there', async () => {
    const { code, stderr } = await ground(...tiny, '--stage', '9');
    expect([code, stderr]).toEqual([2, expect.stringContaining('stage9.yaml')]);
  });
});
