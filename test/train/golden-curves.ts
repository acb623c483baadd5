/** The losses of the first steps of every stage of the shipped tiny recipe, each going on from the one before. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventsOf, stageOn, trainHere, writeScenes } from './stage-here.ts';

export const STAGES = [0, 1, 2, 3] as const;
export const STEPS = 20;

/**
 * Loss of each step by stage; schedules are those of a stage of `STEPS` steps. The engine must have been started.
 *
 * @param steps how many steps of each stage are taken; the next stage starts from there
 */
export async function goldenCurves(steps: number = STEPS): Promise<Record<string, number[]>> {
  const folder = mkdtempSync(join(tmpdir(), 'ground-golden-'));
  const dataset = join(folder, 'scenes');
  const curves: Record<string, number[]> = {};
  try {
    await writeScenes(dataset, 24);
    for (const stage of STAGES) {
      const small = ['batch.samples=4', 'log.every=1', 'checkpoint.every=0'];
      if (stage === 0) small.push('batch.contrastive=8');
      const recipe = stageOn(dataset, stage, [`steps=${steps}`, ...small]);
      const trace = await trainHere(recipe, join(folder, 'run'));
      if (trace.failure) throw trace.failure;
      curves[`stage${stage}`] = eventsOf(trace, 'step').map(({ loss }) => loss);
    }
    return curves;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
