/**
 * VQA accuracy (Goyal et al. 2017): an answer is right as far as people gave it, three of ten being enough. Both sides are
 * normalised by the rules of VQA's evaluation, as TextVQA's evaluation does; VQA's own leaves numbers and articles of the
 * accepted answers as they are, so that "two" is not "two" there.
 */

/** How many answers VQA collects for a question; with fewer, to be one of them is enough. */
const COLLECTED = 10;
/** How many people must agree. */
const ENOUGH = 3;

/** Share of 0..1: over each choice of nine people, a third for each who gave the answer, one at most; the mean of these. */
export function vqaAccuracy(answer: string, accepted: readonly string[]): number {
  const said = normaliseAnswer(answer);
  const given = accepted.map(normaliseAnswer);
  if (said === '' || given.length === 0) return 0;
  if (given.length < COLLECTED) return Number(given.includes(said));
  const agreeing = given.filter(one => one === said).length;
  const sum = given.reduce((all, one) => all + Math.min(1, (agreeing - Number(one === said)) / ENOUGH), 0);
  return sum / given.length;
}

/** Lower case, without articles and punctuation, numbers up to ten in digits, apostrophes where they belong. */
export function normaliseAnswer(answer: string): string {
  return withoutPunctuation(answer.replace(/[\n\t]/g, ' ').trim())
    .toLowerCase()
    .split(/\s+/)
    .map(word => NUMBERS.get(word) ?? word)
    .filter(word => word !== '' && !ARTICLES.has(word))
    .map(word => CONTRACTIONS.get(word) ?? word)
    .join(' ');
}

const PUNCTUATION = [...';/[]"{}()=+\\_-><@`,?!'];

/** A mark beside a blank goes, as do all marks of a text with "1,000" in it; any other becomes a blank. */
function withoutPunctuation(text: string): string {
  const hasLongNumber = /\d,\d/.test(text);
  const without = PUNCTUATION.reduce(
    (left, mark) =>
      left.replaceAll(
        mark,
        hasLongNumber || text.includes(`${mark} `) || text.includes(` ${mark}`) ? '' : ' ',
      ),
    text,
  );
  return without.replace(/\.(?!\d)/g, '');
}

const ARTICLES = new Set(['a', 'an', 'the']);

const NUMBERS: ReadonlyMap<string, string> = new Map([
  ['none', '0'],
  ...['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'].map(
    (word, number) => [word, String(number)] as const,
  ),
]);

/** What may be written without one of its apostrophes. "its", "well" and the like are words and stay. */
const CONTRACTED = [
  "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd've he's",
  "how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't needn't not've o'clock",
  "oughtn't shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've",
  "someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've",
  "they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've",
  "who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll you'd you'd've",
  "you'll you're you've he'd",
].flatMap(line => line.split(' '));

const CONTRACTIONS: ReadonlyMap<string, string> = new Map(
  CONTRACTED.flatMap(word =>
    [...word.matchAll(/'/g)].map(
      ({ index }) => [word.slice(0, index) + word.slice(index + 1), word] as const,
    ),
  ),
);
