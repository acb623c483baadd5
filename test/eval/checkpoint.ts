/** A checkpoint of the tiny random model on disk, and a dataset to score it on. */
import { join } from 'node:path';
import { recipeToYaml } from '../../src/config/resolved.ts';
import { writeShards } from '../../src/data/shards.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import type { Recipe } from '../../src/train/recipe.ts';
import { weightSources } from '../../src/train/weights.ts';
import { characterTokenizer, squaresRecord, TINY } from './tiny.ts';

/** A stage 3 whose held-out data is the dataset of `folder`. */
export function recipeIn(folder: string): Recipe {
  const dataset = join(folder, 'val');
  return {
    model: { ...TINY, tokenizer: join(folder, 'tokenizer.json') },
    stage: {
      stage: 3,
      name: 'test',
      from: null,
      train: ['llm'],
      copy: [],
      lr: 1e-3,
      optimizer: { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0, clip_norm: 1 },
      schedule: { kind: 'constant', warmup: 0, floor: 0 },
      views: 'global+local',
      grounding_prompt: 'With boxes.',
      data: [{ dataset, task: 'rec', weight: 1 }],
      batch: { samples: 4, accumulate: 1 },
      steps: 5,
      seed: 0,
      log: { every: 1 },
      checkpoint: { every: 5, keep: 1 },
      eval: {
        every: 0,
        samples: 6,
        data: [
          { dataset, task: 'rec', weight: 1 },
          { dataset, task: 'caption', weight: 1 },
        ],
      },
    },
  };
}

/** Writes a checkpoint of random weights below `folder`/run/stage3 and returns its path. */
export async function writeCheckpoint(folder: string): Promise<string> {
  const recipe = recipeIn(folder);
  const model = new Ferret(TINY);
  model.parameters.allocate(5);
  const saved = await saveCheckpoint(join(folder, 'checkpoints', 'run', 'stage3'), {
    state: {
      stage: 3,
      stageName: 'test',
      step: 5,
      steps: 5,
      samples: 20,
      tokens: 100,
      updates: 5,
      seeds: { stage: 0 },
      loader: null,
      firstLoss: 4,
      lastLosses: [3],
    },
    model: weightSources(model.parameters.all),
    optimizer: { m: new Map(), v: new Map() },
    recipe: recipeToYaml(recipe),
    modelConfig: recipe.model,
    tokenizer: new TextEncoder().encode(JSON.stringify(characterTokenizer())),
  });
  model.parameters.dispose();
  return saved.path;
}

/** Writes `count` records of squares to `folder`/val. */
export async function writeSquares(folder: string, count: number): Promise<string> {
  const records = await Promise.all(Array.from({ length: count }, (_, i) => squaresRecord(i)));
  const dir = join(folder, 'val');
  await writeShards(records, dir, { builder: 'test', source: {} });
  return dir;
}
