/** Which objects of a record the phrases of its captions name. */
import { type Annotations, isNamedAlone } from '../record.ts';
import { COMPOUNDS, manyOf, mayFollowNoun, numberOf, wordsFor } from './nouns.ts';

/** `caption.slice(start, end)` names these objects, all that it means and no others. */
export interface Mention {
  readonly start: number;
  readonly end: number;
  /** Indices into the record's objects, single ones, in its order. */
  readonly objects: readonly number[];
}

/** What a caption mentions, in the order of its ends. */
export interface CaptionMentions {
  readonly caption: string;
  readonly mentions: readonly Mention[];
  /** Whether every mention of a label that the record has could be told; only then every object has its box. */
  readonly complete: boolean;
}

/** Words before a noun that are taken as part of its phrase, at most. */
const MODIFIERS = 4;
const LONGEST_NAME = 4;
/** What follows is not in the image. */
const NOT_THERE = new Set(['no', 'not', 'without']);

/**
 * The mentions of caption `index`: the annotated spans where it has some, else found by words. A phrase found by words
 * stands for objects only where nothing else could be meant: one object of the label for a singular, all of them for a
 * plural (as many as its number says), by attributes where these decide, never part of a crowd.
 */
export function mentionsOf(record: Annotations, index: number): CaptionMentions {
  const caption = record.captions[index] ?? '';
  const spans = (record.spans ?? []).filter(span => span.caption === index);
  if (spans.length === 0) return byWords(record, caption);
  const known = spans.map(({ start, end, objects }) => ({
    start,
    end,
    objects: objects.filter(i => record.objects[i] && !record.objects[i]?.crowd),
    all: objects.length,
  }));
  const fits = known.filter(({ start, end }) => start >= 0 && start < end && end <= caption.length);
  return {
    caption,
    mentions: fits
      .filter(({ objects, all }) => all > 0 && objects.length === all)
      .map(({ start, end, objects }) => ({ start, end, objects: [...new Set(objects)] }))
      .sort((a, b) => a.end - b.end || a.start - b.start),
    complete: fits.length === spans.length && fits.every(({ objects, all }) => objects.length === all),
  };
}

/** How many are meant by a name. */
type Form = 'one' | 'many' | 'either';

interface Name {
  /** Objects that the name fits; none for a name that only keeps its words from meaning something else. */
  readonly objects: readonly number[];
  readonly form: Form;
  /** A phrase that fits one object whatever stands before it. */
  readonly unique: boolean;
}

interface Word {
  /** In lower case. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

function byWords(record: Annotations, caption: string): CaptionMentions {
  const words = [...caption.matchAll(/[\p{L}\p{N}][\p{L}\p{N}'’-]*/gu)].map(
    ({ 0: text, index }): Word => ({ text: text.toLowerCase(), start: index, end: index + text.length }),
  );
  const names = namesIn(record);
  const mentions: Mention[] = [];
  let complete = true;
  for (let at = 0; at < words.length; ) {
    const length = nameAt(words, at, names, caption);
    const name = length === 0 ? undefined : names.get(textOf(words, at, length));
    if (!name) {
      at++;
      continue;
    }
    if (name.objects.length > 0) {
      const mention = resolve(record, caption, words, at, length, name);
      if (mention) mentions.push(mention);
      else complete = false;
    }
    at += length;
  }
  return { caption, mentions, complete };
}

/** Words of the longest name that begins here and ends its noun phrase; 0 for none. */
function nameAt(
  words: readonly Word[],
  at: number,
  names: ReadonlyMap<string, Name>,
  caption: string,
): number {
  for (let length = Math.min(LONGEST_NAME, words.length - at); length > 0; length--) {
    const name = names.get(textOf(words, at, length));
    if (!name || !areTogether(words, at, length, caption)) continue;
    const last = words[at + length - 1];
    const next = words[at + length];
    const isLast =
      !next || !last || /\S/.test(caption.slice(last.end, next.start)) || mayFollowNoun(next.text);
    // "digit 7": what a digit says follows its label.
    if (isLast || /^[0-9]+$/.test(next.text) || name.objects.length === 0) return length;
  }
  return 0;
}

function namesIn(record: Annotations): Map<string, Name> {
  const names = new Map<string, Name>();
  for (const compound of COMPOUNDS) {
    for (const text of [compound, manyOf(compound)])
      names.set(text, { objects: [], form: 'either', unique: false });
  }
  const add = (text: string, object: number, form: Form) => {
    const known = names.get(text);
    const objects = known ? [...new Set([...known.objects, object])] : [object];
    const same = !known || known.objects.length === 0 || known.form === form;
    names.set(text, { objects, form: same ? form : 'either', unique: false });
  };
  for (const [i, { label }] of record.objects.entries()) {
    for (const word of wordsFor(label)) {
      const many = manyOf(word);
      if (many === word) add(word, i, 'either');
      else {
        add(word, i, 'one');
        add(many, i, 'many');
      }
    }
  }
  // Last, so that nothing replaces them.
  for (const [i, { phrase, label }] of record.objects.entries()) {
    if (phrase === label || !isNamedAlone(record.objects, i)) continue;
    names.set(phrase.toLowerCase(), { objects: [i], form: 'one', unique: true });
  }
  return names;
}

/** The objects that a name means where it stands; null where that cannot be told. */
function resolve(
  record: Annotations,
  caption: string,
  words: readonly Word[],
  at: number,
  length: number,
  name: Name,
): Mention | null {
  let first = at;
  while (
    first > 0 &&
    at - first < MODIFIERS &&
    areTogether(words, first - 1, 2, caption) &&
    numberOf(words[first - 1]!.text) === undefined &&
    !NOT_THERE.has(words[first - 1]!.text) &&
    !mayFollowNoun(words[first - 1]!.text)
  ) {
    first--;
  }
  const modifiers = words.slice(first, at).map(word => word.text);
  const before = first > 0 && areTogether(words, first - 1, 2, caption) ? words[first - 1]!.text : '';
  const number = before === '' ? undefined : numberOf(before);
  const begin = number === undefined ? first : first - 1;
  if (NOT_THERE.has(words[begin - 1]?.text ?? '')) return null;
  const start = words[begin]!.start;
  let end = words[at + length - 1]!.end;
  let candidates = name.objects;
  if (!name.unique) {
    const attributes = new Set(
      candidates.flatMap(i => record.objects[i]!.attributes.map(a => a.toLowerCase())),
    );
    const said = modifiers.filter(word => attributes.has(word));
    const next = words[at + length];
    if (next && /^[0-9]+$/.test(next.text) && attributes.has(next.text)) {
      said.push(next.text);
      end = next.end;
    }
    candidates = candidates.filter(i =>
      said.every(word => hasAttribute(record.objects[i]!.attributes, word)),
    );
    // A crowd is more of them, nobody knows how many.
    if (candidates.some(i => record.objects[i]!.crowd)) return null;
  }
  const isMany =
    name.form === 'many' || (name.form === 'either' && number !== 1 && !(candidates.length === 1));
  if (isMany) {
    const fits =
      candidates.length >= 2 && (number === undefined || number === null || number === candidates.length);
    return fits ? { start, end, objects: candidates } : null;
  }
  return candidates.length === 1 && (number ?? 1) === 1 ? { start, end, objects: candidates } : null;
}

function hasAttribute(attributes: readonly string[], word: string): boolean {
  return attributes.some(attribute => attribute.toLowerCase() === word);
}

/** Whether only blanks part these words. */
function areTogether(words: readonly Word[], at: number, length: number, caption: string): boolean {
  return !/\S/.test(
    words
      .slice(at + 1, at + length)
      .map((word, i) => caption.slice(words[at + i]!.end, word.start))
      .join(''),
  );
}

function textOf(words: readonly Word[], at: number, length: number): string {
  return words
    .slice(at, at + length)
    .map(word => word.text)
    .join(' ');
}
