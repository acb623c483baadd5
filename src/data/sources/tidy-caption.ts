/** Captions that were split into tokens put back together, with the way of every offset from the old text to the new. */

/** A text, and where a position of the text it was made of now lies. */
export interface TidyText {
  readonly text: string;
  at(offset: number): number;
}

/** Blanks that are no part of the text: at its ends, doubled, before a full stop or comma, before "'s" and "n't". */
const STRAY = /^\s+|\s+$|\s+(?=[.,!?;:](?:\s|$))|\s+(?='(?:s|re|ve|ll|d|m)\b)|\s+(?=n't\b)|\s(?=\s)/gi;

/** "A man 's hat , in the\nrain ." to "A man's hat, in the rain." Offsets are UTF-16. */
export function tidyCaption(caption: string): TidyText {
  const removed: (readonly [from: number, to: number])[] = [];
  for (const { index, 0: blanks } of caption.matchAll(STRAY)) removed.push([index, index + blanks.length]);
  let text = '';
  let end = 0;
  for (const [from, to] of removed) {
    text += caption.slice(end, from);
    end = to;
  }
  text += caption.slice(end);
  return {
    text: text.replace(/\s/g, ' '),
    at: offset => removed.reduce((sum, [from, to]) => sum - Math.max(0, Math.min(offset, to) - from), offset),
  };
}

/** The positions in UTF-16 of a text's characters as Python counts them, and of its end. */
export function utf16Offsets(text: string): number[] {
  const offsets = [0];
  for (const character of text) offsets.push((offsets.at(-1) ?? 0) + character.length);
  return offsets;
}
