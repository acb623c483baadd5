import type { Sample } from '../data/sample.ts';

/**
 * The samples with their images exchanged: each conversation stands beside another sample's image, its regions at the
 * same places of it. What the language loss gains from the right image is what the model has grounded; the rest it
 * knows from language alone. Images are exchanged between samples of equal tile grids, whose geometry is the same.
 * Null where some sample finds no other image (a batch of one, text alone, a grid that occurs once).
 */
export function withOtherImages(samples: readonly Sample[]): Sample[] | null {
  const groups = new Map<string, number[]>();
  for (const [i, sample] of samples.entries()) {
    if (!sample.views) return null;
    const key = exchangeKey(sample);
    groups.set(key, [...(groups.get(key) ?? []), i]);
  }
  const exchanged = [...samples];
  for (const members of groups.values()) {
    const idAt = (place: number): string => samples[members[place % members.length] ?? 0]?.id ?? '';
    const shift = members.findIndex((_, k) => k > 0 && members.every((_, i) => idAt(i) !== idAt(i + k)));
    if (shift < 0) return null;
    for (const [i, own] of members.entries()) {
      const other = samples[members[(i + shift) % members.length] ?? own];
      exchanged[own] = { ...(samples[own] as Sample), views: other?.views ?? null };
    }
  }
  return exchanged;
}

/** The grid by which samples exchange images: put samples of equal keys into one batch. */
export function exchangeKey({ views }: Sample): string {
  return views ? `${views.grid.join('x')} ${views.tiles.length}` : 'text';
}
