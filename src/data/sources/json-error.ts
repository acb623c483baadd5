/** Where a text stops being JSON, and why: `JSON.parse` tells the position for some mistakes and not for others. */

export interface JsonProblem {
  /** Characters from the start (UTF-16). */
  readonly at: number;
  readonly problem: string;
  readonly hint?: string;
}

/** A number as JSON writes it. */
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const SPACE = /[ \t\r\n]*/y;
/** Control characters beyond U+001F are allowed, but rare: those are stepped over one by one. */
const STRING_PART = /[^"\\\p{Cc}]*/uy;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const WORD = /[\w$.+-]+/y;

/** The first problem of a text that `JSON.parse` refuses. The whole text must be one value. */
export function findJsonError(text: string): JsonProblem {
  let at = 0;
  const take = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found === undefined) return null;
    at += found.length;
    return found;
  };
  const space = () => take(SPACE);
  const problem = (expected: string): JsonProblem => {
    if (at >= text.length) return { at, problem: `the value ends where ${expected} was expected` };
    const start = at;
    const word = take(WORD) ?? String.fromCodePoint(text.codePointAt(at) ?? 0);
    at = start;
    const found = `expected ${expected}, found ${JSON.stringify(word.slice(0, 20))}`;
    if (!/^[-+]?(?:NaN|Infinity)$/.test(word)) return { at, problem: found };
    return { at, problem: found, hint: 'JSON has no NaN or Infinity: write null, or leave the entry out' };
  };
  const string = (): JsonProblem | null => {
    at++;
    for (;;) {
      take(STRING_PART);
      if (text[at] === '"') {
        at++;
        return null;
      }
      if (text[at] === '\\' && take(ESCAPE) !== null) continue;
      if (at >= text.length) return problem('the closing quote of a text');
      if (text[at] !== '\\' && text.charCodeAt(at) > 0x1f) {
        at++;
        continue;
      }
      return text[at] === '\\'
        ? { at, problem: `a text has the unknown escape ${JSON.stringify(text.slice(at, at + 2))}` }
        : { at, problem: `a text has a raw control character (code ${text.charCodeAt(at)})` };
    }
  };
  // Closing brackets of what is open; recursion would not survive deep nesting.
  const open: string[] = [];
  const key = (expected: string): JsonProblem | null => {
    space();
    if (text[at] !== '"') return problem(expected);
    const broken = string();
    if (broken) return broken;
    space();
    if (text[at] !== ':') return problem('":"');
    at++;
    return null;
  };
  for (;;) {
    space();
    const c = text[at];
    if (c === '{' || c === '[') {
      at++;
      open.push(c === '{' ? '}' : ']');
      space();
      if (text[at] !== open.at(-1)) {
        const broken = c === '{' ? key('a key in quotes or "}"') : null;
        if (broken) return broken;
        continue;
      }
    } else if (c === '"') {
      const broken = string();
      if (broken) return broken;
    } else if (take(NUMBER) === null && take(/(?:true|false|null)/y) === null) {
      return problem('a value');
    }
    for (;;) {
      space();
      const closing = open.at(-1);
      if (closing === undefined) return problem('the end of the value');
      if (text[at] === closing) {
        at++;
        open.pop();
        continue;
      }
      if (text[at] !== ',') return problem(`"," or "${closing}"`);
      at++;
      const broken = closing === '}' ? key('a key in quotes') : null;
      if (broken) return broken;
      break;
    }
  }
}
