/** Boxes as text, `[x1, y1, x2, y2]`, in each of the spaces that models and annotation files write them in. */
import { GroundError } from '../errors.ts';
import type { Box, BoxSpace, PixelBox, Size } from './box.ts';
import {
  clampBox,
  fromBins,
  fromPaddedSquare,
  fromPermille,
  fromUnit,
  toBins,
  toPaddedSquare,
  toPermille,
  toUnit,
} from './box-spaces.ts';

/** A way to write boxes. */
export interface BoxCodec {
  readonly space: BoxSpace;
  /** Throws `data` on corners that are no finite numbers. */
  write(box: PixelBox, image: Size): string;
  /** Throws `data` on text that is no box of this space: other than four numbers, or numbers out of its range. */
  read(text: string, image: Size): PixelBox;
  /** Four numbers that an annotation file has as a list; throws like `read`. */
  fromNumbers(numbers: readonly number[], image: Size): PixelBox;
}

/** Ferret's number of bins. */
const DEFAULT_BINS = 1000;
/** GroundingGPT, LLaVA and Lyrics write three digits. */
const FRACTION_DIGITS = 3;

/** By the name of the space; `bins` counts for "bins" alone. */
export function boxCodec(space: BoxSpace, bins: number = DEFAULT_BINS): BoxCodec {
  switch (space) {
    case 'pixels':
      return codec(space, String, anyNumber, clampBox, box => box);
    case 'unit':
      return codec(space, fraction, isFraction, toUnit, fromUnit);
    case 'permille':
      return codec(space, String, wholeUpTo(1000), toPermille, fromPermille);
    case 'padded-square':
      return codec(space, fraction, isFraction, toPaddedSquare, fromPaddedSquare);
    case 'bins':
      return codec(
        space,
        String,
        wholeUpTo(bins - 1),
        (box, image) => toBins(box, image, bins),
        (box, image) => fromBins({ ...box, bins }, image),
      );
  }
}

/** What a space's numbers must be, in words; null where `value` is so. */
type Rule = (value: number) => string | null;

function codec<S extends BoxSpace>(
  space: S,
  print: (value: number) => string,
  rule: Rule,
  encode: (box: PixelBox, image: Size) => Box<S>,
  decode: (box: Box<S>, image: Size) => PixelBox,
): BoxCodec {
  const fromNumbers = (numbers: readonly number[], image: Size) => {
    const [x1, y1, x2, y2, ...more] = numbers;
    if (x1 === undefined || y1 === undefined || x2 === undefined || y2 === undefined || more.length > 0) {
      throw noBox(`[${numbers.join(', ')}]`, space, 'it needs four numbers');
    }
    for (const value of numbers) {
      const problem = rule(value);
      if (problem !== null) throw noBox(`[${numbers.join(', ')}]`, space, `${value} is no ${problem}`);
    }
    return decode({ space, x1, y1, x2, y2 }, image);
  };
  return {
    space,
    write(box, image) {
      const { x1, y1, x2, y2 } = encode(box, image);
      return `[${[x1, y1, x2, y2].map(print).join(', ')}]`;
    },
    read(text, image) {
      const inside = /^\s*\[([^[\]]*)\]\s*$/.exec(text)?.[1];
      if (inside === undefined) throw noBox(JSON.stringify(text), space, 'it is not [x1, y1, x2, y2]');
      const parts = inside.split(',').map(part => part.trim());
      // Number('') is 0 and Number('0x10') 16; neither is meant.
      return fromNumbers(
        parts.map(part => (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(part) ? Number(part) : Number.NaN)),
        image,
      );
    },
    fromNumbers,
  };
}

const anyNumber: Rule = value => (Number.isFinite(value) ? null : 'finite number');
const isFraction: Rule = value => (value >= 0 && value <= 1 ? null : 'fraction from 0 to 1');

function wholeUpTo(high: number): Rule {
  return value =>
    Number.isInteger(value) && value >= 0 && value <= high ? null : `whole number from 0 to ${high}`;
}

function fraction(value: number): string {
  return value.toFixed(FRACTION_DIGITS);
}

function noBox(what: string, space: BoxSpace, why: string): GroundError {
  return new GroundError('data', `${what} is no box in ${space}: ${why}`, {
    hint: 'are the boxes written in another space? There are pixels, unit, permille, padded-square and bins',
  });
}
