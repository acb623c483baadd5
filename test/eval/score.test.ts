import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PixelBox } from '../../src/data/box.ts';
import { type Asked, judge, verdictOf } from '../../src/eval/score.ts';
import { scoresOf } from '../../src/eval/scores.ts';

const box = (x1: number, y1: number, x2: number, y2: number): PixelBox => ({
  space: 'pixels',
  x1,
  y1,
  x2,
  y2,
});
const image = { width: 100, height: 200 };
const TEN = { space: 'bins', bins: 10 } as const;

function where(truth: PixelBox): Asked {
  return { task: 'rec', truth: { boxes: [truth] }, object: truth, image };
}

function choice(region: 'point' | 'box' | 'free-form', object: PixelBox): Asked {
  return { task: 'roc', truth: { label: 'cat', distractor: 'dog', region }, object, image };
}

describe('judge', () => {
  it('reads boxes in bins of the image and compares them in pixels', () => {
    // 100 by 200 pixels in 10 bins: a bin is 10 by 20 pixels.
    const judged = judge(where(box(10, 20, 50, 100)), 'The cat [1, 1, 5, 5].', TEN);
    expect(judged.boxes).toEqual([box(10, 20, 50, 100)]);
    expect(judged.rec).toEqual({ iou: 1, hit: true, anyHit: true, meanHit: true });
    expect(judged.size).toBe('large');
    expect(verdictOf(judged)).toBe('hit');
  });

  it('says what coordinates in bins allow at best', () => {
    // 12..18 is bin 1..1, which decodes to a box without width.
    const judged = judge(where(box(12, 20, 18, 100)), '', TEN);
    expect(judged.ceiling?.hit).toBe(false);
    expect(judged.rec).toEqual({ iou: 0, hit: false, anyHit: false, meanHit: false });
    expect(verdictOf(judged)).toBe('miss');
  });

  it('judges a choice by words, and nothing that has no truth', () => {
    expect(judge(choice('point', box(0, 0, 5, 5)), 'a cat', TEN)).toMatchObject({
      roc: 'right',
      region: 'point',
      size: 'small',
      rec: null,
    });
    const caption: Asked = { task: 'caption', truth: {}, object: null, image };
    const judged = judge(caption, 'a cat [1, 1, 5, 5]', TEN);
    expect(judged).toMatchObject({ rec: null, roc: null, size: null, region: null });
    expect(judged.boxes).toHaveLength(1);
    expect(verdictOf(judged)).toBeNull();
  });

  it('never throws on an answer', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 1, max: 1000 }), (answer, bins) => {
        judge(where(box(10, 20, 50, 100)), answer, { space: 'bins', bins });
        judge(choice('box', box(10, 20, 50, 100)), answer, { space: 'bins', bins });
      }),
    );
  });
});

describe('scoresOf', () => {
  it('averages REC by hand, with a score for each size that occurs', () => {
    const large = box(0, 0, 50, 100);
    const small = box(95, 190, 99, 199);
    const judged = [
      judge(where(large), '[0, 0, 5, 5]', TEN), // IoU 1
      judge(where(large), '[0, 0, 5, 2]', TEN), // IoU 0.4
      judge(where(large), 'nowhere', TEN), // IoU 0
      judge(where(small), '[9, 9, 9, 9]', TEN), // no area
    ];
    const scores = scoresOf(judged);
    expect(Object.keys(scores).sort()).toEqual([
      'rec_accuracy',
      'rec_accuracy_large',
      'rec_accuracy_small',
      'rec_any_accuracy',
      'rec_ceiling',
      'rec_mean_box_accuracy',
      'rec_mean_iou',
    ]);
    expect(scores.rec_accuracy).toBeCloseTo(1 / 4, 12);
    expect(scores.rec_mean_iou).toBeCloseTo(1.4 / 4, 12);
    expect(scores.rec_accuracy_large).toBeCloseTo(1 / 3, 12);
    expect(scores.rec_accuracy_small).toBe(0);
    expect(scores.rec_ceiling).toBeCloseTo(3 / 4, 12);
  });

  it('averages ROC by hand, by region and by size', () => {
    const large = box(0, 0, 50, 100);
    const judged = [
      judge(choice('point', large), 'a cat', TEN),
      judge(choice('point', large), 'a dog', TEN),
      judge(choice('free-form', large), 'a cat', TEN),
      judge(choice('box', box(0, 0, 2, 2)), 'a cat or a dog', TEN),
    ];
    expect(scoresOf(judged)).toEqual({
      roc_accuracy: 0.5,
      roc_accuracy_point: 0.5,
      roc_accuracy_box: 0,
      roc_accuracy_free_form: 1,
      roc_accuracy_small: 0,
      roc_accuracy_large: 2 / 3,
    });
  });

  it('has no score for what did not occur', () => {
    expect(scoresOf([])).toEqual({});
  });
});
