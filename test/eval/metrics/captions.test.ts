import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PixelBox } from '../../../src/data/box.ts';
import { bleuCounts, bleuScores } from '../../../src/eval/metrics/bleu.ts';
import { boxF1, countBoxes } from '../../../src/eval/metrics/box-f1.ts';
import { ciderScores } from '../../../src/eval/metrics/cider.ts';
import { captionWords } from '../../../src/eval/metrics/words.ts';

interface Corpus {
  readonly captions: readonly { caption: string; references: readonly string[] }[];
  readonly cider: readonly number[];
  readonly bleu: readonly number[];
}

const file = join(import.meta.dirname, '../../fixtures/metrics/captions.json');
const corpora: readonly Corpus[] = JSON.parse(readFileSync(file, 'utf8'));
const box = (x1: number, y1: number, x2: number, y2: number): PixelBox => ({
  space: 'pixels',
  x1,
  y1,
  x2,
  y2,
});

describe('captions', () => {
  it.each(corpora.map((corpus, i) => [i, corpus] as const))(
    'have the CIDEr and BLEU of COCO’s scorers, corpus %i',
    (_, { captions, cider, bleu }) => {
      const words = captions.map(({ caption, references }) => ({
        words: captionWords(caption),
        references: references.map(captionWords),
      }));
      for (const [i, value] of ciderScores(words).entries()) expect(value).toBeCloseTo(cider[i] ?? -1, 10);
      const scores = bleuScores(words.map(one => bleuCounts(one.words, one.references)));
      for (const [i, value] of scores.entries()) expect(value).toBeCloseTo(bleu[i] ?? -1, 10);
    },
  );

  it('are cut as the Penn Treebank tokenizer cuts them', () => {
    expect(captionWords(`A man's dog doesn't bark: "woof", it says -- twice!`)).toEqual([
      'a',
      'man',
      "'s",
      'dog',
      'does',
      "n't",
      'bark',
      'woof',
      'it',
      'says',
      'twice',
    ]);
    expect(captionWords('A black-and-white cat (asleep)...')).toEqual([
      'a',
      'black-and-white',
      'cat',
      'asleep',
    ]);
    expect(captionWords(' \n')).toEqual([]);
  });
});

describe('boxes of a grounded caption', () => {
  const truth = [
    { name: 'dog', box: box(0, 0, 10, 10) },
    { name: 'ball', box: box(20, 0, 30, 10) },
    { name: 'tree', box: box(50, 0, 60, 10) },
  ];

  it('count with and without their names, each true box once', () => {
    const counts = countBoxes(
      [
        { name: 'dog', box: box(0, 0, 10, 10) },
        { name: 'dog', box: box(0, 0, 10, 10) },
        { name: 'cat', box: box(20, 0, 30, 10) },
        { name: 'ball', box: null },
      ],
      truth,
    );
    expect(counts).toEqual({ predicted: 4, true: 3, placed: 2, named: 1, sharedPredicted: 3, sharedTrue: 2 });
    expect(boxF1([counts])).toEqual({ boxes: 4 / 7, all: 2 / 7, located: 2 / 5 });
  });

  it('score 1 for the truth and 0 for nothing', () => {
    expect(boxF1([countBoxes(truth, truth)])).toEqual({ boxes: 1, all: 1, located: 1 });
    expect(boxF1([countBoxes([], truth)])).toEqual({ boxes: 0, all: 0, located: 0 });
    expect(boxF1([])).toEqual({ boxes: 0, all: 0, located: 0 });
  });
});
