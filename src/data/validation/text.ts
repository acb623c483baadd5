/** Texts that nobody can learn from. */
import type { Finding } from './problem.ts';

/** U+FFFD stands where bytes were no text; NUL and its like belong to files, not to sentences. */
const GARBLED = /\ufffd|[^\P{Cc}\s\u007f-\u009f]/u;
const CONTROL = /\p{Cc}/u;
const CONTROL_BUT_BREAKS = /[^\P{Cc}\t\n\r]/u;
const SHOWN = 60;

/** The error of a text that must say something. */
export function textError(what: string, text: string): Finding | null {
  if (text.trim() === '') return { kind: 'text', problem: `${what} is empty` };
  return garbledText(what, text);
}

/** The error of a text that may be empty. */
export function garbledText(what: string, text: string): Finding | null {
  if (!GARBLED.test(text)) return null;
  return { kind: 'text', problem: `${what} has characters that are no text: ${shown(text, GARBLED)}` };
}

/** What is odd about a text that has no error; line breaks are at home in conversations only. */
export function textOddity(what: string, text: string, breaks: boolean): Finding | null {
  const odd = breaks ? CONTROL_BUT_BREAKS : CONTROL;
  if (text.trim() === '' || !odd.test(text) || GARBLED.test(text)) return null;
  return { kind: 'odd-text', problem: `${what} has control characters: ${shown(text, odd)}` };
}

/** The text around what `pattern` finds in it, as a JSON string. */
function shown(text: string, pattern: RegExp): string {
  const start = Math.max(0, text.search(pattern) - SHOWN / 2);
  return JSON.stringify(text.slice(start, start + SHOWN)).replace(/[\u007f-\u009f]/g, character => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
