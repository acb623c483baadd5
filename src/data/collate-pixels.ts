/** Pixels of a batch's views, as the encoders read them, and where the patches of tiles lie. */
import type { ConversationBatch, Floats } from '../models/batch.ts';
import type { ModelConfig } from '../models/config.ts';
import { bucketSize } from './buckets.ts';
import { takeFloats } from './buffers.ts';
import { featuresOf, isMissing, type ViewCounts } from './collate-features.ts';
import type { FeatureSets } from './feature-store.ts';
import type { Views } from './image.ts';
import { localCentresOf, type PatchLayout, tileCountOf } from './maps.ts';
import { CLIP_NORMALISATION, type Normalisation, normaliseInto, tileNormalisation } from './normalise.ts';

/** As `pixels`; where features are kept, with what is known of them, and the pixels of the rest. */
export function visual(
  views: readonly Views[],
  counts: ViewCounts,
  layout: PatchLayout,
  model: ModelConfig,
  sets: FeatureSets | undefined,
): Pick<ConversationBatch, 'globalPixels' | 'localPixels' | 'localCentres' | 'features'> {
  if (!sets) return pixels(views, counts, layout, model);
  const unseen = (of: 'global' | 'local') => views.filter(seen => isMissing(seen, of, sets));
  const [globals, locals] = [unseen('global'), unseen('local')];
  const tiles = locals.reduce((total, seen) => total + tileCountOf(seen), 0);
  return {
    globalPixels: globalPixels(
      globals,
      sets.global ? bucketSize(globals.length, 4, 2) : counts.images,
      model,
    ),
    localPixels: localPixels(locals, sets.local ? bucketSize(tiles, 4, 4) : counts.tiles, model),
    localCentres: localCentres(views, counts.tiles, layout),
    features: featuresOf(views, counts, sets),
  };
}

/** Normalised pixels of both kinds of views, and where local patches lie; images and tiles beyond those there are stay 0. */
export function pixels(
  views: readonly Views[],
  { images, tiles }: ViewCounts,
  layout: PatchLayout,
  model: ModelConfig,
): Pick<ConversationBatch, 'globalPixels' | 'localPixels' | 'localCentres'> {
  return {
    globalPixels: globalPixels(views, images, model),
    localPixels: localPixels(views, tiles, model),
    localCentres: localCentres(views, tiles, layout),
  };
}

function globalPixels(views: readonly Views[], count: number, model: ModelConfig): Floats {
  const planes = views.map(({ global }) => global);
  return normalised(planes, count, model.image.side, CLIP_NORMALISATION);
}

function localPixels(views: readonly Views[], count: number, model: ModelConfig): Floats {
  const planes = views.map(({ tiles }) => tiles);
  return normalised(planes, count, model.image.side, tileNormalisation(model));
}

/** The floats of `count` views, 0 beyond those there are. */
function normalised(
  planes: readonly Uint8Array[],
  count: number,
  side: number,
  normalisation: Normalisation,
): Floats {
  const data = takeFloats(count * 3 * side * side);
  let at = 0;
  for (const levels of planes) at = normaliseInto(data, at, levels, side * side, normalisation);
  data.fill(0, at);
  return { data, shape: [count, 3, side, side] };
}

function localCentres(views: readonly Views[], tiles: number, layout: PatchLayout): Floats {
  const data = new Float32Array(tiles * layout.tileCount * 2);
  let at = 0;
  for (const seen of views) {
    if (tileCountOf(seen) === 0) continue;
    const own = localCentresOf(seen.grid, layout.tileSide);
    data.set(own, at);
    at += own.length;
  }
  return { data, shape: [tiles * layout.tileCount, 2] };
}
