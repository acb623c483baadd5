import { type Command, Option } from 'commander';
import type { RecipeFile } from '../config/json-schema.ts';
import {
  type CommonOptions,
  findRecipeDir,
  type RecipeOptions,
  wholeNumber,
  withCommon,
  withRecipe,
} from './options.ts';
import { createOutput } from './output.ts';

/** Adds `ground config show` and `ground config schema`. */
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
  withCommon(
    config
      .command('schema')
      .description(
        'print the JSON Schema of stageN.yaml or model.yaml, for editors that complete and check YAML',
      )
      .addOption(new Option('--for <file>', 'which file').choices(['stage', 'model']).default('stage')),
  ).action(async (options: CommonOptions & { readonly for: RecipeFile }) => {
    const { jsonSchemaText, recipeJsonSchema } = await import('../config/json-schema.ts');
    const out = createOutput(options);
    out.line(jsonSchemaText(options.for).trimEnd());
    out.result(recipeJsonSchema(options.for));
  });
}
