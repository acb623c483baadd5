import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { GroundError } from '../errors.ts';
import { type LoadedCheckpoint, loadCheckpoint } from './checkpoint.ts';
import type { Recipe } from './recipe.ts';
import { clearStage, latestCheckpoint, resolveCheckpoint, stageFolder } from './rundir.ts';

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
  recipe: Recipe,
  codec: RecipeCodec,
  options: { readonly fresh: boolean; readonly resume: boolean },
): Promise<Start> {
  if (options.fresh) {
    await clearStage(stageDir);
    return { kind: 'fresh', warnings: [] };
  }
  const { checkpoint: latest, warnings } = await latestCheckpoint(stageDir);
  if (!latest) return { kind: 'fresh', warnings };
  const before = codec.read(join(latest.path, 'recipe.yaml'));
  const { steps } = recipe.stage;
  const matters = codec
    .diff(before, recipe)
    .filter(d => d.matters && !(d.key === 'steps' && options.resume && steps > latest.step));
  if (matters.length > 0) {
    const shown = matters.map(d => `${d.key}: ${JSON.stringify(d.before)} became ${JSON.stringify(d.after)}`);
    throw new GroundError(
      'config',
      `${stageDir} was trained with another recipe, up to step ${latest.step}: ${shown.join('; ')}`,
      {
        hint: 'give the same values again to continue, --fresh to start this stage over, or --run NAME for a new run; `steps` alone may grow with --resume',
      },
    );
  }
  const checkpoint = await loadCheckpoint(latest.path);
  return { kind: checkpoint.state.step >= steps ? 'finished' : 'resume', checkpoint, warnings };
}

/** Whether a stage of a run has been trained to its end. */
export async function isFinished(runDir: string, stage: number): Promise<boolean> {
  const { checkpoint } = await latestCheckpoint(join(runDir, stageFolder(stage)));
  if (!checkpoint) return false;
  const { state } = await loadCheckpoint(checkpoint.path, { optimizer: false });
  return state.step >= state.steps;
}

/**
 * The checkpoint that a new stage starts from: `stageN` of the same run, a path, or null for random weights.
 * Throws GroundError('config') when that stage has not been trained.
 */
export async function initialCheckpoint(recipe: Recipe, runDir: string): Promise<LoadedCheckpoint | null> {
  const { from, stage } = recipe.stage;
  if (from === null) return null;
  const previous = /^stage\d+$/.test(from);
  const folder = previous ? join(runDir, from) : from;
  if (previous && !existsSync(folder)) {
    throw new GroundError(
      'config',
      `stage ${stage} starts from ${from}, which this run has not trained (${folder})`,
      {
        hint: `train it first (--stage ${from.slice(5)}-${stage}), name a checkpoint (--set from=DIR), or start from random weights (--set from=null)`,
      },
    );
  }
  const { path } = await resolveCheckpoint(folder);
  return loadCheckpoint(path, { optimizer: false });
}
