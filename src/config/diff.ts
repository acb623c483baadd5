import type { Recipe } from '../train/recipe.ts';

/** One value that differs between two recipes; undefined where one of them lacks it. */
export interface Difference {
  /** "optimizer.clip_norm", "model.llm.hidden_size". */
  readonly key: string;
  readonly before: unknown;
  readonly after: unknown;
  /** True where going on with the new value gives another result than the old recipe would have given. */
  readonly matters: boolean;
}

/** Keys that change what is written down or looked at, and nothing that is learned. */
const HARMLESS = [
  'name',
  'log',
  'checkpoint',
  'checkpoint_activations',
  'eval',
  // What is done when something goes wrong: to be changed, and gone on with, when something went wrong.
  'on_nonfinite',
  'nonfinite_limit',
  'spike',
  'on_no_gradient',
  'limits',
  'feature_cache',
  'model.name',
  'model.tokenizer',
];

/** Every value in which two recipes differ, in the order of their keys. */
export function diffRecipes(before: Recipe, after: Recipe): Difference[] {
  const tree = ({ stage, model }: Recipe) => ({ ...stage, model });
  return differences(tree(before), tree(after), '');
}

function differences(before: unknown, after: unknown, key: string): Difference[] {
  if (isObject(before) && isObject(after) && Array.isArray(before) === Array.isArray(after)) {
    const parts = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...parts].flatMap(part =>
      differences(Reflect.get(before, part), Reflect.get(after, part), key === '' ? part : `${key}.${part}`),
    );
  }
  return Object.is(before, after) ? [] : [{ key, before, after, matters: !isHarmless(key) }];
}

function isHarmless(key: string): boolean {
  return HARMLESS.some(prefix => key === prefix || key.startsWith(`${prefix}.`));
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
