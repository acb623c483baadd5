import { fileURLToPath } from 'node:url';
import { loadRecipe } from '../../../src/config/load.ts';
import type { Recipe } from '../../../src/train/recipe.ts';

/** A stage of the shipped tiny recipe; datasets need not be there. */
export function tinyStage(stage: number, overrides: readonly string[] = []): Recipe {
  return shippedStage('ferret-v2-tiny', stage, overrides);
}

export function shippedStage(recipe: string, stage: number, overrides: readonly string[] = []): Recipe {
  const recipeDir = fileURLToPath(new URL(`../../../configs/${recipe}`, import.meta.url));
  return loadRecipe({ recipeDir, stage, overrides, files: 'ignore' });
}

/** The sizes of a batch like those of the tiny recipe's scenes, `samples` of them. */
export function sceneSizes(samples: number, views: Recipe['stage']['views']) {
  return views === 'global'
    ? { samples, positions: 80, tiles: 0, regions: 0, targets: 24 * samples }
    : { samples, positions: 224, tiles: 4 * samples, regions: 2 * samples, targets: 32 * samples };
}
