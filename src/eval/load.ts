/** A trained model from its checkpoint alone, ready to answer. */
import { join } from 'node:path';
import type { Tokenizer } from '../data/tokenizer.ts';
import { loadTokenizer } from '../data/tokenizer.ts';
import { GroundError } from '../errors.ts';
import { Ferret } from '../models/ferret.ts';
import { attachAdapters, averagedWeights, mergeAdapters } from '../train/adapters.ts';
import { openResolved } from '../train/find.ts';
import { type LoadedCheckpoint, loadCheckpoint } from '../train/reading.ts';
import type { Recipe } from '../train/recipe.ts';
import type { RecipeCodec } from '../train/start.ts';
import { loadWeights } from '../train/weights.ts';

/** A model that only answers. Its weights live in the engine until `dispose`. */
export interface InferenceModel {
  readonly model: Ferret;
  readonly tokenizer: Tokenizer;
  /** As the stage was trained: which views the model expects, which prompt asks for boxes. */
  readonly recipe: Recipe;
  readonly stage: number;
  readonly step: number;
  /** The folder that was read. */
  readonly checkpoint: string;
  /** How many of its layers have a low-rank adapter beside them; none where they were merged. */
  readonly adapters: number;
  /** Whether the weights are the running average of the stage's. */
  readonly averaged: boolean;
  /** Newer checkpoints that were damaged and passed over. */
  readonly warnings: readonly string[];
  dispose(): void;
}

/** Which of a checkpoint's weights are wanted. */
export interface WeightChoice {
  /** The best checkpoint, not the newest. */
  readonly best?: boolean;
  /** True: the running average, which must be there. False: the weights that training goes on with. By default the average where there is one. */
  readonly ema?: boolean;
  /** Whether adapters stay beside the layers or become part of them; `keep` by default. */
  readonly adapters?: 'keep' | 'merge';
}

/**
 * Loads the checkpoint that a path stands for: itself, or the newest whole one of a stage's or a run's folder, or with
 * `best` the one of the best score. Model
 * and tokenizer are the checkpoint's own copies, whatever the recipe's paths say. Throws GroundError 'checkpoint' when
 * there is none or it is damaged, and 'model' that lists missing, unexpected and misshapen parameters when the weights
 * are of another model than its model.json describes.
 */
export async function loadForInference(
  path: string,
  codec: Pick<RecipeCodec, 'read'>,
  options: WeightChoice = {},
): Promise<InferenceModel> {
  const load = (checkpoint: string) => loadCheckpoint(checkpoint, { optimizer: false });
  const resolved = await openResolved(path, load, options);
  const { state, modelConfig } = resolved.value;
  const weights = chosenWeights(resolved.value, options);
  const { adapters = [] } = state;
  const merge = options.adapters === 'merge';
  const recipe = codec.read(join(resolved.path, 'recipe.yaml'));
  const tokenizer = loadTokenizer(modelConfig.tokenizer);
  const model = new Ferret(modelConfig);
  try {
    if (!merge) attachAdapters(model.parameters, adapters);
    loadWeights(model.parameters, merge ? mergeAdapters(weights, adapters) : weights, resolved.path);
  } catch (thrown) {
    model.dispose();
    if (!(thrown instanceof GroundError) || thrown.code !== 'model') throw thrown;
    throw new GroundError('model', thrown.message, {
      hint: 'its model.safetensors belongs to another model than its model.json: use another checkpoint',
      cause: thrown,
    });
  }
  return {
    model,
    tokenizer,
    recipe: { ...recipe, model: modelConfig },
    stage: state.stage,
    step: state.step,
    checkpoint: resolved.path,
    adapters: merge ? 0 : adapters.length,
    averaged: weights !== resolved.value.model,
    warnings: resolved.warnings,
    dispose: () => model.dispose(),
  };
}

/** The weights that are asked for. Throws GroundError('checkpoint') where there is no average to take. */
function chosenWeights(checkpoint: LoadedCheckpoint, { ema }: WeightChoice): LoadedCheckpoint['model'] {
  if (ema === false) return checkpoint.model;
  if (ema === true && checkpoint.average === null) {
    throw new GroundError('checkpoint', `${checkpoint.path} has no running average of its weights`, {
      hint: 'leave out --ema, or train with `ema: {decay: 0.999}` in the stage',
    });
  }
  return averagedWeights(checkpoint);
}
