import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { GroundError } from '../errors.ts';
import type { InferenceModel } from '../eval/load.ts';
import { DEFAULT_RECIPE, type EngineOptions, wholeNumber } from './options.ts';
import type { Output } from './output.ts';

/** Which trained model a command works on. */
export interface ModelOptions {
  readonly run?: string;
  readonly stage?: number;
  readonly checkpoint?: string;
  readonly best?: boolean;
  readonly ema?: boolean;
}

/** Adds `--run`, `--stage`, `--checkpoint`, `--best` and `--ema`. */
export function withModel(command: Command): Command {
  return command
    .option('--run <name>', `the run's folder below checkpoints/ (default: ${basename(DEFAULT_RECIPE)})`)
    .option('--stage <n>', 'the stage of the run (default: the last that was trained)', wholeNumber)
    .option('--checkpoint <dir>', 'a checkpoint, or the folder of a stage or a run (newest checkpoint)')
    .option('--best', 'the best checkpoint by checkpoint.metric of the recipe, not the newest')
    .option('--ema', 'the running average of the weights (default: where the checkpoint has one)')
    .option('--no-ema', 'the weights that training goes on with, not their running average');
}

/** The folder that the options name; which checkpoint of it is meant is decided later. Throws `usage`. */
export function modelPath({ run, stage, checkpoint }: ModelOptions): string {
  if (checkpoint === undefined) {
    const runDir = resolve('checkpoints', run ?? basename(DEFAULT_RECIPE));
    return stage === undefined ? runDir : resolve(runDir, `stage${stage}`);
  }
  if (run !== undefined || stage !== undefined) {
    throw new GroundError('usage', '--checkpoint and --run or --stage both say which model', {
      hint: "give one of them; --checkpoint takes a run's or a stage's folder, too",
    });
  }
  return resolve(checkpoint);
}

/** Starts the engine and loads the model that the options name, with a note of every damaged checkpoint passed over. */
export async function openModel(
  options: ModelOptions & EngineOptions,
  out: Output,
  adapters: 'keep' | 'merge' = 'keep',
): Promise<InferenceModel> {
  const path = modelPath(options);
  const { startEngine } = await import('../engine/engine.ts');
  await startEngine({ engine: options.engine, device: options.device });
  const { readResolvedRecipe } = await import('../config/resolved.ts');
  const { loadForInference } = await import('../eval/load.ts');
  const inference = await loadForInference(
    path,
    { read: readResolvedRecipe },
    {
      best: options.best === true,
      adapters,
      ...(options.ema === undefined ? {} : { ema: options.ema }),
    },
  );
  if (inference.averaged) out.note('weights: the running average (--no-ema for those of the last step)');
  for (const warning of inference.warnings) out.note(`warning: ${warning}`);
  return inference;
}
