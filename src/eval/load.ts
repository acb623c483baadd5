/** A trained model from its checkpoint alone, ready to answer. */
import { join } from 'node:path';
import type { Tokenizer } from '../data/tokenizer.ts';
import { loadTokenizer } from '../data/tokenizer.ts';
import { GroundError } from '../errors.ts';
import { Ferret } from '../models/ferret.ts';
import { openResolved } from '../train/find.ts';
import { loadCheckpoint } from '../train/reading.ts';
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
  /** Newer checkpoints that were damaged and passed over. */
  readonly warnings: readonly string[];
  dispose(): void;
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
  options: { readonly best?: boolean } = {},
): Promise<InferenceModel> {
  const load = (checkpoint: string) => loadCheckpoint(checkpoint, { optimizer: false });
  const resolved = await openResolved(path, load, options);
  const { state, model: weights, modelConfig } = resolved.value;
  const recipe = codec.read(join(resolved.path, 'recipe.yaml'));
  const tokenizer = loadTokenizer(modelConfig.tokenizer);
  const model = new Ferret(modelConfig);
  try {
    loadWeights(model.parameters, weights, resolved.path);
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
    warnings: resolved.warnings,
    dispose: () => model.dispose(),
  };
}
