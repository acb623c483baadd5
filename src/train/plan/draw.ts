import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openLoader } from '../../data/loader.ts';
import type { Batch } from '../../models/batch.ts';
import type { ModelConfig } from '../../models/config.ts';
import type { StageRecipe } from '../recipe.ts';
import { largestBatches } from './sizes.ts';

/** Batches of one size, and which part of the stage's batches of its kind they make up, 0..1. */
export interface BatchGroup {
  readonly batch: Batch;
  readonly share: number;
}

/** What a stage trains on, as far as its cost depends on it. */
export interface DrawnBatches {
  /** `data`: drawn as training will; `largest`: the data is not there, the largest that could come is assumed. */
  readonly source: 'data' | 'largest';
  readonly groups: readonly BatchGroup[];
}

/** Micro-batches looked at: sizes repeat, and images take time to decode. */
const MICRO_BATCHES = 24;

/** The first batches of a stage by size, or the largest possible ones where a dataset or the tokenizer is missing. */
export async function drawBatches(stage: StageRecipe, model: ModelConfig): Promise<DrawnBatches> {
  const missing = [...stage.data.map(({ dataset }) => join(dataset, 'manifest.json')), model.tokenizer].some(
    file => !existsSync(file),
  );
  if (missing) {
    return {
      source: 'largest',
      groups: largestBatches(stage, model).map(batch => ({ batch, share: 1 })),
    };
  }
  const loader = await openLoader({
    model,
    stage: { ...stage, batch: { ...stage.batch, accumulate: 1 } },
    workers: 0,
  });
  try {
    const drawn: Batch[] = [];
    for (let i = 0; i < MICRO_BATCHES; i++) drawn.push(...(await loader.next()).batches);
    return { source: 'data', groups: grouped(drawn) };
  } finally {
    await loader.close();
  }
}

/** One group for each size, the sizes that come most often first. */
export function grouped(batches: readonly Batch[]): BatchGroup[] {
  const groups = new Map<string, { batch: Batch; count: number }>();
  const ofKind = new Map<string, number>();
  for (const batch of batches) {
    const key = shapeKey(batch);
    const group = groups.get(key) ?? { batch, count: 0 };
    group.count++;
    groups.set(key, group);
    ofKind.set(batch.kind, (ofKind.get(batch.kind) ?? 0) + 1);
  }
  return [...groups.values()]
    .sort((a, b) => b.count - a.count)
    .map(({ batch, count }) => ({ batch, share: count / (ofKind.get(batch.kind) ?? count) }));
}

/** Every shape of a batch: what decides about the functions that are recorded for it. */
function shapeKey(batch: Batch): string {
  return JSON.stringify(batch, (key, value: unknown) =>
    key === 'data' || key === 'sampleIds' ? undefined : value,
  );
}
