/** Means and intervals over seeds and questions, and differences between variants on the same questions. Pure. */
import {
  type Difference,
  differenceOf,
  type Interval,
  intervalOf,
} from '../../src/eval/metrics/bootstrap.ts';
import { Random } from '../../src/random.ts';

/** One question's verdict. Questions are the same where their keys are. */
export interface Outcome {
  readonly key: string;
  /** Questions about one image are alike, so images are drawn, not questions. */
  readonly image: string;
  readonly isRight: boolean;
}

/** A score of one variant. */
export interface Summary extends Interval {
  /** Share of right answers of each seed. */
  readonly seeds: readonly number[];
  readonly mean: number;
  /** Questions of all seeds. */
  readonly questions: number;
  /** The score minus the baseline's, on the same draws; null for the baseline itself. */
  readonly difference: Difference | null;
}

/** Rights and questions of each image of one seed. */
interface Tally {
  readonly right: Float64Array;
  readonly count: Float64Array;
}

/**
 * Shares of right answers with 95 % intervals by a bootstrap of two levels: seeds are drawn with replacement, and within each
 * the images of its held-out questions; all variants are scored on the same draws, which makes differences paired. `outcomes`:
 * for each variant and seed the same questions in any order. Throws where they are not the same.
 *
 * Three seeds tell little about the spread between seeds, and resampling them understates it: the intervals are somewhat
 * too narrow.
 */
export function summarize(
  outcomes: ReadonlyMap<string, readonly (readonly Outcome[])[]>,
  {
    baseline,
    resamples,
    seed,
  }: { readonly baseline: string; readonly resamples: number; readonly seed: number },
): Map<string, Summary> {
  const tallies = new Map([...outcomes].map(([variant, seeds]) => [variant, seeds.map(tallyOf)]));
  requireSameQuestions(outcomes);
  const draws = new Map<string, number[]>([...outcomes].map(([variant]) => [variant, []]));
  const [first = []] = tallies.values();
  const random = new Random(seed, 'ablation');
  for (let i = 0; i < resamples; i++) {
    const drawn = first.map(() => {
      const at = random.int(0, first.length);
      const images = first[at]?.count.length ?? 0;
      return { at, images: Int32Array.from({ length: images }, () => random.int(0, images)) };
    });
    for (const [variant, seeds] of tallies) {
      draws.get(variant)?.push(mean(drawn.map(({ at, images }) => shareOf(seeds[at], images))));
    }
  }
  const reference = draws.get(baseline) ?? [];
  const meanOf = (variant: string): number => mean((tallies.get(variant) ?? []).map(tally => shareOf(tally)));
  return new Map(
    [...tallies].map(([variant, seeds]) => {
      const values = draws.get(variant) ?? [];
      const interval = intervalOf(values.filter(Number.isFinite)) ?? { low: Number.NaN, high: Number.NaN };
      const differences = values
        .map((value, i) => value - (reference[i] ?? Number.NaN))
        .filter(Number.isFinite);
      const summary: Summary = {
        seeds: seeds.map(tally => shareOf(tally)),
        mean: meanOf(variant),
        ...interval,
        questions: seeds.reduce((sum, { count }) => sum + count.reduce((a, b) => a + b, 0), 0),
        difference:
          variant === baseline ? null : differenceOf(meanOf(variant) - meanOf(baseline), differences),
      };
      return [variant, summary];
    }),
  );
}

function tallyOf(outcomes: readonly Outcome[]): Tally {
  const images = [...new Set(outcomes.map(({ image }) => image))].sort();
  const place = new Map(images.map((image, i) => [image, i]));
  const tally = { right: new Float64Array(images.length), count: new Float64Array(images.length) };
  for (const { image, isRight } of outcomes) {
    const at = place.get(image) ?? 0;
    tally.count[at] = (tally.count[at] ?? 0) + 1;
    if (isRight) tally.right[at] = (tally.right[at] ?? 0) + 1;
  }
  return tally;
}

/** Share of right answers about the drawn images, or about all. NaN without a question. */
function shareOf(tally: Tally | undefined, images?: Int32Array): number {
  let [right, count] = [0, 0];
  const add = (i: number): void => {
    right += tally?.right[i] ?? 0;
    count += tally?.count[i] ?? 0;
  };
  for (const i of images ?? tally?.count.keys() ?? []) add(i);
  return right / count;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function requireSameQuestions(outcomes: ReadonlyMap<string, readonly (readonly Outcome[])[]>): void {
  const keysOf = (seeds: readonly (readonly Outcome[])[]): string =>
    JSON.stringify(seeds.map(some => some.map(({ key }) => key).sort()));
  const [first, ...others] = [...outcomes];
  const wanted = first ? keysOf(first[1]) : '';
  const odd = others.find(([, seeds]) => keysOf(seeds) !== wanted);
  if (odd) throw new Error(`${odd[0]} was asked other questions than ${first?.[0]}`);
}
