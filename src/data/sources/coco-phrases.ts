/** Phrases for objects that are only known by their category: told apart by place and size where that is beyond doubt. */
import type { PixelBox, Size } from '../box.ts';
import type { ObjectAnnotation } from '../record.ts';

/** A centre leads by this share of the image's side before "leftmost" is said. */
const LEAD = 0.08;
/** An area exceeds all others by this factor before "largest" is said. */
const LARGER = 1.5;

const width = (box: PixelBox) => box.x2 - box.x1;
const height = (box: PixelBox) => box.y2 - box.y1;
const area = (box: PixelBox) => width(box) * height(box);

/** Whether a box is the one meant by the word rather than another box of its kind; the preferred words come first. */
const WORDS: readonly (readonly [word: string, leads: (a: PixelBox, b: PixelBox, image: Size) => boolean])[] =
  [
    ['leftmost', (a, b, image) => b.x1 + b.x2 - a.x1 - a.x2 > 2 * LEAD * image.width],
    ['rightmost', (a, b, image) => a.x1 + a.x2 - b.x1 - b.x2 > 2 * LEAD * image.width],
    ['largest', (a, b) => area(a) > LARGER * area(b)],
    ['topmost', (a, b, image) => b.y1 + b.y2 - a.y1 - a.y2 > 2 * LEAD * image.height],
    ['bottommost', (a, b, image) => a.y1 + a.y2 - b.y1 - b.y2 > 2 * LEAD * image.height],
    ['smallest', (a, b) => LARGER * area(a) < area(b)],
  ];

/**
 * The objects with phrases: the label where it is the only one of its kind, "leftmost dog" and the like where that is
 * true of one alone, and otherwise still the label (`isNamedAlone` then says no). Beside a crowd of the same label
 * nothing is told apart: the crowd may hold the true leftmost.
 */
export function withPhrases(objects: readonly ObjectAnnotation[], image: Size): ObjectAnnotation[] {
  return objects.map(object => {
    const others = objects.filter(other => other !== object && other.label === object.label);
    if (others.length === 0 || object.crowd || others.some(other => other.crowd)) return object;
    const found = WORDS.find(([, leads]) => others.every(other => leads(object.box, other.box, image)));
    return found ? { ...object, phrase: `${found[0]} ${object.label}` } : object;
  });
}
