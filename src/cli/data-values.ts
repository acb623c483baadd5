/** The values of `ground data`'s flags, from text. All throw `usage` with the flag and the value at fault. */
import type { Size } from '../data/box.ts';
import { GroundError } from '../errors.ts';

/** "96", "96x64" or several of them with commas. */
export function parseSizes(flag: string, text: string): Size[] {
  return text.split(',').map(part => {
    const match = /^(\d+)(?:x(\d+))?$/.exec(part.trim());
    if (!match)
      throw bad(flag, part, 'a side such as 96, or width x height such as 96x64; several with commas');
    const width = Number(match[1]);
    return { width, height: match[2] === undefined ? width : Number(match[2]) };
  });
}

/** "2-6", or "4" for both ends. */
export function parseRange(flag: string, text: string): [min: number, max: number] {
  const match = /^(\d*\.?\d+)(?:-(\d*\.?\d+))?$/.exec(text.trim());
  if (!match) throw bad(flag, text, 'a range such as 2-6');
  const min = Number(match[1]);
  return [min, match[2] === undefined ? min : Number(match[2])];
}

/** "train=2000,val=200": sub-folders and how many scenes go there. */
export function parseSplits(flag: string, text: string): { name: string; count: number }[] {
  const splits = text.split(',').map(part => {
    const match = /^([A-Za-z0-9][\w-]*)=(\d+)$/.exec(part.trim());
    if (!match) throw bad(flag, part, 'NAME=COUNT pairs such as train=2000,val=200');
    return { name: match[1] as string, count: Number(match[2]) };
  });
  const twice = splits.find(({ name }, i) => splits.findIndex(other => other.name === name) !== i);
  if (twice) throw bad(flag, text, `each name once; ${twice.name} is there twice`);
  return splits;
}

/** A whole number from `low` up. */
export function parseWhole(flag: string, text: string, low: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < low || text.trim() === '') {
    throw bad(flag, text, `a whole number from ${low} up`);
  }
  return value;
}

/** A number from 0 to 1. */
export function parseShare(flag: string, text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1)) throw bad(flag, text, 'a number from 0 to 1');
  return value;
}

function bad(flag: string, value: string, wanted: string): GroundError {
  return new GroundError('usage', `${flag} "${value}" makes no sense`, { hint: `it must be ${wanted}` });
}
