import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { diffRecipes } from '../../src/config/diff.ts';
import { loadRecipe } from '../../src/config/load.ts';
import { readResolvedRecipe, recipeToYaml } from '../../src/config/resolved.ts';
import { parseFrom } from '../../src/train/from.ts';
import { complaintsAbout, folderWith, loadSample, sampleFolder, temporaryFolder } from './sample.ts';

const from = (line: string) => ({ stage: [['from: stage1', line]] as const });

test('init_from and from are two names of one key', () => {
  for (const value of ['stage1', 'stage1@best', 'null']) {
    expect(loadSample(from(`init_from: ${value}`)).stage.from).toEqual(value === 'null' ? null : value);
  }
});

test('one of them is required, and one is enough', () => {
  expect(complaintsAbout(from('seed: 1'))).toMatch(
    /from: missing; expected stageN, a checkpoint folder, or null/,
  );
  expect(complaintsAbout(from('from: stage1\ninit_from: null'))).toMatch(
    /stage2\.yaml:5:1 {2}init_from: says what `from` says already/,
  );
  expect(complaintsAbout(from('init_from: stage2@best'))).toMatch(/cannot start from stage2@best/);
});

test.each([
  ['stage1', { stage: 1, place: 'stage1', best: false }],
  ['stage12@best', { stage: 12, place: 'stage12', best: true }],
  ['/runs/a/stage1@best', { stage: null, place: '/runs/a/stage1', best: true }],
  ['./stage1', { stage: null, place: './stage1', best: false }],
])('%s is understood', (text, origin) => {
  expect(parseFrom(text)).toEqual(origin);
});

test('a project that was moved as a whole still means the same', () => {
  const cwd = sampleFolder(from('from: stage1x'));
  mkdirSync(join(cwd, 'stage1x'));
  const load = (folder: string) =>
    loadRecipe({ recipeDir: join(folder, 'recipe'), stage: 2, cwd: folder, files: 'ignore' });
  const yaml = recipeToYaml(load(cwd), cwd);
  expect(yaml).toContain('dataset: data/scenes/train');
  expect(yaml).toContain('from: ./stage1x');
  const moved = join(temporaryFolder(), 'moved');
  cpSync(cwd, moved, { recursive: true });
  const before = readResolvedRecipe(join(folderWith({ 'recipe.yaml': yaml }), 'recipe.yaml'), moved);
  expect(before.stage).toEqual(load(moved).stage);
  expect(diffRecipes(before, load(moved)).filter(d => d.matters)).toEqual([]);
});
