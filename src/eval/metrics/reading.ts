/** How well a short text was read: exactly, and by ANLS (Biten et al. 2019). */

/** Below this similarity an answer is another one, not one with mistakes in it. */
const ANLS_THRESHOLD = 0.5;

/** In lower case with single blanks. */
export function plainText(text: string): string {
  return text.toLowerCase().replace(/\s+/g, ' ').trim();
}

/** Whether an answer is one of the accepted ones, give or take case, blanks and a period in the end. */
export function isExact(answer: string, accepted: readonly string[]): boolean {
  const said = withoutPeriod(plainText(answer));
  return said !== '' && accepted.some(text => withoutPeriod(plainText(text)) === said);
}

/** Normalised similarity of an answer to the closest of the accepted ones: 1 for the same text, 0 below a half. */
export function anls(answer: string, accepted: readonly string[]): number {
  const said = [...plainText(answer)];
  const best = Math.max(
    0,
    ...accepted.map(text => {
      const truth = [...plainText(text)];
      const longest = Math.max(said.length, truth.length);
      return longest === 0 ? 0 : 1 - editDistance(said, truth) / longest;
    }),
  );
  return best >= ANLS_THRESHOLD ? best : 0;
}

/** The least number of characters to insert, delete or replace (Levenshtein). */
export function editDistance(a: readonly string[], b: readonly string[]): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, own] of a.entries()) {
    const row = [i + 1];
    for (const [j, other] of b.entries()) {
      row.push(
        Math.min((row[j] ?? 0) + 1, (previous[j + 1] ?? 0) + 1, (previous[j] ?? 0) + Number(own !== other)),
      );
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}

function withoutPeriod(text: string): string {
  return text.replace(/\s*\.$/, '');
}
