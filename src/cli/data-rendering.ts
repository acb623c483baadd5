/** What `ground data` renders records with: the tasks of a recipe's stage, or the tiny recipe's tokenizer and every task. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { Rendering } from '../data/rendering.ts';
import { TASK_NAMES } from '../data/tasks/names.ts';
import { GroundError } from '../errors.ts';
import { DEFAULT_RECIPE, findRecipeDir, wholeNumber } from './options.ts';

export interface RenderingFlags {
  readonly recipe?: string;
  readonly stage?: number;
  readonly set: readonly string[];
  readonly tokenizer?: string;
}

/** Of a tokenizer that no recipe goes with: coordinates in thousand bins, Vicuna's template. */
const FULL_RECIPE = 'configs/ferret-v2';

/** Adds `--recipe`, `--stage`, `--set` and `--tokenizer`. */
export function withRendering(command: Command): Command {
  return command
    .option('--recipe <dir>', 'render samples as this recipe does')
    .option('--stage <n>', "the recipe's stage (default: its last)", wholeNumber)
    .option(
      '--set <key=value>',
      'override one value of the recipe (repeatable)',
      (value: string, previous: readonly string[]) => [...previous, value],
      [],
    )
    .option('--tokenizer <file>', 'render with this tokenizer.json, without a recipe');
}

/** `--task`. */
export function taskOption(): Option {
  const tasks = TASK_NAMES.filter(task => task !== 'contrastive');
  return new Option('--task <name>', 'show what this task makes of the rows').choices(tasks);
}

/**
 * The model and the stage that the flags name, `data` those of its sources that read `dir`, or all where none does. Without a
 * recipe: every task, and no limit of length. Throws `usage` and `config`.
 */
export async function renderingOf(dir: string, flags: RenderingFlags): Promise<Rendering> {
  if (flags.recipe !== undefined && flags.tokenizer !== undefined) {
    throw new GroundError('usage', '--tokenizer and --recipe exclude each other', {
      hint: 'a recipe names its tokenizer: --set model.tokenizer=FILE',
    });
  }
  if (flags.recipe === undefined && (flags.stage !== undefined || flags.set.length > 0)) {
    throw new GroundError('usage', '--stage and --set are about a recipe', { hint: 'add --recipe DIR' });
  }
  const { loadRecipe, stagesOf } = await import('../config/load.ts');
  const given = flags.recipe ?? (flags.tokenizer === undefined ? DEFAULT_RECIPE : FULL_RECIPE);
  const recipeDir = findRecipeDir(given);
  const stage = flags.stage ?? stagesOf(recipeDir).at(-1) ?? 1;
  const recipe = loadRecipe({ recipeDir, stage, overrides: flags.set, files: 'ignore' });
  if (flags.recipe !== undefined) {
    const own = recipe.stage.data.filter(({ dataset }) => resolve(dataset) === resolve(dir));
    return own.length === 0 ? recipe : { ...recipe, stage: { ...recipe.stage, data: own } };
  }
  const tokenizer = flags.tokenizer === undefined ? recipe.model.tokenizer : resolve(flags.tokenizer);
  return {
    model: { ...recipe.model, tokenizer, max_length: Number.POSITIVE_INFINITY },
    stage: { ...recipe.stage, data: TASK_NAMES.map(task => ({ dataset: dir, task, weight: 1 })) },
  };
}
