import type { PixelBox } from '../../data/box.ts';
import { boxIou } from './iou.ts';

/** A predicted box hits when its IoU with the true one is at least this (RefCOCO's Acc@0.5). */
export const HIT_IOU = 0.5;

/** How one answer to "where is …?" compares with the truth. */
export interface RecVerdict {
  /** IoU of the first box; 0 where the answer has none or its first one is malformed. */
  readonly iou: number;
  readonly hit: boolean;
  /** Whether any box of the answer hits: the upper bound that Ferret reports beside the accuracy. */
  readonly anyHit: boolean;
  /** Whether the mean of the answer's well-formed boxes hits, corner by corner. */
  readonly meanHit: boolean;
}

/** Shares and means over many answers; NaN-free: all 0 when there are none. */
export interface RecScores {
  readonly count: number;
  /** Share of answers whose first box hits, 0..1. */
  readonly accuracy: number;
  /** Mean IoU of the first box, misses counting 0. */
  readonly meanIou: number;
  /** Share of answers of which any box hits, 0..1. */
  readonly anyAccuracy: number;
  /** Share of answers of which the mean box hits, 0..1. */
  readonly meanAccuracy: number;
}

/** Judges one answer. `predictions` are its bracket groups in order, null where a group is no box. */
export function judgeRec(truth: PixelBox, predictions: readonly (PixelBox | null)[]): RecVerdict {
  const ious = predictions.map(box => (box ? boxIou(box, truth) : 0));
  const iou = ious[0] ?? 0;
  const middle = meanBox(predictions.filter(box => box !== null));
  return {
    iou,
    hit: iou >= HIT_IOU,
    anyHit: ious.some(value => value >= HIT_IOU),
    meanHit: middle !== null && boxIou(middle, truth) >= HIT_IOU,
  };
}

/** The mean of each corner; null of no box. */
function meanBox(boxes: readonly PixelBox[]): PixelBox | null {
  if (boxes.length === 0) return null;
  const of = (corner: (box: PixelBox) => number): number =>
    boxes.reduce((sum, box) => sum + corner(box), 0) / boxes.length;
  return { space: 'pixels', x1: of(b => b.x1), y1: of(b => b.y1), x2: of(b => b.x2), y2: of(b => b.y2) };
}

/** Referring expression comprehension over many answers (facts: Ferret's eval_refexp). */
export function recScores(verdicts: readonly RecVerdict[]): RecScores {
  const count = verdicts.length;
  const mean = (score: (v: RecVerdict) => number): number =>
    count === 0 ? 0 : verdicts.reduce((sum, v) => sum + score(v), 0) / count;
  return {
    count,
    accuracy: mean(v => Number(v.hit)),
    meanIou: mean(v => v.iou),
    anyAccuracy: mean(v => Number(v.anyHit)),
    meanAccuracy: mean(v => Number(v.meanHit)),
  };
}
