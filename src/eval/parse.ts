import { boxMentions } from './box-mentions.ts';

/** A box as the model writes it: x1, y1, x2, y2 as whole numbers 0..bins-1 of the image's sides. */
export type BinBox = readonly [x1: number, y1: number, x2: number, y2: number];

/**
 * Every mention of a box in an answer, in order: a box where it holds four whole numbers below `bins` with
 * x1 <= x2 and y1 <= y2, else null. Blanks are free. Never throws, whatever the text.
 */
export function parseBoxGroups(text: string, bins: number): (BinBox | null)[] {
  return boxMentions(text).map(({ numbers }) => {
    if (!numbers?.every(part => /^[0-9]+$/.test(part))) return null;
    const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = numbers.map(Number);
    const inRange = [x1, y1, x2, y2].every(value => value < bins);
    return inRange && x1 <= x2 && y1 <= y2 ? [x1, y1, x2, y2] : null;
  });
}

/** The well-formed boxes of an answer, in order. */
export function parseBoxes(text: string, bins: number): BinBox[] {
  return parseBoxGroups(text, bins).filter(box => box !== null);
}
