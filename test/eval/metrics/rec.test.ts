import { describe, expect, it } from 'vitest';
import type { PixelBox } from '../../../src/data/box.ts';
import { judgeRec, recScores } from '../../../src/eval/metrics/rec.ts';

const box = (x1: number, y1: number, x2: number, y2: number): PixelBox => ({
  space: 'pixels',
  x1,
  y1,
  x2,
  y2,
});
const truth = box(0, 0, 10, 10);

describe('judgeRec', () => {
  it('hits at an IoU of exactly one half', () => {
    expect(judgeRec(truth, [box(0, 0, 10, 5)])).toEqual({ iou: 0.5, hit: true, anyHit: true, meanHit: true });
  });

  it('misses just below', () => {
    expect(judgeRec(truth, [box(0, 0, 10, 4.99)])).toMatchObject({ hit: false, anyHit: false });
  });

  it('goes by the first box, and reports separately whether a later one hits', () => {
    expect(judgeRec(truth, [box(20, 20, 30, 30), truth])).toEqual({
      iou: 0,
      hit: false,
      anyHit: true,
      meanHit: false,
    });
  });

  it('counts an answer without a box, or with a malformed first one, as a miss', () => {
    expect(judgeRec(truth, [])).toEqual({ iou: 0, hit: false, anyHit: false, meanHit: false });
    expect(judgeRec(truth, [null, truth])).toEqual({ iou: 0, hit: false, anyHit: true, meanHit: true });
  });
});

describe('recScores', () => {
  it('averages by hand', () => {
    // IoU: 1, 0.5, 0.2, 0 (no box), 0 (the second box hits).
    const verdicts = [
      judgeRec(truth, [truth]),
      judgeRec(truth, [box(0, 0, 10, 5)]),
      judgeRec(truth, [box(0, 0, 10, 2)]),
      judgeRec(truth, []),
      judgeRec(truth, [box(50, 50, 60, 60), truth]),
    ];
    const scores = recScores(verdicts);
    expect(scores.count).toBe(5);
    expect(scores.accuracy).toBeCloseTo(2 / 5, 12);
    expect(scores.meanIou).toBeCloseTo(1.7 / 5, 12);
    expect(scores.anyAccuracy).toBeCloseTo(3 / 5, 12);
  });

  it('is all zeros for no answers', () => {
    expect(recScores([])).toEqual({ count: 0, accuracy: 0, meanIou: 0, anyAccuracy: 0, meanAccuracy: 0 });
  });
});
