import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { categoryNames, judgeRoc, rocAccuracy, withoutNegations } from '../../../src/eval/metrics/roc.ts';

const catOrDog = { truth: ['cat'], other: ['dog'] };

describe('judgeRoc', () => {
  it.each([
    ['A cat.', 'right'],
    ['It is a Cat', 'right'],
    ['The object is a dog.', 'wrong'],
    ['It is a bird.', 'neither'],
    ['', 'neither'],
    ['cattle', 'neither'],
    ['a cat or a dog', 'both'],
    ['It is a cat, not a dog.', 'right'],
    ['It is not a cat, it is a dog.', 'wrong'],
    ['Not a dog, a cat.', 'right'],
    ['It is not a dog but a cat.', 'right'],
    ["It isn't a dog; it's a cat", 'right'],
    ['There is no dog here. It is a cat.', 'right'],
    ['Its nose is that of a cat.', 'right'],
    ['a knot-shaped cat', 'right'],
    ['It is not a cat', 'neither'],
    ['cat-like', 'right'],
    ['cat2', 'neither'],
  ])('%j is %s', (answer, verdict) => {
    expect(judgeRoc(answer, catOrDog)).toBe(verdict);
  });

  it('gives the words of a longer option to it alone', () => {
    const options = { truth: ['hot dog'], other: ['dog'] };
    expect(judgeRoc('a hot  dog', options)).toBe('right');
    expect(judgeRoc('a dog', options)).toBe('wrong');
    expect(judgeRoc('a hot dog and a dog', options)).toBe('both');
    expect(judgeRoc('a hot dog', { truth: ['dog'], other: ['hot dog'] })).toBe('wrong');
  });

  it('accepts any synonym, and names with signs of their own', () => {
    expect(judgeRoc('an automobile', { truth: ['car', 'automobile'], other: ['bus'] })).toBe('right');
    expect(judgeRoc('a t.v. (old)', { truth: ['t.v.'], other: ['radio'] })).toBe('right');
    expect(judgeRoc('a tavern', { truth: ['t.v.', ''], other: ['radio'] })).toBe('neither');
    expect(judgeRoc('ein Käfer', { truth: ['Käfer'], other: ['K'] })).toBe('right');
  });

  it('never throws, and an answer that is the true name is right', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), fc.string(), (answer, truth, other) => {
        judgeRoc(answer, { truth: [truth], other: [other] });
      }),
    );
    fc.assert(
      fc.property(fc.stringMatching(/^[a-m]{1,6}$/), fc.stringMatching(/^[n-z]{4,6}$/), (truth, other) => {
        fc.pre(!['no', 'not'].includes(other));
        expect(judgeRoc(`a ${truth}`, { truth: [truth], other: [other] })).toBe('right');
      }),
    );
  });
});

it('withoutNegations deletes from the negation to the end of its clause', () => {
  expect(withoutNegations('a, not b, c')).toBe('a,  , c');
  expect(withoutNegations('no b. c')).toBe(' . c');
  expect(withoutNegations('nothing noble, north')).toBe('nothing noble, north');
});

it('categoryNames splits the qualifier and underscores', () => {
  expect(categoryNames('bat_(animal)')).toEqual(['bat', 'animal']);
  expect(categoryNames('traffic_light')).toEqual(['traffic light']);
  expect(categoryNames('cup')).toEqual(['cup']);
});

it('rocAccuracy counts right answers only', () => {
  expect(rocAccuracy(['right', 'both', 'wrong', 'neither', 'right'])).toBeCloseTo(2 / 5, 12);
  expect(rocAccuracy([])).toBe(0);
});

it.each([
  ['It is a dog rather than a cat.', 'right'],
  ['Neither a cat nor a dog.', 'neither'],
  ["It isn't a cat, it is a dog.", 'right'],
  ['A dog without a cat', 'right'],
  ['Not a dog', 'neither'],
  ['not a dog but a cat', 'wrong'],
  ['a dog, never a cat', 'right'],
  ['cattle and hotdogs', 'neither'],
  ['a cat or a dog', 'both'],
] as const)('judges %j as %s', (answer, verdict) => {
  expect(judgeRoc(answer, { truth: ['dog'], other: ['cat'] })).toBe(verdict);
});
