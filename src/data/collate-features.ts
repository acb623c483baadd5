/** The features of a batch's images as one table an encoder: what is known filled in, and what is still to be made named. */
import type { BatchFeatures, FeatureTable, MissingFeatures } from '../models/batch.ts';
import { takeFloats } from './buffers.ts';
import type { FeatureSet, FeatureSets } from './feature-store.ts';
import type { KnownFeatures, Views } from './image.ts';

/** Views of a batch, rounded up: so many rows of features an encoder would give. */
export interface ViewCounts {
  readonly images: number;
  readonly tiles: number;
}

/** What is known of the images of a batch. Rows that pad, and those of images that are still to be encoded, are 0. */
export function featuresOf(
  views: readonly Views[],
  { images, tiles }: ViewCounts,
  sets: FeatureSets,
): BatchFeatures {
  const known = views.flatMap(({ features }) => (features ? [features] : []));
  return {
    global: tableOf(sets.global, known, images, one => ({ views: 1, values: one.global })),
    local: tableOf(sets.local, known, tiles, one => ({ views: one.tiles, values: one.local })),
    damaged: known.flatMap(({ damaged }) => damaged),
  };
}

/** Whether an encoder must see the pixels of an image. */
export function isMissing(views: Views, of: 'global' | 'local', sets: FeatureSets): boolean {
  return sets[of] === null || !views.features || views.features[of] === null;
}

function tableOf(
  set: FeatureSet | null,
  known: readonly KnownFeatures[],
  count: number,
  of: (one: KnownFeatures) => { readonly views: number; readonly values: Float32Array | null },
): FeatureTable | null {
  if (set === null || count === 0) return null;
  const { rows, width } = set;
  const data = takeFloats(count * rows * width);
  const missing: MissingFeatures[] = [];
  let hits = 0;
  let view = 0;
  for (const one of known) {
    const { views, values } = of(one);
    if (views === 0) continue;
    const at = view * rows * width;
    if (values) data.set(values, at);
    else data.fill(0, at, at + views * rows * width);
    if (values) hits++;
    else missing.push({ key: one.key, view, views });
    view += views;
  }
  data.fill(0, view * rows * width);
  return { rows: { data, shape: [count * rows, width] }, missing, hits };
}
