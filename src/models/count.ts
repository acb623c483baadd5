import type { ModelConfig } from './config.ts';
import { Ferret } from './ferret.ts';

/** Parameters of each module of a model, in order of declaration: encoder.global, …, sampler, llm. Allocates nothing. */
export function parameterCounts(config: ModelConfig): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const parameter of new Ferret(config).parameters.all) {
    const [first = '', second = ''] = parameter.name.split('.');
    const group = first === 'encoder' || first === 'projector' ? `${first}.${second}` : first;
    counts.set(group, (counts.get(group) ?? 0) + parameter.size);
  }
  return counts;
}
