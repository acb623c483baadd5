import { isAbsolute } from 'node:path';
import { stringify } from 'yaml';
import type { DataSource, Recipe } from '../train/recipe.ts';
import { labelOf, readConfigFile } from './file.ts';
import { resolveRecipe } from './load.ts';

/**
 * A recipe as YAML with every default written out, in the shape of a stage file with its model inside: what is kept in
 * the folder of a run, and a stage file in its own right. Datasets and weights below the current folder are named from
 * there, so that a project can be moved or copied as a whole.
 */
export function recipeToYaml(recipe: Recipe, cwd: string = process.cwd()): string {
  const known = texts.get(recipe);
  if (known?.cwd === cwd) return known.text;
  const text = textOf(recipe, cwd);
  texts.set(recipe, { cwd, text });
  return text;
}

/** Training stands still while a recipe's text is made for a checkpoint, for longer than a small model is copied. */
const texts = new WeakMap<Recipe, { readonly cwd: string; readonly text: string }>();

function textOf({ stage: { stage, ...rest }, model }: Recipe, cwd: string): string {
  const near = (sources: readonly DataSource[]) =>
    sources.map(source => ({ ...source, dataset: labelOf(source.dataset, cwd) }));
  const { from, feature_cache } = rest;
  const values = {
    stage,
    ...rest,
    // `./`: a folder may be called as a stage is.
    from:
      from === null || !isAbsolute(from) || labelOf(from, cwd) === from ? from : `./${labelOf(from, cwd)}`,
    ...(feature_cache === undefined || feature_cache === 'off' || feature_cache.dir === undefined
      ? {}
      : { feature_cache: { ...feature_cache, dir: labelOf(feature_cache.dir, cwd) } }),
    data: near(rest.data),
    eval: { ...rest.eval, data: near(rest.eval.data) },
    model,
  };
  return stringify(values, { lineWidth: 0 });
}

/** Reads back what `recipeToYaml` wrote: an equal recipe. Throws `config` where somebody has spoilt the file. */
export function readResolvedRecipe(path: string, cwd: string = process.cwd()): Recipe {
  const file = readConfigFile(path, cwd);
  return resolveRecipe(file, { label: labelOf(path, cwd), cwd, files: 'ignore' }).recipe;
}
