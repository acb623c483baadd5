import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { compileMode } from '../engine/mode.ts';
import { GroundError } from '../errors.ts';
import type { Ferret } from '../models/ferret.ts';
import type { ParameterTree } from '../nn/parameter.ts';
import { adaptedLayer, buildModel, startingWeights } from './adapters.ts';
import type { Inputs } from './checkpoint.ts';
import { openNewest, openResolved, requireWhole } from './find.ts';
import { parseFrom } from './from.ts';
import { loadNewest } from './heal.ts';
import { readInputs } from './inputs.ts';
import { type LoadedCheckpoint, loadCheckpoint, readSteps } from './reading.ts';
import type { Recipe } from './recipe.ts';
import { clearStage, stageFolder } from './rundir.ts';
import {
  copyGroup,
  loadWeights,
  randomWeights,
  readWeights,
  resetGroup,
  takeWeights,
  type WeightSource,
} from './weights.ts';

/** Where a stage begins: new, in the middle, or not at all because it is finished. */
export type Start =
  | { readonly kind: 'fresh'; readonly warnings: readonly string[] }
  | { readonly kind: 'resume'; readonly checkpoint: LoadedCheckpoint; readonly warnings: readonly string[] }
  | {
      readonly kind: 'finished';
      readonly checkpoint: LoadedCheckpoint;
      readonly warnings: readonly string[];
    };

/** Reading, writing and comparing recipes; given from above because YAML is not the trainer's business. */
export interface RecipeCodec {
  write(recipe: Recipe): string;
  /** Reads the recipe.yaml of a checkpoint. */
  read(file: string): Recipe;
  diff(
    before: Recipe,
    after: Recipe,
  ): readonly {
    readonly key: string;
    readonly before: unknown;
    readonly after: unknown;
    readonly matters: boolean;
  }[];
}

/**
 * Decides how a stage begins from what its folder holds. An unfinished stage continues when the recipe still means the
 * same; a longer `steps` is allowed when the user asked to resume. `fresh` clears the folder first.
 * Throws GroundError('config') that shows each difference that matters.
 */
export async function decideStart(
  stageDir: string,
  runDir: string,
  recipe: Recipe,
  codec: RecipeCodec,
  options: { readonly fresh: boolean; readonly resume: boolean },
): Promise<Start> {
  if (options.fresh) {
    await clearStage(stageDir);
    return { kind: 'fresh', warnings: [] };
  }
  const { found, warnings } = await loadNewest(stageDir, () =>
    initialWeights(buildModel(recipe).parameters, recipe, runDir),
  );
  if (!found) return { kind: 'fresh', warnings };
  const { value: checkpoint } = found;
  await requireSameRecipe(stageDir, checkpoint, recipe, codec, options);
  const kind = checkpoint.state.step >= recipe.stage.steps ? 'finished' : 'resume';
  const notes = kind === 'resume' ? modeNotes(checkpoint, recipe) : [];
  return { kind, checkpoint, warnings: [...warnings, ...notes] };
}

/**
 * Throws GroundError('config') that shows each difference that matters between a recipe and that of a checkpoint of its
 * stage.
 */
export async function requireSameRecipe(
  stageDir: string,
  checkpoint: LoadedCheckpoint,
  recipe: Recipe,
  codec: RecipeCodec,
  options: { readonly resume: boolean },
): Promise<void> {
  const { step } = checkpoint.state;
  const { steps } = recipe.stage;
  const before = codec.read(join(checkpoint.path, 'recipe.yaml'));
  const differences = [
    ...codec
      .diff(before, recipe)
      .filter(d => d.matters && !isDatasetPath(d.key, checkpoint.state.inputs) && !isCompileSetting(d.key))
      .filter(d => !(d.key === 'steps' && options.resume && steps > step))
      .map(d => `${d.key}: ${JSON.stringify(d.before)} became ${JSON.stringify(d.after)}`),
    ...changedMode(checkpoint, before, recipe),
    ...(await changedInputs(checkpoint.state.inputs, recipe)),
  ];
  if (differences.length > 0) {
    throw new GroundError(
      'config',
      `${stageDir} was trained with another recipe, up to step ${step}: ${differences.join('; ')}`,
      {
        hint: 'give the same values again to continue, --fresh to start this stage over, or --run NAME for a new run; `steps` alone may grow with --resume',
      },
    );
  }
}

/** Where a dataset lies is of no interest once its content is known to be the same. */
function isDatasetPath(key: string, inputs: Inputs | undefined): boolean {
  return inputs !== undefined && /^data\.\d+\.dataset$/.test(key);
}

/** What was asked for is of no interest, but what it came to. */
function isCompileSetting(key: string): boolean {
  return key === 'engine' || key === 'engine.compile';
}

/** Steps that run another way than before, because the recipe asks for it. Another engine is no other recipe. */
function changedMode({ state }: LoadedCheckpoint, before: Recipe, { stage }: Recipe): string[] {
  const [was, asked] = [before.stage.engine?.compile ?? 'auto', stage.engine?.compile ?? 'auto'];
  const now = compileMode(asked);
  const ran = state.compile ?? compileMode(was);
  return was === asked || ran === now ? [] : [`engine.compile: ${ran} became ${now}`];
}

/** Says so where a stage goes on in another mode since it goes on on another engine. */
function modeNotes({ state }: LoadedCheckpoint, { stage }: Recipe): string[] {
  const now = compileMode(stage.engine?.compile);
  if ((state.compile ?? now) === now) return [];
  return [
    `WARNING: the steps before this ran with engine.compile ${state.compile}, and run with ${now} on this engine: results are no longer the same to the last bit`,
  ];
}

/** What is read besides the recipe and has other content than the run began with. */
async function changedInputs(before: Inputs | undefined, recipe: Recipe): Promise<string[]> {
  if (before === undefined) return [];
  const now = await readInputs(recipe);
  const tokenizer = now.tokenizer === before.tokenizer ? [] : ['model.tokenizer: the file has other content'];
  const data = now.data.flatMap((print, i) =>
    before.data[i] === undefined || before.data[i] === print
      ? []
      : [`data.${i}: ${recipe.stage.data[i]?.dataset} has other content`],
  );
  return [...tokenizer, ...data];
}

/** Whether a stage of a run has been trained to its end. */
export async function isFinished(runDir: string, stage: number): Promise<boolean> {
  const { found } = await openNewest(join(runDir, stageFolder(stage)), async path => {
    await requireWhole(path);
    return readSteps(path);
  });
  return found !== null && found.value.step >= found.value.steps;
}

/** Gives a model the weights that a start says: those of its checkpoint, or those that the stage begins with. */
export async function prepareWeights(
  { parameters }: Ferret,
  recipe: Recipe,
  runDir: string,
  start: Start,
): Promise<void> {
  if (start.kind !== 'fresh') return loadWeights(parameters, start.checkpoint.model, start.checkpoint.path);
  const weights = await initialWeights(parameters, recipe, runDir);
  await takeWeights(parameters, weights, recipe.stage.from ?? 'the random start');
}

/**
 * The weights that a stage begins with: those of the checkpoint that it starts from (their running average, where it has
 * one), or random ones; groups that start anew, and copies between groups. The same each time they are asked for.
 */
export async function initialWeights(
  tree: ParameterTree,
  recipe: Recipe,
  runDir: string,
): Promise<Map<string, WeightSource>> {
  const checkpoint = await initialCheckpoint(recipe, runDir);
  const random = randomWeights(tree, recipe.stage.seed);
  let weights = checkpoint ? readWeights(startingWeights(checkpoint, tree, recipe)) : random;
  // Adapters that the checkpoint does not have begin here.
  for (const [name, source] of random) {
    if (adaptedLayer(name) !== undefined && !weights.has(name)) weights.set(name, source);
  }
  for (const group of recipe.stage.reset ?? []) weights = resetGroup(weights, random, group);
  for (const { from, to } of recipe.stage.copy) weights = copyGroup(tree, weights, from, to);
  return weights;
}

/** What a new stage leaves behind of the checkpoint that it starts from, in lines for the log. */
export function resetNotes({ from, reset = [] }: Recipe['stage']): string[] {
  if (from === null) return [];
  return reset.map(group => `${group} starts at random (reset), not with the weights of ${from}`);
}

/**
 * The checkpoint that a new stage starts from: `stageN` of the same run, a path, or null for random weights; `@best` at
 * its end asks for the best one of a stage. Throws GroundError('config') when that stage has not been trained.
 */
async function initialCheckpoint(recipe: Recipe, runDir: string): Promise<LoadedCheckpoint | null> {
  const { from, stage } = recipe.stage;
  if (from === null) return null;
  const { stage: previous, place, best } = parseFrom(from);
  const folder = previous === null ? place : join(runDir, place);
  if (previous !== null && !existsSync(folder)) {
    throw new GroundError(
      'config',
      `stage ${stage} starts from ${place}, which this run has not trained (${folder})`,
      {
        hint: `train it first (--stage ${previous}-${stage}), name a checkpoint (--set from=DIR), or start from random weights (--set from=null)`,
      },
    );
  }
  const opened = await openResolved(folder, path => loadCheckpoint(path, { optimizer: false }), { best });
  return opened.value;
}
