/** A line of Flickr30k Entities' Sentences: "[/EN#283585/people Two young guys] look at [/EN#0/notvisual each other] ." */
import { tidyCaption } from './tidy-caption.ts';

/** A marked phrase: where it stands in the caption (UTF-16, end exclusive), and what it is about. */
export interface EntityPhrase {
  readonly start: number;
  readonly end: number;
  /** Number of the coreference chain: the same for all phrases about the same thing. */
  readonly chain: string;
  /** "people", "clothing", "bodyparts", "animals", "vehicles", "instruments", "scene", "other", "notvisual". */
  readonly types: readonly string[];
}

export interface EntitySentence {
  /** The caption without markup, its punctuation joined to the words. */
  readonly text: string;
  readonly phrases: readonly EntityPhrase[];
  /** Whether some of it looks like markup and is none. */
  readonly broken: boolean;
}

const PHRASE = /\[\/EN#(\d+)((?:\/[^\s/\]]+)*)\s([^[\]]*)\]/g;

/** A caption and its marked phrases; phrases without words are none. */
export function parseEntitySentence(line: string): EntitySentence {
  let raw = '';
  let end = 0;
  const marked: EntityPhrase[] = [];
  for (const match of line.matchAll(PHRASE)) {
    const [whole, chain = '', types = '', words = ''] = match;
    raw += line.slice(end, match.index);
    end = match.index + whole.length;
    const lead = words.length - words.trimStart().length;
    const start = raw.length + lead;
    raw += words;
    if (words.trim() === '') continue;
    marked.push({ start, end: start + words.trim().length, chain, types: types.split('/').filter(Boolean) });
  }
  raw += line.slice(end);
  // What is left of a bracket that was never closed.
  const stray = /\[\/EN#\d+(?:\/[^\s/\]]+)*\s/g;
  const clean = stray.test(raw)
    ? raw.replace(stray, mark => ' '.repeat(mark.length)).replaceAll(']', ' ')
    : raw;
  const tidy = tidyCaption(clean);
  const phrases = marked.map(phrase => ({
    ...phrase,
    start: tidy.at(phrase.start),
    end: tidy.at(phrase.end),
  }));
  return { text: tidy.text, phrases, broken: clean !== raw };
}
