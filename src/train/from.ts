/** What `from` or `init_from` of a recipe means. */
export interface Origin {
  /** The stage of the same run; null where a folder is named. */
  readonly stage: number | null;
  /** `stage1`, or the folder. */
  readonly place: string;
  /** The checkpoint of the best score instead of the newest. */
  readonly best: boolean;
}

const BEST = '@best';

/** Reads `stage1`, `stage1@best`, `DIR` or `DIR@best`. */
export function parseFrom(from: string): Origin {
  const best = from.endsWith(BEST);
  const place = best ? from.slice(0, -BEST.length) : from;
  const stage = /^stage(\d+)$/.exec(place)?.[1];
  return { stage: stage === undefined ? null : Number(stage), place, best };
}
