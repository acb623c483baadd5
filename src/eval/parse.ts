/** A box as the model writes it: x1, y1, x2, y2 as whole numbers 0..bins-1 of the image's sides. */
export type BinBox = readonly [x1: number, y1: number, x2: number, y2: number];

/**
 * Every innermost bracket group of an answer, in order: a box where it holds four whole numbers below `bins` with
 * x1 <= x2 and y1 <= y2, else null. Blanks are free. Never throws, whatever the text: a bracket that is not closed is
 * no group.
 */
export function parseBoxGroups(text: string, bins: number): (BinBox | null)[] {
  return [...text.matchAll(/\[([^[\]]*)\]/g)].map(match => parseGroup(match[1] ?? '', bins));
}

/** The well-formed boxes of an answer, in order. */
export function parseBoxes(text: string, bins: number): BinBox[] {
  return parseBoxGroups(text, bins).filter(box => box !== null);
}

function parseGroup(inside: string, bins: number): BinBox | null {
  const numbers = inside.split(',').map(part => part.trim());
  if (numbers.length !== 4 || !numbers.every(part => /^[0-9]+$/.test(part))) return null;
  const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = numbers.map(Number);
  const inRange = [x1, y1, x2, y2].every(value => value < bins);
  return inRange && x1 <= x2 && y1 <= y2 ? [x1, y1, x2, y2] : null;
}
