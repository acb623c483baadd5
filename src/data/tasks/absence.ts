/** Labels that an image does not show, and how sure that is. */
import { COCO_NAMES } from '../coco-words.ts';
import type { Annotations } from '../record.ts';
import { COLOURS } from '../sources/scene-vocabulary.ts';
import type { TaskContext } from './context.ts';
import { manyOf, wordsFor } from './nouns.ts';

/** COCO's categories by supercategory: so many of each in the order of their ids. */
const COCO_GROUP_SIZES = [1, 8, 5, 10, 5, 10, 7, 10, 6, 6, 5, 7] as const;
const COCO_GROUP: ReadonlyMap<string, number> = new Map(
  COCO_GROUP_SIZES.flatMap((size, group) => {
    const first = COCO_GROUP_SIZES.slice(0, group).reduce((sum, n) => sum + n, 0);
    return COCO_NAMES.slice(first, first + size).map(name => [name, group] as const);
  }),
);

/**
 * Labels that may be asked for as absent. Where annotators noted what they looked for in vain, only that; where they did so
 * for other images of the dataset, nothing: a label without objects then proves nothing. Else, annotation taken as
 * exhaustive (COCO), the labels of the dataset that no object has, crowds included, and that no text of the record speaks
 * of by any word.
 */
export function absentLabels(record: Annotations, { labels, statistics }: TaskContext): string[] {
  const here = new Set(record.objects.map(object => wordsFor(object.label)[0]!));
  if (record.absent && record.absent.length > 0) {
    return [...new Set(record.absent)].filter(label => !here.has(wordsFor(label)[0]!));
  }
  // An image without any object was perhaps never annotated.
  if (statistics?.listsAbsent || record.objects.length === 0) return [];
  const texts = textsOf(record);
  const parts = [...here].map(label => label.split(' '));
  return labels.filter(label => {
    const words = wordsFor(label)[0]!.split(' ');
    // A teddy bear may pass for a bear, and a cup for a coffee cup.
    if (parts.some(other => includesAll(other, words) || includesAll(words, other))) return false;
    return !wordsFor(label).some(word => speaksOf(texts, word) || speaksOf(texts, manyOf(word)));
  });
}

/**
 * Phrases that an object of the image would have in another colour: "blue circle" where the only circle is red. Asked only
 * where every object of the label has exactly one colour.
 */
export function otherColours(record: Annotations): string[] {
  const texts = textsOf(record);
  const labels = [...new Set(record.objects.map(object => object.label))];
  return labels.flatMap(label => {
    const all = record.objects.filter(object => object.label === label);
    const colours = all.map(({ attributes }) => COLOURS.filter(colour => attributes.includes(colour)));
    if (all.some(object => object.crowd) || colours.some(own => own.length !== 1)) return [];
    const seen = new Set(colours.flat());
    return COLOURS.filter(colour => !seen.has(colour))
      .map(colour => `${colour} ${label}`)
      .filter(phrase => !speaksOf(texts, phrase));
  });
}

/** Whether two labels are easily mixed up: of one supercategory of COCO, or with a word in common. */
export function areSimilar(a: string, b: string): boolean {
  const [first, second] = [wordsFor(a)[0]!, wordsFor(b)[0]!];
  const group = COCO_GROUP.get(first);
  if (group !== undefined && group === COCO_GROUP.get(second)) return true;
  const words = second.split(' ');
  return first.split(' ').some(word => word.length > 2 && words.includes(word));
}

/** Everything said of the image, in lower case, blanks around every word. */
function textsOf({ captions, objects, regions = [] }: Annotations): string {
  const texts = [
    ...captions,
    ...objects.flatMap(({ phrase, expressions = [] }) => [phrase, ...expressions]),
    ...regions.map(region => region.phrase),
  ];
  return ` ${texts
    .join(' . ')
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, ' ')} `;
}

function speaksOf(texts: string, phrase: string): boolean {
  return texts.includes(` ${phrase.toLowerCase()} `);
}

function includesAll(words: readonly string[], some: readonly string[]): boolean {
  return some.every(word => words.includes(word));
}
