/** Two sets of predictions, question by question: is one really better? Pure. */
import { basename } from 'node:path';
import { type Difference, differenceOf, resample } from './metrics/bootstrap.ts';
import { judgeLine, type PredictionLine } from './predictions.ts';
import type { Judged } from './score.ts';
import { scoresOf, settleGroups } from './scores.ts';

/** One score of both, and the difference on the questions that both answered. */
export interface ComparedScore extends Difference {
  /** The dataset's name: the last part of its path. */
  readonly data: string;
  readonly task: string;
  readonly score: string;
  readonly questions: number;
  readonly images: number;
  readonly a: number;
  readonly b: number;
}

export interface Comparison {
  readonly scores: readonly ComparedScore[];
  /** Questions of either side that the other was not asked. */
  readonly unpaired: { readonly a: number; readonly b: number };
}

interface Pair {
  /** Row of the dataset. */
  readonly image: number;
  readonly a: Judged;
  readonly b: Judged;
}

/**
 * Compares answers to the same questions by a paired bootstrap: images are drawn with replacement, and both sides are scored on
 * the same draw (Efron; Koehn 2004). Questions are the same where dataset, task, id, truth and image are; of several answers to one,
 * the last counts.
 */
export function comparePredictions(
  a: readonly PredictionLine[],
  b: readonly PredictionLine[],
  options: { readonly seed: number; readonly resamples: number },
): Comparison {
  const [linesA, linesB] = [lastAnswers(a), lastAnswers(b)];
  const pairs = new Map<string, Pair[]>();
  let paired = 0;
  for (const [key, line] of linesA) {
    const other = linesB.get(key);
    if (!other) continue;
    const [own, theirs] = [judgeLine(line), judgeLine(other)];
    if (!own || !theirs) continue;
    paired++;
    const source = JSON.stringify([basename(line.data), line.task]);
    const pair = { image: line.row, a: own, b: theirs };
    pairs.set(source, [...(pairs.get(source) ?? []), pair]);
  }
  return {
    scores: [...pairs].flatMap(([source, some]) => {
      const [data, task]: [string, string] = JSON.parse(source);
      return compareTask({ data, task }, some, options);
    }),
    unpaired: { a: linesA.size - paired, b: linesB.size - paired },
  };
}

function compareTask(
  source: { readonly data: string; readonly task: string },
  pairs: readonly Pair[],
  options: { readonly seed: number; readonly resamples: number },
): ComparedScore[] {
  const byImage = new Map<number, Pair[]>();
  for (const pair of pairs) {
    const group = byImage.get(pair.image);
    if (group) group.push(pair);
    else byImage.set(pair.image, [pair]);
  }
  const groups = [...byImage.values()];
  const sides = (['a', 'b'] as const).map(side => settleGroups(groups.map(group => group.map(p => p[side]))));
  const [groupsA = [], groupsB = []] = sides;
  const [scoresA, scoresB] = [groupsA, groupsB].map(side => scoresOf(side.flat(), { detail: false })) as [
    Record<string, number>,
    Record<string, number>,
  ];
  const draws = new Map<string, number[]>();
  resample(
    groups.map((_, i) => [i]),
    options,
    drawn => {
      const [ownA, ownB] = [groupsA, groupsB].map(side =>
        scoresOf(
          drawn.flatMap(i => side[i] ?? []),
          { detail: false },
        ),
      );
      for (const [name, value] of Object.entries(ownA ?? {})) {
        const other = ownB?.[name];
        if (other !== undefined) append(draws, name, other - value);
      }
    },
  );
  return Object.entries(scoresA).flatMap(([score, own]) => {
    const other = scoresB[score];
    const found = other === undefined ? null : differenceOf(other - own, draws.get(score) ?? []);
    if (other === undefined || !found) return [];
    return [{ ...source, score, questions: pairs.length, images: groups.length, a: own, b: other, ...found }];
  });
}

/** Every question with its last answer, in the order in which questions first occur. */
function lastAnswers(lines: readonly PredictionLine[]): Map<string, PredictionLine> {
  return new Map(lines.map(line => [keyOf(line), line]));
}

/** What makes two questions the same, whatever the models' way of writing boxes. */
function keyOf({ data, task, id, truth, image, captions }: PredictionLine): string {
  const { boxes, label, accepted, distractor, absent, region } = truth;
  const { width, height } = image;
  const asked = [basename(data), task, id, width, height, captions];
  return JSON.stringify([...asked, boxes, label, accepted, distractor, absent, region]);
}

function append(lists: Map<string, number[]>, name: string, value: number): void {
  const list = lists.get(name);
  if (list) list.push(value);
  else lists.set(name, [value]);
}
