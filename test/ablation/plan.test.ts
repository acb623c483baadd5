import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Ledger } from '../../scripts/ablation/ledger.ts';
import { type Job, type PlanOptions, planJobs } from '../../scripts/ablation/plan.ts';
import { FULL, VARIANTS } from '../../scripts/ablation/variants.ts';
import { diffRecipes } from '../../src/config/diff.ts';
import { loadRecipe } from '../../src/config/load.ts';
import type { Recipe } from '../../src/train/recipe.ts';

const RECIPE = 'configs/ablation';
const options: PlanOptions = {
  name: 'ablation',
  recipe: RECIPE,
  seeds: 3,
  variants: VARIANTS,
  steps: [10, 20, 30, 40],
  scenes: { train: 100, heldOut: 50 },
  questions: 60,
  engine: 'auto',
};
const jobs = planJobs(options);

/** The recipe that a training command means. */
function recipeOf({ args }: Job): Recipe {
  const after = (flag: string): string => args[args.indexOf(flag) + 1] ?? '';
  return loadRecipe({
    recipeDir: after('--recipe'),
    stage: Number(after('--stage')),
    data: after('--data'),
    evalData: after('--eval-data'),
    overrides: args.filter((_, i) => args[i - 1] === '--set'),
    files: 'ignore',
  });
}

const job = (id: string): Job => {
  const found = jobs.find(one => one.id === id);
  if (!found) throw new Error(`no job ${id}`);
  return found;
};

/** Keys in which a stage of a variant differs from the same one of the full method. */
function differences(variant: string, stage: number): string[] {
  const [full, own] = [job(`1-full-stage${stage}`), job(`1-${variant}-stage${stage}`)].map(recipeOf);
  if (!full || !own) throw new Error('no recipe');
  return diffRecipes(full, own).map(({ key }) =>
    key
      .split('.')
      .slice(0, key.startsWith('model') ? 2 : 1)
      .join('.'),
  );
}

describe('the plan', () => {
  test('has every job once, after all that it needs', () => {
    const ids = jobs.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [i, { after }] of jobs.entries()) {
      for (const needed of after) expect(ids.indexOf(needed), needed).toSatisfy(at => at >= 0 && at < i);
    }
  });

  test('trains shared stages once a seed', () => {
    for (const seed of [1, 2, 3]) {
      const own = jobs.filter(({ id, args }) => id.startsWith(`${seed}-`) && args[0] === 'train');
      const stages = own.map(({ args }) => args[2]);
      expect(stages.filter(stage => stage === '0')).toHaveLength(1);
      expect(stages.filter(stage => stage === '1')).toHaveLength(1);
      expect(stages.filter(stage => stage === '3')).toHaveLength(VARIANTS.length);
      // Encoders that train differ in stage 3 alone, and one variant has no stage 2.
      expect(stages.filter(stage => stage === '2')).toHaveLength(VARIANTS.length - 2);
    }
    expect(jobs.filter(({ kind }) => kind.endsWith('scores'))).toHaveLength(3 * VARIANTS.length);
  });

  test('gives each seed scenes, weights and order of its own, and all variants the same of them', () => {
    const recipes = jobs
      .filter(({ id }) => /stage3$/.test(id))
      .map(one => ({ id: one.id, recipe: recipeOf(one) }));
    const bySeed = new Map<string, Set<string>>();
    for (const { id, recipe } of recipes) {
      const seen = bySeed.get(id[0] ?? '') ?? new Set();
      seen.add(`${recipe.stage.seed} ${recipe.stage.data[0]?.dataset}`);
      bySeed.set(id[0] ?? '', seen);
    }
    expect([...bySeed.values()].map(seen => seen.size)).toEqual([1, 1, 1]);
    expect(new Set([...bySeed.values()].flatMap(seen => [...seen])).size).toBe(3);
  });

  test('needs the shared stage of the full method though only a variant was asked for', () => {
    const trained = VARIANTS.filter(({ name }) => name === 'trained');
    const ids = planJobs({ ...options, seeds: 1, variants: trained }).map(({ id }) => id);
    expect(ids).toContain('1-full-stage2');
    expect(ids).not.toContain('1-full-stage3');
  });
});

describe('a variant differs in one thing', () => {
  test('every training command is a recipe that is accepted', () => {
    for (const one of jobs.filter(({ args }) => args[0] === 'train'))
      expect(() => recipeOf(one)).not.toThrow();
  });

  test.each([
    ['fixed', 2, ['copy', 'lr', 'train', 'views']],
    ['fixed', 3, ['lr', 'train', 'views']],
    ['upsampled', 3, ['lr', 'model.image', 'train', 'views']],
    ['clip-only', 2, ['model.tile_encoder']],
    ['clip-only', 3, ['model.tile_encoder']],
    ['no-stage-2', 3, ['copy', 'from']],
    ['trained', 3, ['from', 'lr', 'train']],
    ['average', 2, ['model.sampler', 'reset']],
    ['average', 3, ['model.sampler']],
  ])('%s, stage %i', (variant, stage, keys) => {
    expect([...new Set(differences(variant, stage))].sort()).toEqual(keys);
  });

  test('rates of what trains in both are those of the full method', () => {
    const full = recipeOf(job('1-full-stage3')).stage.lr as Record<string, number>;
    const { encoder: _, ...rest } = recipeOf(job('1-trained-stage3')).stage.lr as Record<string, number>;
    expect(rest).toEqual(full);
    for (const stage of [2, 3]) {
      const [whole, fixed] = ['full', 'fixed'].map(
        variant => recipeOf(job(`1-${variant}-stage${stage}`)).stage.lr as Record<string, number>,
      );
      for (const [group, rate] of Object.entries(fixed ?? {}))
        expect(rate).toBe(whole?.[group.split('.')[0] ?? '']);
    }
  });
});

describe('the ledger', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ground-ledger-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const chain = (args: readonly string[]): Job[] => [
    { id: 'a', kind: 'a', args, after: [], makes: join(folder, 'made-a'), seconds: 5 },
    { id: 'b', kind: 'b', args: ['eval'], after: ['a'], makes: join(folder, 'made-b'), seconds: 7 },
  ];
  const open = (args: readonly string[]) => new Ledger(join(folder, 'jobs'), chain(args), RECIPE);
  const done = (args: readonly string[]) => chain(args).map(one => open(args).isDone(one));

  test('knows what was run, until the command or what came before it is another, or its file is gone', async () => {
    const args = ['train', '--set', 'steps=1'];
    expect(done(args)).toEqual([false, false]);
    const ledger = open(args);
    for (const one of chain(args)) {
      writeFileSync(one.makes, '');
      await ledger.finish(one, 3);
    }
    expect(done(args)).toEqual([true, true]);
    expect(done(['train', '--set', 'steps=2'])).toEqual([false, false]);
    rmSync(join(folder, 'made-b'));
    expect(done(args)).toEqual([true, false]);
    writeFileSync(join(folder, 'jobs', 'a.json'), '{"key": "tor');
    expect(done(args)).toEqual([false, false]);
  });

  test('reckons with what the like took here', async () => {
    const [a, b] = chain(['data']) as [Job, Job];
    const ledger = open(['data']);
    expect([ledger.estimate(a), ledger.estimate(b)]).toEqual([5, 7]);
    await ledger.finish(a, 50);
    expect([ledger.estimate(a), ledger.estimate(b)]).toEqual([50, 7]);
  });
});

test('the full method changes nothing but seeds, steps and data', () => {
  expect(FULL.stage3).toEqual([]);
  expect(FULL.stage2).toEqual({ kind: 'own', set: [] });
});
