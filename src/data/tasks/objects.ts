/** What several tasks ask of a record's objects. */
import type { Random } from '../../random.ts';
import { isNamedAlone, type ObjectAnnotation } from '../record.ts';
import { distinct } from '../regions.ts';

/** At most `count` objects, drawn, in the record's order. */
export function someObjects(
  objects: readonly ObjectAnnotation[],
  count: number,
  random: Random,
): ObjectAnnotation[] {
  if (objects.length <= count) return [...objects];
  return distinct(objects.length, count, random)
    .sort((a, b) => a - b)
    .map(i => objects[i]!);
}

/** Raster order as Ferret-v2's dense detection wants it, by the top edge, then by the left one. */
export function rasterOrder(objects: readonly ObjectAnnotation[]): ObjectAnnotation[] {
  return [...objects].sort((a, b) => a.box.y1 - b.box.y1 || a.box.x1 - b.box.x1);
}

/** Single objects: a crowd has one box for many and answers no question about one. */
export function singleObjects(objects: readonly ObjectAnnotation[]): ObjectAnnotation[] {
  return objects.filter(object => !object.crowd);
}

/** Objects whose phrase fits no other object of the image. */
export function uniquelyNamed(objects: readonly ObjectAnnotation[]): ObjectAnnotation[] {
  return objects.filter((_, i) => isNamedAlone(objects, i));
}

/** How often each value occurs. */
export function countBy(values: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** "dog" to "dogs", "sheep" to "sheep". */
export function pluralOf(noun: string): string {
  const known = IRREGULAR.get(noun);
  if (known) return known;
  if (noun.endsWith('person')) return `${noun.slice(0, -6)}people`;
  if (/[^aeiou]y$/.test(noun)) return `${noun.slice(0, -1)}ies`;
  return /(?:s|x|z|ch|sh)$/.test(noun) ? `${noun}es` : `${noun}s`;
}

/** Words of COCO's categories that follow no rule, or are plural already. */
const IRREGULAR = new Map([
  ['sheep', 'sheep'],
  ['skis', 'skis'],
  ['scissors', 'scissors'],
  ['knife', 'knives'],
  ['mouse', 'mice'],
  ['broccoli', 'broccoli'],
]);
