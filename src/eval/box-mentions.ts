/** Boxes in what a model says, in the ways in which models write them, and the words before each. */
import type { BoxSpace, PixelBox, Size } from '../data/box.ts';
import { clampBox, fromPaddedSquare, fromPermille, fromUnit } from '../data/box-spaces.ts';
import { decodeBox } from '../data/coordinates.ts';

/** What looks like a box. */
export interface BoxMention {
  /** The four numbers as they are written; null where there are not four, or one is no number. */
  readonly numbers: readonly [string, string, string, string] | null;
  /** The text between the mention before and this one. */
  readonly before: string;
}

const NUMBER = '[-+]?(?:[0-9]+(?:\\.[0-9]+)?|\\.[0-9]+)';
const ONLY_NUMBER = new RegExp(`^${NUMBER}$`);
const PAIR = `\\(\\s*(${NUMBER})\\s*,\\s*(${NUMBER})\\s*\\)`;

/** A bracket group is always meant as a box; round brackets and tags are only where they hold four numbers. */
const MENTION = new RegExp(
  [
    '\\[(?<bracket>[^[\\]]*)\\]',
    `${PAIR}\\s*,?\\s*${PAIR}`, // Qwen-VL's corners: (10,20),(30,40)
    `\\(\\s*(${NUMBER})\\s*,\\s*(${NUMBER})\\s*,\\s*(${NUMBER})\\s*,\\s*(${NUMBER})\\s*\\)`,
    '<(\\d+)>\\s*<(\\d+)>\\s*<(\\d+)>\\s*<(\\d+)>', // MiniGPT-v2: {<10><20><30><40>}
    '<loc_?(\\d+)>\\s*<loc_?(\\d+)>\\s*<loc_?(\\d+)>\\s*<loc_?(\\d+)>', // Florence-2
  ].join('|'),
  'g',
);

/** Every mention in order. Never throws, whatever the text: a bracket that is not closed is no mention. */
export function boxMentions(text: string): BoxMention[] {
  let from = 0;
  return [...text.matchAll(MENTION)].map(match => {
    const before = text.slice(from, match.index);
    from = match.index + match[0].length;
    const inside = match.groups?.bracket;
    const parts =
      inside === undefined
        ? match.slice(2).filter(part => part !== undefined)
        : inside.split(',').map(part => part.trim());
    return { numbers: fourNumbers(parts), before };
  });
}

/** A text without the boxes in it, blanks put right. */
export function withoutBoxes(text: string): string {
  return text
    .replace(MENTION, '')
    .replace(/\s+/g, ' ')
    .replace(/ (?=[,.;:!?])/g, '')
    .trim();
}

/** How a model writes boxes: in bins of its own, or in another space. */
export interface BoxWriting {
  readonly space: BoxSpace;
  /** How many bins there are; counts for `bins` alone. */
  readonly bins: number;
}

/**
 * The boxes of an answer in pixels, in order; null for a mention that is no box: other than four numbers, numbers out of the
 * range of their space, corners in the wrong order. A model that writes bins or thousandths may give fractions of the sides
 * instead, which are told by their decimal points.
 */
export function readBoxes(text: string, image: Size, writing: BoxWriting): (PixelBox | null)[] {
  return boxMentions(text).map(({ numbers }) => numbers && boxOf(numbers, image, writing));
}

function boxOf(
  written: readonly [string, string, string, string],
  image: Size,
  { space, bins }: BoxWriting,
): PixelBox | null {
  const [x1, y1, x2, y2] = written.map(Number) as [number, number, number, number];
  if (!(x1 <= x2 && y1 <= y2)) return null;
  const within = (high: number): boolean => [x1, y1, x2, y2].every(value => value >= 0 && value <= high);
  const whole = written.every(number => /^[0-9]+$/.test(number));
  switch (space) {
    case 'padded-square':
      return within(1) ? clampBox(fromPaddedSquare({ space, x1, y1, x2, y2 }, image), image) : null;
    case 'pixels':
      return within(Math.max(image.width, image.height)) ? clampBox({ space, x1, y1, x2, y2 }, image) : null;
    case 'bins':
      if (whole) return within(bins - 1) ? decodeBox([x1, y1, x2, y2], image, bins) : null;
      break;
    case 'permille':
      if (whole) return within(1000) ? fromPermille({ space, x1, y1, x2, y2 }, image) : null;
      break;
  }
  const isFraction = written.some(number => number.includes('.')) || space === 'unit';
  return isFraction && within(1) ? fromUnit({ space: 'unit', x1, y1, x2, y2 }, image) : null;
}

function fourNumbers(parts: readonly string[]): BoxMention['numbers'] {
  const [x1, y1, x2, y2] = parts;
  if (parts.length !== 4 || !parts.every(part => ONLY_NUMBER.test(part))) return null;
  if (x1 === undefined || y1 === undefined || x2 === undefined || y2 === undefined) return null;
  return [x1, y1, x2, y2];
}
