/** The views of an image whose features may be known already, so that it need not even be decoded. */
import type { ModelConfig } from '../models/config.ts';
import { DamagedEntry, type FeatureSet, type FeatureSets, readEntry } from './feature-store.ts';
import { type KnownFeatures, placedViews, type ViewMode, type Views } from './image.ts';
import type { Row } from './rows.ts';

/**
 * The views of a row with what is known of them. Pixels are there only where some features are still to be made. Throws as
 * `Row.views`.
 */
export async function viewsWithFeatures(
  row: Row,
  sets: FeatureSets,
  { model, views: mode }: { readonly model: ModelConfig; readonly views: ViewMode },
): Promise<Views> {
  const placed = placedViews(row.record, model.image);
  const tiles = mode === 'global' ? 0 : placed.grid[0] * placed.grid[1];
  const key = await row.imageKey();
  const damaged: string[] = [];
  const read = (set: FeatureSet | null, views: number): Float32Array | null => {
    const found = set && readEntry(set, key, views);
    if (!(found instanceof DamagedEntry)) return found;
    damaged.push(found.message);
    return null;
  };
  const features: KnownFeatures = {
    key,
    tiles,
    global: read(sets.global, 1),
    local: tiles === 0 ? null : read(sets.local, tiles),
    damaged,
  };
  const complete = features.global !== null && (tiles === 0 || features.local !== null);
  if (!complete) return { ...(await row.views()), features };
  return { ...placed, global: NO_PIXELS, tiles: NO_PIXELS, features };
}

const NO_PIXELS = new Uint8Array(0);
