/** What merging adapters into the weights does to a model's scores. */
import type { InferenceModel } from '../eval/load.ts';
import { workSample } from './check.ts';
import { exampleBatch } from './example.ts';

/** Scores of the rendered example scene. Answers can only be compared with those of the same model. */
export async function exampleScores({ model, tokenizer, recipe }: InferenceModel): Promise<Float32Array> {
  const context = { model: model.config, tokenizer, views: recipe.stage.views, seed: 0 };
  return workSample(model, await exampleBatch(context, model.config.max_length)).logits.data;
}

/** max |a - b|; infinite where one of them is not a number. */
export function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, i) => {
    const difference = Math.abs(value - (b[i] ?? Number.NaN));
    return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(most, difference);
  }, 0);
}
