/**
 * An epoch of stages 1 and 2 whose encoders' features are kept: the first, which makes them, against the second, which reads
 * them, and against one without a cache. Loading and training in one thread, so that nothing hides behind anything.
 * Usage: npm run bench:features [-- --pairs 7 --models tiny,small --images 64 --photographs --json].
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { loadRecipe } from '../../src/config/load.ts';
import { openLoader } from '../../src/data/loader.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { writeShards } from '../../src/data/shards.ts';
import { renderScenes } from '../../src/data/sources/scenes.ts';
import { startEngine } from '../../src/engine/engine.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { type FeatureCache, openFeatureCache } from '../../src/train/feature-cache.ts';
import { planTraining, unreadBy } from '../../src/train/freeze.ts';
import type { Recipe } from '../../src/train/recipe.ts';
import { TrainStep } from '../../src/train/step.ts';
import { named, readShapes } from './shapes.ts';
import { median, medianRatio, THREADS } from './side.ts';

const RECIPE = new URL('../../configs/ferret-v2-tiny', import.meta.url).pathname;

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '7' },
    models: { type: 'string', default: 'tiny,small' },
    images: { type: 'string', default: '64' },
    /** JPEGs of 640×480 in the place of scenes of 64×64. */
    photographs: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const images = Number(values.images);

/** Scenes, or the same annotations on pictures of everyday size. */
async function* records(): AsyncGenerator<ImageRecord> {
  for await (const record of renderScenes(1, images)) {
    if (!values.photographs) {
      yield record;
      continue;
    }
    const [width, height] = [640, 480];
    const [across, down] = [width / record.width, height / record.height];
    const image = await sharp(record.image).resize(width, height, { fit: 'fill' }).jpeg().toBuffer();
    const objects = record.objects.map(({ label, phrase, attributes, box }) => ({
      label,
      phrase,
      attributes,
      box: {
        space: 'pixels' as const,
        x1: box.x1 * across,
        y1: box.y1 * down,
        x2: box.x2 * across,
        y2: box.y2 * down,
      },
    }));
    yield { ...record, image, width, height, objects };
  }
}

/** A stage of the tiny recipe on `dataset`, with the networks of the shapes' file. */
function recipeOf(name: string, stage: number, dataset: string): Recipe {
  const recipe = loadRecipe({ recipeDir: RECIPE, stage, overrides: ['from=null'], files: 'ignore' });
  const { tokenizer, pretraining: _, ...model } = recipe.model;
  const networks = name === 'tiny' ? {} : { ...named(readShapes().models, name).model, tokenizer };
  return {
    model: { ...model, tokenizer, ...networks },
    stage: {
      ...recipe.stage,
      data: recipe.stage.data.map(source => ({ ...source, dataset })),
      batch: { samples: name === 'tiny' ? recipe.stage.batch.samples : 4, accumulate: 1 },
    },
  };
}

interface Measured {
  readonly model: string;
  readonly stage: number;
  readonly steps: number;
  /** Medians of seconds an epoch. */
  readonly uncached: number;
  readonly first: number;
  readonly second: number;
  /** Medians of the pairs' ratios. */
  readonly ofFirst: number;
  readonly ofUncached: number;
  /** Of the very first epoch of the process, in which everything is recorded. */
  readonly cold: number;
}

async function measure(name: string, stage: number, folder: string): Promise<Measured> {
  const recipe = recipeOf(name, stage, join(folder, 'scenes'));
  const model = new Ferret(recipe.model);
  model.parameters.allocate(1);
  const plan = planTraining(model.parameters, recipe.stage, unreadBy(model, recipe.stage));
  const step = new TrainStep(model, plan, recipe.stage);
  const dir = join(folder, `${name}${stage}`);
  const options = { recipe: { ...recipe, stage: { ...recipe.stage, feature_cache: { dir } } }, runDir: dir };
  const steps = Math.ceil(images / recipe.stage.batch.samples);
  const epoch = async (cache: FeatureCache | null): Promise<number> => {
    const began = performance.now();
    const loader = await openLoader({
      model: recipe.model,
      stage: recipe.stage,
      workers: 0,
      ...(cache && { features: cache.sets }),
    });
    for (let i = 0; i < steps; i++) {
      const { batches } = await loader.next();
      step.run(cache ? cache.complete(batches).batches : batches, i);
      loader.recycle(batches);
    }
    await loader.close();
    return (performance.now() - began) / 1000;
  };
  const times: { uncached: number[]; first: number[]; second: number[] } = {
    uncached: [],
    first: [],
    second: [],
  };
  let cold = 0;
  const { cache } = await openFeatureCache(options, model, plan);
  if (!cache) throw new Error('nothing is cached');
  // The first round records.
  for (let pair = 0; pair <= Number(values.pairs); pair++) {
    for (const set of [cache.sets.global, cache.sets.local]) {
      if (set) await rm(set.folder, { recursive: true, force: true });
    }
    const first = await epoch(cache);
    const second = await epoch(cache);
    const uncached = await epoch(null);
    if (pair === 0) {
      cold = first;
      continue;
    }
    times.first.push(first);
    times.second.push(second);
    times.uncached.push(uncached);
  }
  cache.dispose();
  step.dispose();
  model.dispose();
  return {
    model: name,
    stage,
    steps,
    uncached: median(times.uncached),
    first: median(times.first),
    second: median(times.second),
    ofFirst: medianRatio(times.second, times.first),
    ofUncached: medianRatio(times.second, times.uncached),
    cold,
  };
}

await startEngine({ threads: THREADS });
const folder = await mkdtemp(join(tmpdir(), 'ground-bench-'));
try {
  await writeShards(records(), join(folder, 'scenes'), { builder: 'bench', source: {} });
  const measured: Measured[] = [];
  for (const name of values.models.split(',')) {
    for (const stage of [1, 2]) {
      const one = await measure(name, stage, folder);
      measured.push(one);
      if (values.json) continue;
      const seconds = [one.uncached, one.first, one.second].map(s => s.toFixed(2));
      console.log(
        `${name}, stage ${stage}, ${one.steps} steps: uncached ${seconds[0]} s, filling ${seconds[1]} s, cached ${seconds[2]} s; ` +
          `cached / first ${one.ofFirst.toFixed(2)} (cold first ${(one.second / one.cold).toFixed(2)}), cached / uncached ${one.ofUncached.toFixed(2)}`,
      );
    }
  }
  if (values.json) {
    const machine = { cores: availableParallelism(), threads: THREADS };
    console.log(JSON.stringify({ ...machine, images, photographs: values.photographs, measured }, null, 2));
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
