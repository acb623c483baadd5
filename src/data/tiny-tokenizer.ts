/**
 * The tokenizer of small recipes, as a tokenizer.json: one token a known word, one a whole number below `bins`, bytes
 * for all else. A byte-level BPE without merges and with `ignore_merges`: a piece of text is one token where the
 * vocabulary has it whole, else its bytes. So every text survives. A coordinate and the bracket or comma beside it are one
 * token: a box like " [12, 34, 56, 63]" is four. That is no saving only: its first coordinate is then predicted from the
 * phrase itself, not from a bracket behind it. A two-layer model that was given ideal visual tokens learned within 3,000 steps
 * to point at the one of three objects that was named; with a bracket of its own between phrase and number it did not.
 */
import { byteCharacters } from './token-bytes.ts';
import { REGION_TOKEN } from './tokenizer.ts';

/** Ids 0 to 3. `</s>` is 2 as in Llama. */
const SPECIAL_TOKENS = ['<unk>', '<s>', '</s>', REGION_TOKEN] as const;

/**
 * Where text is cut. Only ASCII is told apart, so that no two regex engines (of JavaScript and of Rust) with different
 * Unicode tables disagree; all else is bytes anyway.
 */
const PIECES = ' \\[[0-9]+|, [0-9]+\\]?|, | ?\\[|\\]| ?[A-Za-z]+|[0-9]+| ?[^A-Za-z0-9 ]| ';

export interface TinyVocabulary {
  /** Numbers 0..bins-1 are one token each, on their own and as a coordinate of each kind: " [12", ", 12", ", 12]". */
  readonly bins: number;
  /** Words known inside a text, that is with a blank before them. */
  readonly inside: readonly string[];
  /** Words known at its beginning too. */
  readonly first: readonly string[];
}

/** The tokenizer.json of a vocabulary, as an object. */
export function tinyTokenizer({ bins, inside, first }: TinyVocabulary): object {
  const characters = byteCharacters();
  const toCharacters = (text: string): string =>
    Array.from(new TextEncoder().encode(text), byte => characters[byte]).join('');
  const numbers = Array.from({ length: bins }, (_, i) => String(i));
  const coordinates = [' [#', ', #', ', #]'].flatMap(form => numbers.map(n => form.replace('#', n)));
  const words = [...new Set([...inside, ...first])].sort().map(word => ` ${word}`);
  const tokens = [
    ...characters,
    ...[...numbers, ...coordinates, ', ', ' [', ...words, ...[...new Set(first)].sort()].map(toCharacters),
  ];
  const vocabulary = new Map<string, number>();
  for (const token of [...SPECIAL_TOKENS, ...tokens]) {
    if (!vocabulary.has(token)) vocabulary.set(token, vocabulary.size);
  }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: PIECES }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: true,
      vocab: Object.fromEntries(vocabulary),
      merges: [],
    },
  };
}
