/** Labels out of noun phrases: "a group of young men in suits" is about men. Rules for English, no dictionary. */
import type { CaptionSpan } from '../record.ts';

/** Words before a noun that say nothing of what it is. */
const DETERMINERS = new Set(
  (
    'a an the this that these those some any each every both all other another several many few his her its their my ' +
    'our your one two three four five six seven eight nine ten'
  ).split(' '),
);
/** Words that end a noun phrase proper; what follows describes it. */
const AFTER_NOUN = new Set(
  (
    'with without in on at by near from for to into onto over under above below behind beside between among around ' +
    'against along across through during before after while who which that whose where and or as wearing holding ' +
    'standing sitting looking walking playing riding using carrying'
  ).split(' '),
);
/** "a group of people" is people; "a statue of people" is a statue. */
const QUANTITIES = new Set(
  (
    'group pair bunch couple lot lots number crowd row line set stack pile variety piece pieces kind type bit ' +
    'body team series collection array plate bowl cup glass bottle'
  ).split(' '),
);

/** A phrase without its determiners, in lower case: "The young man" to "young man"; never empty for a phrase with words. */
export function barePhrase(phrase: string): string {
  const words = phrase.toLowerCase().split(/\s+/).filter(Boolean);
  const first = words.findIndex(word => !DETERMINERS.has(word));
  return (first < 0 ? words : words.slice(first)).join(' ');
}

/** The noun that a phrase is about: "a young man in a red hat" to "man". */
export function headOf(phrase: string): string {
  const words = barePhrase(phrase)
    .split(' ')
    .map(word => word.replace(/^\p{P}+|\p{P}+$/gu, ''))
    .filter(Boolean);
  // The first word stays whatever it is: "playing cards".
  const stop = words.findIndex((word, i) => i > 0 && AFTER_NOUN.has(word));
  const core = stop < 0 ? words : words.slice(0, stop);
  const of = core.indexOf('of');
  if (of <= 0) return core.at(-1) ?? barePhrase(phrase);
  const before = core[of - 1] ?? '';
  return (QUANTITIES.has(before) ? core.at(-1) : before) ?? before;
}

/** What captions call each of `count` objects; null for an object that no span names. */
export function namesOf(
  count: number,
  captions: readonly string[],
  spans: readonly CaptionSpan[],
): ({ readonly label: string; readonly phrase: string } | null)[] {
  return Array.from({ length: count }, (_, index) => {
    const naming = spans.filter(({ objects }) => objects.includes(index));
    // "Two men" names each of them less well than "a man" names one.
    const fewest = Math.min(...naming.map(({ objects }) => objects.length));
    const phrases = naming
      .filter(({ objects }) => objects.length === fewest)
      .map(({ caption, start, end }) => captions[caption]?.slice(start, end) ?? '');
    if (phrases.length === 0) return null;
    const bare = phrases.map(barePhrase);
    const longest = bare.reduce((best, phrase) => (phrase.length > best.length ? phrase : best));
    return { label: mostFrequent(phrases.map(headOf)), phrase: longest };
  });
}

/** The value that occurs most; of several the one that comes first. */
function mostFrequent(values: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best), ['', 0])[0];
}
