import type { Command } from 'commander';
import {
  type CommonOptions,
  findRecipeDir,
  type RecipeOptions,
  wholeNumber,
  withCommon,
  withRecipe,
} from './options.ts';
import { createOutput } from './output.ts';

/** Adds `ground config show`. */
export function register(program: Command): void {
  const config = program.command('config').description('look at recipes');
  withCommon(
    withRecipe(
      config
        .command('show')
        .description('print the resolved recipe of a stage, and where each value comes from')
        .requiredOption('--stage <n>', 'which stage', wholeNumber),
    ),
  ).action(async (options: RecipeOptions & CommonOptions & { stage: number }) => {
    const { showRecipe } = await import('../config/show.ts');
    const shown = showRecipe({
      recipeDir: findRecipeDir(options.recipe),
      stage: options.stage,
      overrides: options.set,
    });
    const out = createOutput(options);
    out.line(shown.yaml.trimEnd());
    out.result({ recipe: shown.recipe, origins: shown.origins });
  });
}
