/**
 * Boxes of a grounded caption against the true ones (Zhou et al. 2019, over all phrases together instead of class by class):
 * a box is right when it has an IoU of at least 0.5 with a true one that no box before it has taken.
 */
import type { PixelBox } from '../../data/box.ts';
import { boxIou } from './iou.ts';
import { HIT_IOU } from './rec.ts';

/** A box with the word that it stands behind, in lower case. */
export interface NamedBox {
  readonly name: string;
  readonly box: PixelBox | null;
}

/** What one caption adds to the corpus. */
export interface BoxCounts {
  readonly predicted: number;
  readonly true: number;
  /** Boxes that are right whatever they are called. */
  readonly placed: number;
  /** Boxes that are right and have the name of the true one. */
  readonly named: number;
  /** Boxes on either side whose name the other side has too, and how many of the predicted ones are right. */
  readonly sharedPredicted: number;
  readonly sharedTrue: number;
}

/** F1 over a corpus, 0..1 each. */
export interface BoxF1 {
  /** Boxes whatever they are called. */
  readonly boxes: number;
  /** Right name and right place: F1_all. */
  readonly all: number;
  /** Right place among the names that both sides have: F1_loc. */
  readonly located: number;
}

/** Counts of one caption; a malformed box (null) is one that is wrong. */
export function countBoxes(predicted: readonly NamedBox[], truth: readonly NamedBox[]): BoxCounts {
  const names = { predicted: new Set(predicted.map(b => b.name)), true: new Set(truth.map(b => b.name)) };
  return {
    predicted: predicted.length,
    true: truth.length,
    placed: taken(predicted, truth, () => true),
    named: taken(predicted, truth, (a, b) => a.name === b.name),
    sharedPredicted: predicted.filter(b => names.true.has(b.name)).length,
    sharedTrue: truth.filter(b => names.predicted.has(b.name)).length,
  };
}

/** F1 scores of the corpus; 0 where neither side has a box. */
export function boxF1(counts: readonly BoxCounts[]): BoxF1 {
  const total = (of: (one: BoxCounts) => number): number => counts.reduce((sum, one) => sum + of(one), 0);
  const f1 = (right: number, predicted: number, truth: number): number =>
    predicted + truth === 0 ? 0 : (2 * right) / (predicted + truth);
  const [predicted, truth, named] = [total(c => c.predicted), total(c => c.true), total(c => c.named)];
  return {
    boxes: f1(
      total(c => c.placed),
      predicted,
      truth,
    ),
    all: f1(named, predicted, truth),
    located: f1(
      named,
      total(c => c.sharedPredicted),
      total(c => c.sharedTrue),
    ),
  };
}

/** How many predictions find a true box of their own, the best fitting one first come. */
function taken(
  predicted: readonly NamedBox[],
  truth: readonly NamedBox[],
  fits: (a: NamedBox, b: NamedBox) => boolean,
): number {
  const left = new Set(truth.keys());
  for (const own of predicted) {
    const candidates = [...left].flatMap(i => {
      const other = truth[i];
      if (!own.box || !other?.box || !fits(own, other)) return [];
      return [{ i, iou: boxIou(own.box, other.box) }];
    });
    const best = candidates.sort((a, b) => b.iou - a.iou)[0];
    if (best && best.iou >= HIT_IOU) left.delete(best.i);
  }
  return truth.length - left.size;
}
