import type { StageRecipe, TrainGroup } from './recipe.ts';

/** The prefix that an entry of `train` selects below. */
export function groupOf(entry: TrainGroup): string {
  return typeof entry === 'string' ? entry : entry.group;
}

/** Every prefix below which a stage trains something, adapters included, each once. */
export function trainedGroups({ train, lora = [] }: Pick<StageRecipe, 'train' | 'lora'>): string[] {
  return [...new Set([...train.map(groupOf), ...lora.map(({ module }) => module)])];
}

/** Modules at the depth at which people speak of them: encoder.global, projector.local, sampler, llm. */
export function moduleOf(name: string): string {
  const [first = name, second = ''] = name.split('.');
  return first === 'encoder' || first === 'projector' ? `${first}.${second}` : first;
}
