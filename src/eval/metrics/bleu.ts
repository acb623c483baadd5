/** BLEU 1 to 4 of a corpus of captions, as COCO's caption evaluation computes it (Papineni et al. 2002, closest length). */
import { countNgrams } from './words.ts';

export const BLEU_ORDERS = [1, 2, 3, 4] as const;

/** What one caption adds to the corpus. */
export interface BleuCounts {
  /** Words of the caption. */
  readonly length: number;
  /** Words of the reference whose length is closest, the shorter one of two. */
  readonly reference: number;
  /** Runs of n words, and how many of them a reference has, n = 1 to 4. */
  readonly guessed: readonly number[];
  readonly correct: readonly number[];
}

/** COCO's guards against division by zero. */
const TINY = 1e-15;
const SMALL = 1e-9;

/** Counts of one caption against its references; all are words. */
export function bleuCounts(words: readonly string[], references: readonly (readonly string[])[]): BleuCounts {
  const closest = references
    .map(reference => reference.length)
    .sort((a, b) => Math.abs(a - words.length) - Math.abs(b - words.length) || a - b);
  const correct = BLEU_ORDERS.map(n => {
    const known = references.map(reference => countNgrams(reference, n));
    let sum = 0;
    for (const [ngram, count] of countNgrams(words, n)) {
      sum += Math.min(count, Math.max(0, ...known.map(counts => counts.get(ngram) ?? 0)));
    }
    return sum;
  });
  return {
    length: words.length,
    reference: closest[0] ?? 0,
    guessed: BLEU_ORDERS.map(n => Math.max(0, words.length - n + 1)),
    correct,
  };
}

/** BLEU 1, 2, 3 and 4, each 0..1: over the corpus, not the mean of its captions. */
export function bleuScores(counts: readonly BleuCounts[]): number[] {
  const total = (of: (one: BleuCounts) => number): number => counts.reduce((sum, one) => sum + of(one), 0);
  const ratio = (total(one => one.length) + TINY) / (total(one => one.reference) + SMALL);
  const brevity = ratio < 1 ? Math.exp(1 - 1 / ratio) : 1;
  let product = 1;
  return BLEU_ORDERS.map(n => {
    product *=
      (total(one => one.correct[n - 1] ?? 0) + TINY) / (total(one => one.guessed[n - 1] ?? 0) + SMALL);
    return product ** (1 / n) * brevity;
  });
}
