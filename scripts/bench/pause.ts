/** For how long training stands still while a checkpoint of the tiny recipe is copied and handed to its writer. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { diffRecipes } from '../../src/config/diff.ts';
import { loadRecipe } from '../../src/config/load.ts';
import { readResolvedRecipe, recipeToYaml } from '../../src/config/resolved.ts';
import { startEngine } from '../../src/engine/engine.ts';
import * as tf from '../../src/engine/tf.ts';
import { buildModel } from '../../src/train/adapters.ts';
import { planTraining, trainedBy, unreadBy } from '../../src/train/freeze.ts';
import { writeFrozen } from '../../src/train/frozen.ts';
import { Guards } from '../../src/train/guards.ts';
import { Saving } from '../../src/train/saving.ts';
import { progressOf, takeContent } from '../../src/train/session.ts';
import { TrainStep } from '../../src/train/step.ts';
import { weightSources } from '../../src/train/weights.ts';
import { openWriter } from '../../src/train/writer.ts';

const RECIPE = fileURLToPath(new URL('../../configs/ferret-v2-tiny', import.meta.url));

export interface Pauses {
  /** Of what trains, with both moments, and the small files. */
  readonly bytes: number;
  /** Of each save, in order. */
  readonly seconds: readonly number[];
}

/** A tensor as an update leaves it: in the engine. */
function computed<T extends tf.Tensor>(values: T): T {
  return tf.tidy(() => tf.mul<T>(values, tf.scalar(1)));
}

/** Saves a stage some times, as training does, into a folder that is deleted. */
export async function measurePauses(stage: number, saves: number, parent: string): Promise<Pauses> {
  await startEngine({ device: 'cpu' });
  const recipe = loadRecipe({ recipeDir: RECIPE, stage, files: 'ignore' });
  const stageDir = mkdtempSync(join(parent, 'ground-pause-'));
  const model = buildModel(recipe);
  model.parameters.allocate(1);
  const plan = planTraining(model.parameters, recipe.stage, unreadBy(model, recipe.stage));
  const trainStep = new TrainStep(model, plan, recipe.stage);
  for (const p of trainedBy(plan)) p.assign(computed(p.value));
  const moments = trainStep.moments.map(({ m, v }) => ({ m: computed(m), v: computed(v) }));
  trainStep.restore(moments, 1);
  const frozen = plan.frozen.length === 0 ? null : await writeFrozen(stageDir, weightSources(plan.frozen));
  const seconds: number[] = [];
  let bytes = 0;
  // What a stage does before its first step.
  recipeToYaml(recipe);
  const saving = new Saving(
    {
      stageDir,
      writer: openWriter(true),
      listener: {
        on(event) {
          if (event.type !== 'checkpoint') throw new Error(`${event.type} during a save`);
          seconds.push(event.pauseSeconds);
          bytes = event.bytes;
        },
        close: async () => undefined,
      },
      policy: { last: 1, best: 0, every: 0, goal: 'max' },
      metric: undefined,
    },
    '',
  );
  try {
    const guards = new Guards(recipe.stage, stageDir, trainedBy(plan), () => []);
    for (let step = 1; step <= saves; step++) {
      const progress = { ...progressOf({ kind: 'fresh', warnings: [] }), step };
      const content = () =>
        takeContent(
          {
            options: { recipe, codec: { write: recipeToYaml, read: readResolvedRecipe, diff: diffRecipes } },
            stageDir,
            plan,
            trainStep,
            progress,
            inputs: { tokenizer: '', data: [] },
            adapters: [],
            tokenizer: { tokenizer: new Uint8Array() },
            frozen,
            guards,
          },
          undefined,
        );
      await saving.begin(step, content);
      await saving.settle();
    }
    return { bytes, seconds };
  } finally {
    await saving.close();
    trainStep.dispose();
    model.dispose();
    rmSync(stageDir, { recursive: true, force: true });
  }
}
