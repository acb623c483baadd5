import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Command, Option } from 'commander';
import { GroundError } from '../errors.ts';

/** What every command takes. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly verbose?: boolean;
}

/** What every command that computes takes. */
export interface EngineOptions {
  readonly engine: 'auto' | 'tensorflow' | 'wasm';
  readonly device: 'auto' | 'cpu' | 'gpu';
}

/** What every command that reads a recipe takes. */
export interface RecipeOptions {
  readonly recipe: string;
  readonly set: readonly string[];
}

export const DEFAULT_RECIPE = 'configs/ferret-v2-tiny';

/** The folder that holds package.json, from src/cli as from dist/cli. */
export const PACKAGE_ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Adds `--json` and `--verbose`. */
export function withCommon(command: Command): Command {
  return command
    .option('--json', 'print the result as one JSON document on stdout')
    .option('--verbose', 'show the stack of an error');
}

/** Adds `--engine` and `--device`. */
export function withEngine(command: Command): Command {
  return command
    .addOption(
      new Option('--engine <name>', 'which kernels compute')
        .choices(['auto', 'tensorflow', 'wasm'])
        .default('auto'),
    )
    .addOption(
      new Option('--device <name>', 'where they compute').choices(['auto', 'cpu', 'gpu']).default('auto'),
    );
}

/** Adds `--recipe` and the repeatable `--set key=value`. */
export function withRecipe(command: Command): Command {
  return command
    .option('--recipe <dir>', 'folder with model.yaml and stageN.yaml', DEFAULT_RECIPE)
    .addOption(
      new Option('--set <key=value>', 'override one value of the recipe by its key path (repeatable)')
        .argParser((value, previous: readonly string[]) => [...previous, value])
        .default([], 'none'),
    );
}

/** Adds `--run`. */
export function withRun(command: Command): Command {
  return command.option('--run <name>', "the run's folder below checkpoints/ (default: the recipe's name)");
}

/**
 * The folder that `--recipe` means: relative to the current folder, or else to the installed package, so that the
 * shipped recipes are found from anywhere. Throws `config` where neither exists.
 */
export function findRecipeDir(recipe: string, cwd: string = process.cwd()): string {
  const candidates = [resolve(cwd, recipe), resolve(PACKAGE_ROOT, recipe)];
  const found = candidates.find(dir => existsSync(dir));
  if (found !== undefined) return found;
  throw new GroundError('config', `recipe folder not found: ${candidates.join(' or ')}`, {
    hint: `--recipe names a folder with model.yaml and stageN.yaml, such as ${DEFAULT_RECIPE}`,
  });
}

/**
 * The absolute path of a file that a command will write in the end: checked before the work, not after it. Throws `usage`
 * where its folder does not exist or the name is that of a folder.
 */
export function outputFile(flag: string, path: string): string {
  const file = resolve(path);
  if (!existsSync(dirname(file))) {
    throw new GroundError('usage', `${flag} ${path}: there is no folder ${dirname(file)}`, {
      hint: `create it: mkdir -p ${dirname(path)}`,
    });
  }
  if (existsSync(file) && statSync(file).isDirectory()) {
    throw new GroundError('usage', `${flag} ${path} is a folder`, { hint: 'name a file in it' });
  }
  return file;
}

/** Reads a flag's value as a whole number from 0 on. Throws `usage` on anything else. */
export function wholeNumber(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new GroundError('usage', `expected a whole number, found "${text}"`);
}

/** Reads a flag's value as a whole number from 1 on. Throws `usage` on anything else. */
export function countingNumber(text: string): number {
  if (wholeNumber(text) > 0) return Number(text);
  throw new GroundError('usage', `must be at least 1, found "${text}"`);
}
