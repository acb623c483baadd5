/**
 * Phrase grounding as on Flickr30k Entities: a phrase hits at k when one of the first k boxes of the answer has an IoU of at
 * least 0.5 with the truth. Of a phrase with several boxes the truth is, by the merged-boxes protocol (MDETR, Ferret), the
 * smallest box around all of them; by the any-box protocol, whichever of them fits best.
 */
import type { PixelBox } from '../../data/box.ts';
import { boxIou } from './iou.ts';
import { mean } from './mean.ts';
import { HIT_IOU } from './rec.ts';

export const RECALLS_AT = [1, 5, 10] as const;
export const PROTOCOLS = ['merged', 'any'] as const;

/** Which box of the answer is the first that hits, from 1 on; null where none does. */
export type GroundingVerdict = Readonly<Record<(typeof PROTOCOLS)[number], number | null>>;

/** Judges one answer. A malformed box (null) takes a place and never hits; an answer without boxes hits nowhere. */
export function judgeGrounding(
  truth: readonly PixelBox[],
  predictions: readonly (PixelBox | null)[],
): GroundingVerdict {
  const merged = enclosing(truth);
  const firstHit = (targets: readonly PixelBox[]): number | null => {
    const place = predictions.findIndex(box => box && targets.some(target => boxIou(box, target) >= HIT_IOU));
    return place < 0 ? null : place + 1;
  };
  return { merged: firstHit(merged ? [merged] : []), any: firstHit(truth) };
}

/** The share of answers that hit among their first `k` boxes, 0..1; null of none. */
export function recallAt(
  verdicts: readonly GroundingVerdict[],
  protocol: (typeof PROTOCOLS)[number],
  k: number,
): number | null {
  return mean(verdicts.map(verdict => Number((verdict[protocol] ?? Number.POSITIVE_INFINITY) <= k)));
}

/** The smallest box around some; null around none. */
export function enclosing(boxes: readonly PixelBox[]): PixelBox | null {
  if (boxes.length === 0) return null;
  return {
    space: 'pixels',
    x1: Math.min(...boxes.map(box => box.x1)),
    y1: Math.min(...boxes.map(box => box.y1)),
    x2: Math.max(...boxes.map(box => box.x2)),
    y2: Math.max(...boxes.map(box => box.y2)),
  };
}
