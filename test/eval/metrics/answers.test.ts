import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PixelBox } from '../../../src/data/box.ts';
import { judgeGrounding, recallAt } from '../../../src/eval/metrics/grounding.ts';
import { presenceScores, saidYesOrNo } from '../../../src/eval/metrics/presence.ts';
import { anls, editDistance, isExact } from '../../../src/eval/metrics/reading.ts';
import { normaliseAnswer, vqaAccuracy } from '../../../src/eval/metrics/vqa.ts';

const box = (x1: number, y1: number, x2: number, y2: number): PixelBox => ({
  space: 'pixels',
  x1,
  y1,
  x2,
  y2,
});
const times = (count: number, answer: string): string[] => Array(count).fill(answer);

describe('phrase grounding', () => {
  const pair = [box(0, 0, 10, 10), box(10, 0, 20, 10)];

  it('merges boxes by one protocol and takes any by the other', () => {
    expect(judgeGrounding(pair, [box(0, 0, 20, 10)])).toEqual({ merged: 1, any: 1 });
    expect(judgeGrounding(pair, [box(0, 0, 10, 9)])).toEqual({ merged: null, any: 1 });
    expect(judgeGrounding(pair, [null, box(50, 50, 60, 60), box(0, 0, 20, 9)])).toEqual({
      merged: 3,
      any: null,
    });
    expect(judgeGrounding(pair, [])).toEqual({ merged: null, any: null });
    expect(judgeGrounding([], [box(0, 0, 1, 1)])).toEqual({ merged: null, any: null });
  });

  it('counts recall among the first k', () => {
    const verdicts = [1, 3, 7, 11, null].map(merged => ({ merged, any: null }));
    expect([1, 5, 10].map(k => recallAt(verdicts, 'merged', k))).toEqual([1 / 5, 2 / 5, 3 / 5]);
    expect(recallAt(verdicts, 'any', 10)).toBe(0);
    expect(recallAt([], 'any', 1)).toBeNull();
  });
});

describe('POPE', () => {
  it.each([
    ['Yes', 'yes'],
    ['yes, there is a dog.', 'yes'],
    ['There is a dog in the image.', 'yes'],
    ['No.', 'no'],
    ['No, there is not.', 'no'],
    ["There isn't any dog.", 'no'],
    ['There is no dog. Yes, really.', 'no'],
    ['Yes. But not a big one.', 'yes'],
    ['', null],
    ['   .', null],
    ['[1, 2', null],
    ['nose note known', null],
  ] as const)('reads %j as %s', (answer, said) => {
    expect(saidYesOrNo(answer)).toBe(said);
  });

  it('counts by hand, neither being wrong on both sides', () => {
    const scores = presenceScores([
      { truth: 'yes', said: 'yes' },
      { truth: 'yes', said: 'yes' },
      { truth: 'yes', said: 'no' },
      { truth: 'yes', said: null },
      { truth: 'no', said: 'no' },
      { truth: 'no', said: 'no' },
      { truth: 'no', said: 'yes' },
      { truth: 'no', said: null },
    ]);
    expect(scores).toEqual({
      accuracy: 0.5,
      precision: 0.5,
      recall: 0.5,
      f1: 0.5,
      yesRatio: 3 / 8,
      neither: 2 / 8,
    });
    expect(presenceScores([]).f1).toBe(0);
  });
});

describe('VQA accuracy', () => {
  it.each([
    [0, 0],
    [1, 0.3],
    [2, 0.6],
    [3, 0.9],
    [4, 1],
    [10, 1],
  ])('gives an answer that %i of ten people gave %f', (agreeing, accuracy) => {
    expect(vqaAccuracy('net', [...times(agreeing, 'net'), ...times(10 - agreeing, 'racket')])).toBeCloseTo(
      accuracy,
      12,
    );
  });

  it('takes one of fewer than ten answers as right', () => {
    expect(vqaAccuracy('A cat.', ['cat'])).toBe(1);
    expect(vqaAccuracy('dog', ['cat', 'kitten'])).toBe(0);
    expect(vqaAccuracy('', [''])).toBe(0);
    expect(vqaAccuracy('dog', [])).toBe(0);
  });

  it.each([
    ['The two cats!', '2 cats'],
    ['1,000', '1000'],
    ['black-and-white', 'black and white'],
    ['dont know', "don't know"],
    ['shouldnt’ve', 'shouldnt’ve'],
    ["couldn'tve", "couldn't've"],
    ['none', '0'],
    ['3.5 m.', '3.5 m'],
    ['a / b', 'b'],
    ['\tyes\n', 'yes'],
  ])('normalises %j to %j', (answer, normal) => {
    expect(normaliseAnswer(answer)).toBe(normal);
  });
});

describe('reading', () => {
  it('is exact or nearly so', () => {
    expect(isExact(' 42. ', ['42'])).toBe(true);
    expect(isExact('Coca  Cola', ['pepsi', 'coca cola'])).toBe(true);
    expect(isExact('421', ['42'])).toBe(false);
    expect(isExact('', [''])).toBe(false);
    expect(anls('coca cols', ['coca cola'])).toBeCloseTo(8 / 9, 12);
    expect(anls('1234', ['1299'])).toBe(0.5);
    expect(anls('12', ['1299'])).toBe(0.5);
    expect(anls('xyz', ['1299', 'xab'])).toBe(0);
    expect(anls('', [''])).toBe(0);
  });

  it('measures a distance', () => {
    const word = fc.string({ maxLength: 8 });
    expect(editDistance([...'kitten'], [...'sitting'])).toBe(3);
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance([...a], [...b]);
        expect(distance).toBe(editDistance([...b], [...a]));
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeLessThanOrEqual(Math.max([...a].length, [...b].length));
      }),
    );
  });
});
