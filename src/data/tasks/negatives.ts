import type { Random } from '../../random.ts';
import { absentLabels, areSimilar, otherColours } from './absence.ts';
import type { Task, TaskContext } from './context.ts';
import { absentRound } from './rec.ts';

/**
 * Objects asked for that are not there, in the words of `rec`, so that the question gives nothing away. Half of them by
 * the image: labels that are often seen together with what is there. Half by meaning: labels similar to one that is there,
 * and objects in a colour they do not have (Ferret's two kinds of hard negatives, arXiv 2310.07704).
 */
export const negatives: Task = (record, context, random) => {
  if (record.width === 0) return null;
  const absent = absentLabels(record, context);
  const here = [...new Set(record.objects.map(object => object.label))];
  const similar = [
    ...absent.filter(label => here.some(other => areSimilar(label, other))),
    ...otherColours(record),
  ];
  const asked = new Set<string>();
  for (let i = 0; i < context.rounds; i++) {
    const pools = [absent, similar].map(pool => pool.filter(label => !asked.has(label)));
    const [byImage, byMeaning] = pools as [string[], string[]];
    if (byImage.length === 0 && byMeaning.length === 0) break;
    const useMeaning = byMeaning.length > 0 && (byImage.length === 0 || random.next() < 0.5);
    asked.add(useMeaning ? random.pick(byMeaning) : plausible(byImage, here, context, random));
  }
  if (asked.size === 0) return null;
  return {
    task: 'negatives',
    image: true,
    rounds: [...asked].map(label => absentRound(label, context, random)),
  };
};

/** One of the labels: the more often it is seen with labels that are there, the likelier; any where nothing is known. */
function plausible(
  labels: readonly string[],
  here: readonly string[],
  context: TaskContext,
  random: Random,
): string {
  const weights = labels.map(label =>
    here.reduce((sum, other) => sum + (context.statistics?.shareWith(other, label) ?? 0), 0),
  );
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (total === 0) return random.pick(labels);
  let left = random.next() * total;
  for (const [i, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return labels[i]!;
  }
  // Rounding may leave the last sliver to nobody.
  return labels[weights.findLastIndex(weight => weight > 0)]!;
}
