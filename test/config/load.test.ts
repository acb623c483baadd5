import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkFiles } from '../../src/config/dependencies.ts';
import { loadRecipe } from '../../src/config/load.ts';
import { readResolvedRecipe, recipeToYaml } from '../../src/config/resolved.ts';
import type { Recipe } from '../../src/train/recipe.ts';
import {
  folderWith,
  loadSample,
  MODEL,
  messageThrown,
  STAGE,
  sampleFolder,
  temporaryFolder,
} from './sample.ts';

const CONFIGS = join(import.meta.dirname, '../../configs');

/** Every stage of every recipe that is shipped. */
const shipped = readdirSync(CONFIGS)
  .filter(name => !name.endsWith('.json'))
  .flatMap(recipe =>
    readdirSync(join(CONFIGS, recipe)).flatMap(file => {
      const stage = /^stage(\d+)\.yaml$/.exec(file)?.[1];
      return stage === undefined ? [] : [{ recipe, stage: Number(stage) }];
    }),
  );

function roundTrip(recipe: Recipe): Recipe {
  const file = join(folderWith({ 'recipe.yaml': recipeToYaml(recipe) }), 'recipe.yaml');
  return readResolvedRecipe(file);
}

test('the shipped recipes are found', () => {
  expect(shipped.map(({ recipe, stage }) => `${recipe}/${stage}`).sort()).toEqual([
    'ablation/0',
    'ablation/1',
    'ablation/2',
    'ablation/3',
    'ferret-v2-small-scenes/0',
    'ferret-v2-small-scenes/1',
    'ferret-v2-small-scenes/2',
    'ferret-v2-small-scenes/3',
    'ferret-v2-tiny/0',
    'ferret-v2-tiny/1',
    'ferret-v2-tiny/2',
    'ferret-v2-tiny/3',
    'ferret-v2/1',
    'ferret-v2/2',
    'ferret-v2/3',
  ]);
});

describe.each(shipped)('$recipe, stage $stage', ({ recipe: name, stage }) => {
  const recipe = () => loadRecipe({ recipeDir: join(CONFIGS, name), stage, files: 'ignore' });

  test('is valid and trains what the paper says, but for the encoders in the last stage of small ones', () => {
    const trained: Record<string, readonly string[]> = {
      0: ['encoder', 'text_encoder', 'contrastive', 'llm'],
      1: ['projector.global'],
      2: ['projector', 'sampler'],
      3: [...(name === 'ferret-v2' ? ['encoder'] : []), 'projector', 'sampler', 'llm'],
    };
    expect(recipe().stage.train).toEqual(trained[stage]);
    expect(recipe().stage.views).toBe(stage === 1 ? 'global' : 'global+local');
    expect(recipe().stage.copy).toEqual(
      stage === 2 ? [{ from: 'projector.global', to: 'projector.local' }] : [],
    );
  });

  test('reads back from its resolved form unchanged', () => {
    expect(roundTrip(recipe())).toEqual(recipe());
  });
});

test('the tiny recipe has the tokenizer that it ships with', () => {
  const recipe = loadRecipe({ recipeDir: join(CONFIGS, 'ferret-v2-tiny'), stage: 0, files: 'ignore' });
  expect(checkFiles(recipe, CONFIGS).filter(({ key }) => key[0] === 'model')).toEqual([]);
});

test('the full recipe has the fourteen grids of the paper', () => {
  const { grids } = loadRecipe({ recipeDir: join(CONFIGS, 'ferret-v2'), stage: 2, files: 'ignore' }).model
    .image;
  expect(grids).toHaveLength(14);
  expect(Math.max(...grids.map(([columns, rows]) => columns * rows))).toBe(6);
});

describe('what a file leaves out', () => {
  test('has the documented defaults', () => {
    const { model, stage } = loadSample();
    expect(stage).toMatchObject({
      optimizer: { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0, clip_norm: 1 },
      schedule: { kind: 'cosine', warmup: 0.03, floor: 0 },
      views: 'global+local',
      grounding_prompt: '',
      batch: { samples: 16, accumulate: 1 },
      seed: 0,
      eval: { every: 0, samples: 64, data: [] },
    });
    expect(model).toMatchObject({
      coordinates: { bins: 1000 },
      layout: { order: 'global-local' },
      template: 'vicuna_v1',
      referring: { features: 'encoder', upsample: 'nearest', point_radius: 5 },
    });
    expect(model).not.toHaveProperty('pretraining');
  });

  test('heads of the language model follow from its width', () => {
    expect(loadSample().model.llm).toMatchObject({ head_dim: 24, num_key_value_heads: 2 });
    const without = loadSample({ model: [['  num_key_value_heads: 2\n', '']] });
    expect(without.model.llm.num_key_value_heads).toBe(4);
  });
});

describe('paths', () => {
  test('datasets are relative to the current folder, the tokenizer to the file that names it', () => {
    const cwd = sampleFolder();
    const recipe = loadRecipe({ recipeDir: join(cwd, 'recipe'), stage: 2, cwd, files: 'ignore' });
    expect(recipe.stage.data[0]?.dataset).toBe(join(cwd, 'data/scenes/train'));
    expect(recipe.model.tokenizer).toBe(join(cwd, 'recipe/tokenizer.json'));
  });

  test('a model file elsewhere brings its own tokenizer', () => {
    const cwd = folderWith({
      'base/model.yaml': MODEL,
      'mine/stage2.yaml': STAGE.replace('model.yaml', '../base/model.yaml'),
    });
    const recipe = loadRecipe({ recipeDir: join(cwd, 'mine'), stage: 2, cwd, files: 'ignore' });
    expect(recipe.model.tokenizer).toBe(join(cwd, 'base/tokenizer.json'));
  });

  test('a tokenizer given on the command line is relative to the current folder', () => {
    const cwd = sampleFolder();
    const recipe = loadRecipe({
      recipeDir: join(cwd, 'recipe'),
      stage: 2,
      cwd,
      files: 'ignore',
      overrides: ['model.tokenizer=other/tokenizer.json'],
    });
    expect(recipe.model.tokenizer).toBe(join(cwd, 'other/tokenizer.json'));
  });

  test('a checkpoint to start from becomes absolute, a stage keeps its name', () => {
    const cwd = sampleFolder();
    const from = (value: string) =>
      loadRecipe({
        recipeDir: join(cwd, 'recipe'),
        stage: 2,
        cwd,
        files: 'ignore',
        overrides: [`from=${value}`],
      }).stage.from;
    expect(from('runs/a')).toBe(join(cwd, 'runs/a'));
    expect(from('stage0')).toBe('stage0');
    expect(from('null')).toBeNull();
  });
});

describe('what must be on disk', () => {
  const load = (cwd: string) => loadRecipe({ recipeDir: join(cwd, 'recipe'), stage: 2, cwd });

  test('a missing dataset is named with the command that makes it', () => {
    expect(messageThrown(() => load(sampleFolder()))).toContain(
      [
        'recipe/stage2.yaml:10:15  data.0.dataset: dataset data/scenes/train does not exist',
        '  10 |   - {dataset: data/scenes/train, task: dense-referring, weight: 1}',
        '     |               ^^^^^^^^^^^^^^^^^',
        '  = ground data synth --out data/scenes/train renders it',
      ].join('\n'),
    );
  });

  test('a folder without a manifest is no dataset', () => {
    const cwd = sampleFolder();
    mkdirSync(join(cwd, 'data/scenes/train'), { recursive: true });
    expect(messageThrown(() => load(cwd))).toContain(
      'data/scenes/train is no dataset: it has no manifest.json',
    );
    writeFileSync(join(cwd, 'data/scenes/train/manifest.json'), '{}');
    expect(messageThrown(() => load(cwd))).not.toContain('data.0.dataset');
  });

  test('a missing tokenizer is named', () => {
    expect(messageThrown(() => load(sampleFolder()))).toContain(
      'recipe/model.yaml:2:12  model.tokenizer: recipe/tokenizer.json does not exist',
    );
  });

  test('an embedding smaller than the tokenizer is refused', () => {
    const cwd = sampleFolder();
    writeFileSync(join(cwd, 'recipe/tokenizer.json'), JSON.stringify(tokenizerOf(120)));
    expect(messageThrown(() => load(cwd))).toContain(
      'model.llm.vocab_size: 100 rows are too few for the 120 tokens of recipe/tokenizer.json',
    );
    writeFileSync(join(cwd, 'recipe/tokenizer.json'), JSON.stringify(tokenizerOf(100)));
    expect(messageThrown(() => load(cwd))).not.toContain('vocab_size');
  });
});

test('a stage that does not exist is named', () => {
  const cwd = sampleFolder();
  expect(messageThrown(() => loadRecipe({ recipeDir: join(cwd, 'recipe'), stage: 7, cwd }))).toBe(
    'recipe has no stage7.yaml',
  );
});

test('a stage may change the model that it extends', () => {
  const recipe = loadSample({
    stage: [['steps: 400', 'steps: 400\nmodel: {template: plain, image: {side: 16}}']],
  });
  expect(recipe.model.template).toBe('plain');
  expect(recipe.model.image).toEqual({
    side: 16,
    grids: [
      [1, 1],
      [2, 1],
    ],
    resize: 'stretch',
  });
});

test('a spoilt resolved recipe is refused with its line', () => {
  const dir = temporaryFolder();
  const file = join(dir, 'recipe.yaml');
  writeFileSync(file, recipeToYaml(loadSample()).replace('steps: 400', 'steps: -1'));
  expect(messageThrown(() => readResolvedRecipe(file, dir))).toMatch(
    /^a problem in recipe\.yaml\nrecipe\.yaml:\d+:8 {2}steps:/,
  );
});

/** A tokenizer.json with `size` whole-word tokens. */
function tokenizerOf(size: number) {
  const specials = ['<unk>', '<s>', '</s>', '<region_fea>'];
  const words = Array.from({ length: size - specials.length }, (_, i) => `w${i}`);
  const vocab = Object.fromEntries([...specials, ...words].map((word, id) => [word, id]));
  const added = specials.map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }));
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: 'Whitespace' },
    post_processor: null,
    decoder: null,
    model: { type: 'WordLevel', vocab, unk_token: '<unk>' },
  };
}
