import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readResolvedRecipe } from '../../src/config/resolved.ts';
import { showRecipe } from '../../src/config/show.ts';
import { folderWith, sampleFolder } from './sample.ts';

test('every value says where it comes from', () => {
  const cwd = sampleFolder({ stage: [['steps: 400', 'steps: 400\nmodel: {template: plain}']] });
  const { origins } = showRecipe({
    recipeDir: join(cwd, 'recipe'),
    stage: 2,
    cwd,
    overrides: ['lr=1e-3', 'data.0.weight=2', 'model.image.grids=[[1, 1]]'],
  });
  expect(origins).toMatchObject({
    steps: 'recipe/stage2.yaml:12:8',
    lr: '--set lr=1e-3',
    'train.1': 'recipe/stage2.yaml:5:20',
    'data.0.task': 'recipe/stage2.yaml:10:40',
    'data.0.weight': '--set data.0.weight=2',
    'batch.accumulate': 'default',
    'schedule.warmup': 'default',
    'model.template': 'recipe/stage2.yaml:13:19',
    'model.image.side': 'recipe/model.yaml:4:9',
    'model.image.grids.0.1': '--set model.image.grids=[[1, 1]]',
    'model.llm.head_dim': 'default',
  });
});

test('the shown YAML is the recipe, comments aside', () => {
  const cwd = sampleFolder();
  const shown = showRecipe({ recipeDir: join(cwd, 'recipe'), stage: 2, cwd });
  expect(shown.yaml).toContain('steps: 400 # recipe/stage2.yaml:12:8\n');
  const file = join(folderWith({ 'recipe.yaml': shown.yaml }), 'recipe.yaml');
  expect(readResolvedRecipe(file)).toEqual(shown.recipe);
});
