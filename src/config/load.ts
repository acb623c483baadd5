import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { GroundError } from '../errors.ts';
import { parseFrom } from '../train/from.ts';
import type { Recipe } from '../train/recipe.ts';
import { checkFiles } from './dependencies.ts';
import { type ConfigFile, labelOf, placeOf, readConfigFile, valuesOf } from './file.ts';
import { type Complaint, complaintsOf, describe } from './issues.ts';
import { type Layer, mergeTrees, modelLayer, nearestPlace, originOf, stageLayer } from './layers.ts';
import { applyOverride, datasetOverrides, type Override, readOverrides } from './overrides.ts';
import { type KeyPath, type Place, type Problem, problemsError } from './problems.ts';
import { checkRules } from './rules.ts';
import { type RecipeTree, recipeOfTree, recipeSchema } from './schema.ts';

export interface LoadOptions {
  /** Folder with model.yaml and stageN.yaml. */
  readonly recipeDir: string;
  readonly stage: number;
  /** Texts of `--set`: "lr=1e-4". */
  readonly overrides?: readonly string[];
  /** Value of `--data`: what every source reads, held-out ones too where there is no `evalData`. */
  readonly data?: string;
  /** Value of `--eval-data`: what every held-out source reads. */
  readonly evalData?: string;
  /** Whether datasets, tokenizer and weights must be there; `ignore` checks the recipe alone. */
  readonly files?: 'require' | 'ignore';
  /** What relative paths are relative to. */
  readonly cwd?: string;
}

/** A recipe, and where each of its values came from. */
export interface LoadedRecipe {
  readonly recipe: Recipe;
  /** The place where the value at a key (of the YAML's shape) was written; undefined for a default. */
  origin(key: KeyPath): Place | undefined;
}

/**
 * Reads stage `stage` of a recipe folder: the stage's file over the model file that it extends, overrides over both,
 * defaults filled in, paths absolute. Throws one `config` error that lists every problem with file, line and column.
 */
export function loadRecipe(options: LoadOptions): Recipe {
  return loadRecipeWithOrigins(options).recipe;
}

/** As `loadRecipe`, and tells where each value came from. */
export function loadRecipeWithOrigins(options: LoadOptions): LoadedRecipe {
  const cwd = options.cwd ?? process.cwd();
  const label = `the recipe ${labelOf(options.recipeDir, cwd)}, stage ${options.stage}`;
  const path = join(options.recipeDir, `stage${options.stage}.yaml`);
  if (!existsSync(path)) throw noSuchStage(options, cwd);
  const stageFile = readConfigFile(path, cwd);
  return resolveRecipe(stageFile, { ...options, label, cwd, expectedStage: options.stage });
}

/** The stages for which a recipe folder has a file, in order. */
export function stagesOf(recipeDir: string): number[] {
  const names = existsSync(recipeDir) ? readdirSync(recipeDir) : [];
  return names
    .flatMap(name => /^stage(\d+)\.yaml$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

function noSuchStage({ recipeDir, stage }: LoadOptions, cwd: string): GroundError {
  const stages = stagesOf(recipeDir);
  return new GroundError('config', `${labelOf(recipeDir, cwd)} has no stage${stage}.yaml`, {
    hint:
      stages.length > 0
        ? `its stages are ${stages.join(', ')}`
        : 'a recipe is a folder with model.yaml and stageN.yaml',
  });
}

/** What `resolveRecipe` needs to know beside the stage file. */
interface ResolveOptions {
  /** Names the recipe in an error. */
  readonly label: string;
  readonly cwd: string;
  readonly overrides?: readonly string[];
  readonly data?: string;
  readonly evalData?: string;
  readonly files?: 'require' | 'ignore';
  /** The number in the file's name, where it has one. */
  readonly expectedStage?: number;
}

/** The recipe that a stage file, or the resolved recipe of a run, stands for. */
export function resolveRecipe(stageFile: ConfigFile, options: ResolveOptions): LoadedRecipe {
  const { overrides, problems } = readOverrides(options.overrides ?? []);
  problems.push(...stageFile.problems);
  const layers: Layer[] = [stageLayer(stageFile)];
  const base = readBase(stageFile, options.cwd);
  if (base && 'problem' in base) problems.push(base.problem);
  if (base && 'file' in base) {
    problems.push(...base.file.problems);
    layers.unshift(modelLayer(base.file));
  }
  // After a syntax error the rest of the file cannot be trusted: complaints about it would mislead.
  if (problems.some(problem => problem.place.kind === 'file')) throw problemsError(problems, options.label);

  let tree = layers.reduce<Record<string, unknown>>((merged, layer) => mergeTrees(merged, layer.tree), {});
  const applied: Override[] = [];
  const apply = (override: Override): void => {
    const result = applyOverride(tree, override);
    if ('problem' in result) problems.push(result.problem);
    else {
      tree = result.tree;
      applied.push(override);
    }
  };
  for (const override of overrides) apply(override);
  // After --set, which may have changed the list of sources.
  for (const override of datasetOverrides(tree, options)) {
    // The finer flag stands: `--data DIR --set data.2.dataset=OTHER`.
    if (!overrides.some(({ key }) => key.join() === override.key.join())) apply(override);
  }

  const top: Place = placeOf(stageFile, [], 'value') ?? { kind: 'flag', flag: stageFile.label };
  const locate = (complaint: Complaint): Problem => ({
    ...complaint,
    place: nearestPlace(complaint.key, layers, applied, complaint.aboutKey === true) ?? top,
  });
  const parsed = recipeSchema.safeParse(tree);
  if (!parsed.success) {
    problems.push(...complaintsOf(parsed.error.issues, tree).map(locate));
    throw problemsError(problems, options.label);
  }

  const origin = (key: KeyPath) => originOf(key, layers, applied);
  const resolved = resolvePaths(parsed.data, {
    cwd: options.cwd,
    tokenizerDir:
      origin(['model', 'tokenizer'])?.kind === 'flag' ? options.cwd : tokenizerDir(stageFile, base),
  });
  const recipe = recipeOfTree(resolved);
  const complaints = [...checkOrigin(parsed.data), ...checkRanks(parsed.data), ...checkRules(recipe)];
  if (options.expectedStage !== undefined && recipe.stage.stage !== options.expectedStage) {
    const message = `this is the file of stage ${options.expectedStage}, found ${recipe.stage.stage}`;
    complaints.push({ key: ['stage'], message });
  }
  if (options.files !== 'ignore') complaints.push(...checkFiles(recipe, options.cwd));
  problems.push(...complaints.map(locate));
  if (problems.length > 0) throw problemsError(problems, options.label);
  return { recipe, origin };
}

/** Where weights come from is said once: nobody should get random ones by leaving a line out. */
function checkOrigin({ from, init_from: other }: RecipeTree): Complaint[] {
  if (from === undefined && other === undefined) {
    const message = 'missing; expected stageN, a checkpoint folder, or null for random weights';
    return [{ key: ['from'], message, hint: '`from` and `init_from` are two names of one key' }];
  }
  if (from === undefined || other === undefined) return [];
  const message = 'says what `from` says already';
  return [{ key: ['init_from'], message, hint: 'give one of them', aboutKey: true }];
}

/** An adapter's rank is said once, under one of its two names. */
function checkRanks({ lora = [] }: RecipeTree): Complaint[] {
  return lora.flatMap(({ rank, r }, i): Complaint[] => {
    if (rank === undefined && r === undefined) {
      return [{ key: ['lora', i, 'rank'], message: 'missing; expected a whole number, 1 or more' }];
    }
    if (rank === undefined || r === undefined) return [];
    const message = 'says what `rank` says already';
    return [{ key: ['lora', i, 'r'], message, hint: 'give one of them', aboutKey: true }];
  });
}

/** The model file that a stage file extends; undefined where it names none. */
function readBase(
  stageFile: ConfigFile,
  cwd: string,
): { file: ConfigFile } | { problem: Problem } | undefined {
  const named = valuesOf(stageFile).extends;
  if (named === undefined) return undefined;
  const place = placeOf(stageFile, ['extends'], 'value') ?? { kind: 'flag', flag: stageFile.label };
  const refuse = (message: string) => ({ problem: { place, key: ['extends'], message } });
  if (typeof named !== 'string') return refuse(`expected the name of a model file, found ${describe(named)}`);
  const path = resolve(dirname(stageFile.path), named);
  if (!existsSync(path)) return refuse(`no such file: ${labelOf(path, cwd)}`);
  return { file: readConfigFile(path, cwd) };
}

/** The folder of the file that names the tokenizer. */
function tokenizerDir(stageFile: ConfigFile, base: ReturnType<typeof readBase>): string {
  const inStage = placeOf(stageFile, ['model', 'tokenizer'], 'value') !== undefined;
  return dirname(!inStage && base && 'file' in base ? base.file.path : stageFile.path);
}

function resolvePaths(tree: RecipeTree, from: { cwd: string; tokenizerDir: string }): RecipeTree {
  const absolute = (sources: RecipeTree['data']) =>
    sources.map(source => ({ ...source, dataset: resolve(from.cwd, source.dataset) }));
  const weights = (named: string | null): string | null =>
    named === null || parseFrom(named).stage !== null ? named : resolve(from.cwd, named);
  const features = (cache: NonNullable<RecipeTree['feature_cache']>) =>
    cache === 'off' || cache.dir === undefined ? cache : { ...cache, dir: resolve(from.cwd, cache.dir) };
  return {
    ...tree,
    ...(tree.from === undefined ? {} : { from: weights(tree.from) }),
    ...(tree.init_from === undefined ? {} : { init_from: weights(tree.init_from) }),
    ...(tree.feature_cache === undefined ? {} : { feature_cache: features(tree.feature_cache) }),
    data: absolute(tree.data),
    eval: { ...tree.eval, data: absolute(tree.eval.data) },
    model: { ...tree.model, tokenizer: resolve(from.tokenizerDir, tree.model.tokenizer) },
  };
}
