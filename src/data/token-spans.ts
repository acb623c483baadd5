/** Which tokens of a text stand for which part of it, exactly: nothing is tokenised twice. */
import { GroundError } from '../errors.ts';
import type { Tokenizer } from './tokenizer.ts';

type Span = readonly [start: number, end: number];

/**
 * The tokens [first, last) that overlap each span of `text` (UTF-16 units), where `ids` are all of its tokens. Follows
 * the bytes of the tokens through the text; a blank that the tokenizer puts before a text takes up none of it, and
 * unknown tokens take what lies between their neighbours. Throws `tokenizer` where tokens and text cannot be the same.
 */
export function tokenSpans(
  text: string,
  ids: readonly number[],
  spans: readonly Span[],
  tokenizer: Tokenizer,
): Span[] {
  // What a tokenizer normalises, it normalises to NFC: the text is tried as it is, then so.
  for (const form of [(part: string) => part, (part: string) => part.normalize('NFC')]) {
    const ends = tokenEnds(new TextEncoder().encode(form(text)), ids, tokenizer);
    if (ends === null) continue;
    const bytesUpTo = (at: number): number => Buffer.byteLength(form(text.slice(0, at)));
    return spans.map(([start, end]) => {
      const [from, to] = [bytesUpTo(start), bytesUpTo(end)];
      const first = ends.findIndex(tokenEnd => tokenEnd > from);
      // Starts are the ends of the token before.
      const last = ends.findIndex((_, i) => (ends[i - 1] ?? 0) >= to);
      return from === to || first < 0 ? [0, 0] : [first, last < 0 ? ids.length : last];
    });
  }
  throw new GroundError('tokenizer', `tokens cannot be found again in the text "${text.slice(0, 60)}…"`, {
    hint: 'the tokenizer changes the text before it cuts it; use template: vicuna_v1, which needs no places',
  });
}

/** For each token, the byte of the text where it ends; null where the tokens do not spell the text. */
function tokenEnds(bytes: Uint8Array, ids: readonly number[], tokenizer: Tokenizer): number[] | null {
  const ends: number[] = [];
  let at = 0;
  let unknowns = 0;
  for (const id of ids) {
    const token = tokenizer.bytesOf(id);
    const length = matchAt(bytes, at, token);
    if (length !== null && unknowns === 0) {
      at += length;
    } else if (id === tokenizer.unknownId) {
      unknowns += 1;
    } else {
      if (unknowns === 0) return null;
      let found = at + 1;
      while (found < bytes.length && matchAt(bytes, found, token) === null) found += 1;
      const step = matchAt(bytes, found, token);
      if (step === null) return null;
      ends.fill(found, ends.length - unknowns);
      unknowns = 0;
      at = found + step;
    }
    ends.push(at);
  }
  if (unknowns > 0) ends.fill(bytes.length, ends.length - unknowns);
  return unknowns > 0 || at === bytes.length ? ends : null;
}

/** How many bytes of the text a token takes up at a place, with or without the blank it may begin with. */
function matchAt(bytes: Uint8Array, at: number, token: Uint8Array): number | null {
  const whole = (part: Uint8Array): boolean => part.every((byte, i) => bytes[at + i] === byte);
  if (whole(token)) return token.length;
  return token[0] === 0x20 && whole(token.subarray(1)) ? token.length - 1 : null;
}
