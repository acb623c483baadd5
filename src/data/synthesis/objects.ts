/** Which objects of an image samples are made of, and the words that mean each of them alone. */
import type { PixelBox, Size } from '../box.ts';
import { type Annotations, expressionsOf, type ObjectAnnotation } from '../record.ts';
import { boxIou } from '../rle.ts';
import { mightBe, positionOf } from './relations.ts';

/** An object that samples are made of. */
export interface ChosenObject {
  /** Its index in the record. */
  readonly index: number;
  readonly object: ObjectAnnotation;
  /** Words that mean it and no other object of its image; null where none were found. */
  readonly phrase: string | null;
}

const LEAST_SIDE = 16;
const LEAST_SHARE = 0.001;
const MOST_OBJECTS = 8;
/** Two boxes of one label that overlap so far are one object, annotated twice. */
const TWICE = 0.9;
/** No two chosen objects overlap further. */
const APART = 0.7;
/** Centres this share of the image's width apart are told apart: "second dog from the left". */
const IN_ORDER = 0.03;
const ORDINALS = ['first', 'second', 'third', 'fourth', 'fifth', 'sixth'] as const;

/** Objects that are large enough to be seen, single, and annotated once; with their indices. */
export function usableObjects(
  record: Annotations,
): { readonly index: number; readonly object: ObjectAnnotation }[] {
  const kept: { index: number; object: ObjectAnnotation }[] = [];
  for (const [index, object] of record.objects.entries()) {
    const { x1, y1, x2, y2 } = object.box;
    if (object.crowd || x2 - x1 < LEAST_SIDE || y2 - y1 < LEAST_SIDE) continue;
    if (areaOf(object.box) < LEAST_SHARE * record.width * record.height) continue;
    const twin = kept.some(
      other => other.object.label === object.label && boxIou(other.object.box, object.box) > TWICE,
    );
    if (!twin) kept.push({ index, object });
  }
  return kept;
}

/** At most eight objects: those with words of their own first, then the larger ones, none on top of another. */
export function chooseObjects(record: Annotations): ChosenObject[] {
  const sorted = usableObjects(record)
    .map(({ index, object }): ChosenObject => ({ index, object, phrase: uniquePhrase(record, index) }))
    .sort(
      (a, b) =>
        Number(b.phrase !== null) - Number(a.phrase !== null) ||
        areaOf(b.object.box) - areaOf(a.object.box) ||
        a.index - b.index,
    );
  const chosen: ChosenObject[] = [];
  for (const candidate of sorted) {
    if (chosen.length === MOST_OBJECTS) break;
    if (chosen.every(other => boxIou(other.object.box, candidate.object.box) <= APART))
      chosen.push(candidate);
  }
  return chosen;
}

/**
 * Words that mean object `index` alone: an expression people wrote; its attributes and label, or its label, where no other
 * object has them; its annotated phrase; where it lies to an object that its label names; or its place in the row of its
 * equals. Null where all of these fit another object as well, or a crowd of its label leaves it open.
 */
export function uniquePhrase(record: Annotations, index: number): string | null {
  const { objects } = record;
  const object = objects[index];
  if (!object || object.crowd) return null;
  const [expression] = object.expressions ?? [];
  if (expression !== undefined) return expression;
  const equals = objects.filter((other, i) => i !== index && other.label === object.label);
  if (equals.length === 0) return describe(object);
  if (equals.some(other => other.crowd)) return null;
  const has = (other: ObjectAnnotation) => object.attributes.every(word => other.attributes.includes(word));
  if (object.attributes.length > 0 && !equals.some(has)) return describe(object);
  const [phrase] = expressionsOf(objects, index);
  return phrase ?? besideLandmark(record, object, equals) ?? inRow(record, object, equals);
}

/** Attributes and label; a number that an attribute says stands behind: "red digit 7". */
export function describe({ attributes, label }: ObjectAnnotation): string {
  const isNumber = (word: string) => /^[0-9]+$/.test(word);
  const [before, behind] = [attributes.filter(word => !isNumber(word)), attributes.filter(isNumber)];
  return [...before, label, ...behind].join(' ');
}

function besideLandmark(
  record: Size & Annotations,
  object: ObjectAnnotation,
  equals: readonly ObjectAnnotation[],
) {
  for (const landmark of record.objects) {
    const isAlone = record.objects.every(other => other === landmark || other.label !== landmark.label);
    if (landmark === object || landmark.crowd || !isAlone) continue;
    const position = positionOf(object.box, landmark.box, record);
    if (!position || equals.some(other => mightBe(position, other.box, landmark.box))) continue;
    return `${object.label} ${position} the ${landmark.label}`;
  }
  return null;
}

function inRow(
  { width }: Size,
  object: ObjectAnnotation,
  equals: readonly ObjectAnnotation[],
): string | null {
  const centre = ({ box }: ObjectAnnotation) => (box.x1 + box.x2) / 2;
  const row = [...equals, object].sort((a, b) => centre(a) - centre(b));
  const isClear = row.every((one, i) => i === 0 || centre(one) - centre(row[i - 1]!) > IN_ORDER * width);
  const ordinal = ORDINALS[row.indexOf(object)];
  return isClear && ordinal && row.length <= ORDINALS.length
    ? `${ordinal} ${object.label} from the left`
    : null;
}

export function areaOf({ x1, y1, x2, y2 }: PixelBox): number {
  return (x2 - x1) * (y2 - y1);
}
