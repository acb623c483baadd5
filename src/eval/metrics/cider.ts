/**
 * CIDEr-D of captions (Vedantam et al. 2015), as COCO's caption evaluation computes it: TF-IDF vectors of runs of one to
 * four words, document frequencies from the references of the images that are scored, a penalty for other lengths (σ = 6).
 */
import { countNgrams } from './words.ts';

/** A caption with its references, all as words. */
export interface Captioned {
  readonly words: readonly string[];
  readonly references: readonly (readonly string[])[];
}

const ORDERS = [1, 2, 3, 4] as const;
const SIGMA = 6;

/** What a run of words weighs in a caption. */
type Vector = ReadonlyMap<string, number>;

interface Vectors {
  readonly byOrder: readonly { readonly weights: Vector; readonly norm: number }[];
  /** Pairs of words: what the length penalty compares. */
  readonly length: number;
}

/**
 * The CIDEr of every caption, 0..10; a corpus's is their mean. Frequencies come from all of these images together, so that a
 * single image scores 0, whatever it is called.
 */
export function ciderScores(corpus: readonly Captioned[]): number[] {
  const frequency = documentFrequency(corpus);
  const documents = Math.log(corpus.length);
  const vectors = (words: readonly string[]): Vectors => ({
    byOrder: ORDERS.map(n => {
      const weights = new Map(
        [...countNgrams(words, n)].map(
          ([ngram, count]) =>
            [ngram, count * (documents - Math.log(Math.max(1, frequency.get(ngram) ?? 0)))] as const,
        ),
      );
      return { weights, norm: Math.sqrt([...weights.values()].reduce((sum, w) => sum + w * w, 0)) };
    }),
    length: Math.max(0, words.length - 1),
  });
  return corpus.map(({ words, references }) => {
    if (references.length === 0) return 0;
    const own = vectors(words);
    const sum = references.reduce((all, reference) => all + similarity(own, vectors(reference)), 0);
    return (10 * sum) / references.length;
  });
}

/** In how many images some reference has a run of words. */
function documentFrequency(corpus: readonly Captioned[]): Map<string, number> {
  const frequency = new Map<string, number>();
  for (const { references } of corpus) {
    const seen = new Set(references.flatMap(words => ORDERS.flatMap(n => [...countNgrams(words, n).keys()])));
    for (const ngram of seen) frequency.set(ngram, (frequency.get(ngram) ?? 0) + 1);
  }
  return frequency;
}

/** The mean over orders of clipped cosines. */
function similarity(caption: Vectors, reference: Vectors): number {
  const penalty = Math.exp(-((caption.length - reference.length) ** 2) / (2 * SIGMA ** 2));
  const sum = ORDERS.reduce((all, n) => {
    const [own, other] = [caption.byOrder[n - 1], reference.byOrder[n - 1]];
    if (!own || !other) return all;
    let dot = 0;
    for (const [ngram, weight] of own.weights) {
      const known = other.weights.get(ngram) ?? 0;
      dot += Math.min(weight, known) * known;
    }
    const norms = own.norm * other.norm;
    return all + (norms === 0 ? 0 : dot / norms);
  }, 0);
  return (penalty * sum) / ORDERS.length;
}
