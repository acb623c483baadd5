import { stringify } from 'yaml';
import type { Recipe } from '../train/recipe.ts';
import { labelOf, readConfigFile } from './file.ts';
import { resolveRecipe } from './load.ts';

/**
 * A recipe as YAML with every default written out, in the shape of a stage file with its model inside: what is kept in
 * the folder of a run, and a stage file in its own right.
 */
export function recipeToYaml(recipe: Recipe): string {
  const { stage, ...rest } = recipe.stage;
  return stringify({ stage, ...rest, model: recipe.model }, { lineWidth: 0 });
}

/** Reads back what `recipeToYaml` wrote: an equal recipe. Throws `config` where somebody has spoilt the file. */
export function readResolvedRecipe(path: string, cwd: string = process.cwd()): Recipe {
  const file = readConfigFile(path, cwd);
  return resolveRecipe(file, { label: labelOf(path, cwd), cwd, files: 'ignore' }).recipe;
}
