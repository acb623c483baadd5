/** Coloured text in lines of bounded width, in the letters that the pixel font has. */
import type { Canvas, Rgb } from '../canvas.ts';
import { GLYPH_ADVANCE, LINE_HEIGHT } from '../pixel-font.ts';

export interface Ink {
  readonly text: string;
  readonly colour: Rgb;
}

/** Characters of one colour each, of one line. */
export type Line = readonly Ink[];

/** Letters beyond the font's as escapes: "été" is "\u{e9}t\u{e9}". */
export function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e\n]/gu, letter => `\\u{${(letter.codePointAt(0) ?? 0).toString(16)}}`);
}

/** Breaks text at blanks, and inside of words that are longer than a line; line breaks stay. */
export function linesOf(inks: readonly Ink[], width: number): Line[] {
  const most = Math.max(1, Math.floor(width / GLYPH_ADVANCE));
  const letters = inks.flatMap(({ text, colour }) =>
    [...printable(text)].map(letter => ({ letter, colour })),
  );
  const lines: Ink[][] = [];
  let start = 0;
  while (start < letters.length) {
    let end = start;
    let blank = -1;
    while (end < letters.length && letters[end]?.letter !== '\n' && end - start < most) {
      if (letters[end]?.letter === ' ') blank = end;
      end++;
    }
    const isFull = end < letters.length && letters[end]?.letter !== '\n';
    const cut = isFull && letters[end]?.letter !== ' ' && blank > start ? blank : end;
    lines.push(joined(letters.slice(start, cut)));
    const next = letters[cut]?.letter;
    start = next === '\n' || next === ' ' ? cut + 1 : cut;
  }
  return lines;
}

/** The first lines of a text, and how many more there are. */
export function firstLines(lines: readonly Line[], most: number, colour: Rgb): readonly Line[] {
  if (lines.length <= most) return lines;
  const more = `... ${lines.length - most + 1} more lines`;
  return [...lines.slice(0, most - 1), [{ text: more, colour }]];
}

/** Writes lines below each other from (left, top). */
export function writeLines(canvas: Canvas, lines: readonly Line[], left: number, top: number): void {
  for (const [i, line] of lines.entries()) {
    let x = left;
    for (const { text, colour } of line) {
      canvas.text(text, x, top + i * LINE_HEIGHT, colour);
      x += text.length * GLYPH_ADVANCE;
    }
  }
}

function joined(letters: readonly { readonly letter: string; readonly colour: Rgb }[]): Ink[] {
  const inks: { text: string; colour: Rgb }[] = [];
  for (const { letter, colour } of letters) {
    const last = inks.at(-1);
    if (last?.colour === colour) last.text += letter;
    else inks.push({ text: letter, colour });
  }
  return inks;
}
