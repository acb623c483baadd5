/** The model that a command asks: a checkpoint in the engine, or an exported folder without one. */
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { GroundError } from '../errors.ts';
import type { Answering } from '../eval/predict.ts';
import type { StageRecipe } from '../train/recipe.ts';
import { type ModelOptions, openModel } from './model.ts';
import type { EngineOptions } from './options.ts';
import type { Output } from './output.ts';

/** Which model is asked. */
export interface AskedOptions extends ModelOptions {
  readonly onnx?: string;
}

/** A model that answers, and what it is. */
export interface Asked {
  readonly answering: Answering;
  /** How results name it. */
  readonly source: { readonly checkpoint: string; readonly onnx?: string };
  readonly stage: number;
  readonly step: number;
  /** What its stage is scored on; nothing for an exported folder, which knows no datasets. */
  readonly heldOut: StageRecipe['eval']['data'];
  /** Whether the weights are the running average of the stage's. */
  readonly averaged: boolean;
  /** The checkpoint's folder, or what it would be in the exported one: predictions lie in `eval` beside it. */
  readonly place: string;
  /** By the time of this file and the text of the manifest a model is known again. */
  readonly weights: string;
  readonly manifest: string;
  close(): Promise<void>;
}

/** Adds `--onnx`. */
export function withOnnx(command: Command): Command {
  return command.option(
    '--onnx <dir>',
    'a folder of ground export onnx instead of a checkpoint: onnxruntime answers, and no engine is loaded',
  );
}

/** Opens what the options name. Throws `usage` where they name two. */
export async function openAsked(options: AskedOptions & EngineOptions, out: Output): Promise<Asked> {
  return options.onnx === undefined ? openCheckpoint(options, out) : openExport(options.onnx, options);
}

async function openCheckpoint(options: AskedOptions & EngineOptions, out: Output): Promise<Asked> {
  const { answeringOf } = await import('../eval/predict.ts');
  const inference = await openModel(options, out);
  const { checkpoint, stage, step, averaged, recipe } = inference;
  return {
    answering: answeringOf(inference),
    source: { checkpoint },
    stage,
    step,
    heldOut: recipe.stage.eval.data,
    averaged,
    place: checkpoint,
    weights: join(checkpoint, 'model.safetensors'),
    manifest: join(checkpoint, 'manifest.json'),
    close: async () => inference.dispose(),
  };
}

async function openExport(folder: string, options: AskedOptions & EngineOptions): Promise<Asked> {
  const flags = ['run', 'stage', 'checkpoint', 'best', 'ema'] as const;
  const other = flags.find(flag => options[flag] !== undefined);
  if (other !== undefined) {
    throw new GroundError('usage', `--onnx and --${other} both say which model`, {
      hint: 'give one of them; a folder of --onnx holds all that is needed',
    });
  }
  if (options.engine !== 'auto' || options.device === 'gpu') {
    const [flag, value] = options.engine === 'auto' ? ['device', 'gpu'] : ['engine', options.engine];
    throw new GroundError(
      'usage',
      `--${flag} ${value} says nothing about --onnx: onnxruntime answers, on the CPU`,
      {
        hint: `leave out --${flag}`,
      },
    );
  }
  const { openOnnxModel } = await import('../export/onnx-model.ts');
  const { SETTINGS_FILE } = await import('../export/onnx-settings.ts');
  const { checkpointName } = await import('../train/rundir.ts');
  const whole = resolve(folder);
  const model = await openOnnxModel(whole);
  const { checkpoint, stage, step } = model.settings;
  return {
    answering: model,
    source: { onnx: folder, checkpoint },
    stage,
    step,
    heldOut: [],
    averaged: false,
    place: join(whole, checkpointName(step)),
    weights: join(whole, SETTINGS_FILE),
    manifest: join(whole, SETTINGS_FILE),
    close: () => model.close(),
  };
}
