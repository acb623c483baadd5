/**
 * Referring object classification: "Is the object [region] of the image a cat or a dog?". Ferret's protocol (negated
 * spans are deleted, then the true name or a synonym must occur), made exact. Differences to the released script:
 *
 * - Names match whole words whatever their case: "cattle" does not name a cat, "Dog" names a dog.
 * - An answer that names both options is wrong; in the script it counts as right.
 * - Where one option contains the other ("hot dog", "dog"), the longer name claims its words.
 * - Negation starts at the word not, no, nor, neither, never, cannot, without or …n't, at "rather than" and "instead of", wherever it stands: the script also deletes from " nose" on, and
 *   keeps a negation that opens the answer. It ends at the next comma, period, semicolon or the word "but".
 */

/** The two options of a question, each as the names that count for it. */
export interface RocOptions {
  readonly truth: readonly string[];
  readonly other: readonly string[];
}

export type RocVerdict = 'right' | 'wrong' | 'both' | 'neither';

/** The names a category answers to: underscores are spaces, and "bat_(animal)" is a bat as well as an animal. */
export function categoryNames(category: string): string[] {
  const names = category
    .split(/[()]/)
    .map(name => name.replaceAll('_', ' ').replace(/\s+/g, ' ').trim())
    .filter(name => name !== '');
  return [...new Set(names)];
}

/** The answer without what it denies: "not a cat, but a dog" becomes ", but a dog". */
export function withoutNegations(answer: string): string {
  return answer.replace(
    /(?:\b(?:not|no|nor|neither|never|cannot|without|rather\s+than|instead\s+of)\b|\b\w+n['’]t\b)(?:(?!\bbut\b)[^,.;])*/gi,
    ' ',
  );
}

/** Which of the two options the answer names. Anything but 'right' is a miss. */
export function judgeRoc(answer: string, options: RocOptions): RocVerdict {
  const owners = [
    ...options.truth.map(name => ({ name, isTruth: true })),
    ...options.other.map(name => ({ name, isTruth: false })),
  ]
    .filter(({ name }) => name.trim() !== '')
    .sort((a, b) => b.name.length - a.name.length);
  let text = withoutNegations(answer);
  let truth = false;
  let other = false;
  for (const { name, isTruth } of owners) {
    const rest = text.replace(wholeWords(name), '\u0000');
    if (rest === text) continue;
    text = rest;
    if (isTruth) truth = true;
    else other = true;
  }
  if (truth && other) return 'both';
  if (truth) return 'right';
  return other ? 'wrong' : 'neither';
}

/** Share of right answers, 0..1; 0 when there are none. */
export function rocAccuracy(verdicts: readonly RocVerdict[]): number {
  return verdicts.length === 0 ? 0 : verdicts.filter(v => v === 'right').length / verdicts.length;
}

/** Matches `name` where no letter or digit touches it; any run of blanks matches its spaces. */
function wholeWords(name: string): RegExp {
  const words = name
    .trim()
    .split(/\s+/)
    .map(word => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`(?<![\\p{L}\\p{N}])${words.join('\\s+')}(?![\\p{L}\\p{N}])`, 'giu');
}
