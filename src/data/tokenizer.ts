/**
 * Text to token ids and back, over the tokenizer.json of Hugging Face's libraries. Special tokens are never added
 * behind the caller's back: who wants `<s>` puts its id there.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Tokenizer as Engine } from '@huggingface/tokenizers';
import { GroundError, messageOf } from '../errors.ts';

/** The token that a region's feature vector replaces. `<image>` is a marker of ours and never in a vocabulary. */
export const REGION_TOKEN = '<region_fea>';

/** Text in, ids out. Immutable; one instance serves a whole process. */
export interface Tokenizer {
  /** Number of rows an embedding table needs: the largest id + 1. */
  readonly vocabSize: number;
  /** `<s>`, or null for tokenizers without one (Qwen2). */
  readonly beginId: number | null;
  /** `</s>` (or what the tokenizer's configuration calls its end). */
  readonly endId: number;
  readonly unknownId: number | null;
  readonly regionId: number;
  /** Ids of a text that begins a sequence. */
  encode(text: string): number[];
  /** Ids of a text that goes on where another ended: no blank is put before it (SentencePiece's dummy prefix). */
  encodeContinuation(text: string): number[];
  /** Text of ids, special tokens left out unless `special`. */
  decode(ids: readonly number[], options?: { readonly special?: boolean }): string;
  /** Id of a token by its content, or undefined. */
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
}

/**
 * Reads tokenizer.json and, where it lies beside it, tokenizer_config.json (names of the special tokens; `<s>`,
 * `</s>` and `<unk>` without it). Throws `tokenizer` on a file that cannot be read or lacks a needed token.
 */
export function loadTokenizer(file: string): Tokenizer {
  const definition = readJson(file);
  const configFile = join(dirname(file), 'tokenizer_config.json');
  return createTokenizer(definition, existsSync(configFile) ? readJson(configFile) : null, file);
}

/** The same from parsed JSON; `origin` names it in errors. */
export function createTokenizer(definition: object, config: object | null, origin: string): Tokenizer {
  let engine: Engine;
  try {
    engine = new Engine(definition, config ?? {});
  } catch (cause) {
    throw new GroundError('tokenizer', `${origin} is no tokenizer: ${messageOf(cause)}`, {
      hint: 'give the tokenizer.json of a fast tokenizer',
      cause,
    });
  }
  const named = specialNames(config);
  const required = (token: string, why: string): number => {
    const id = engine.token_to_id(token);
    if (id !== undefined) return id;
    throw new GroundError('tokenizer', `${origin} has no token ${token} (${why})`, {
      hint: `add ${token} to its added_tokens and give the embedding table one row more`,
    });
  };
  const endId = required(named.end, 'it ends every answer');
  const regionId = required(REGION_TOKEN, 'it stands for a region in a question');
  const size = vocabularySize(engine);
  const encode = (text: string): number[] =>
    text === '' ? [] : engine.encode(text, { add_special_tokens: false }).ids;
  const anchor = encode('\n');
  const prefixes = engine.id_to_token(encode('a')[0] ?? 0)?.startsWith('\u2581') ?? false;
  return {
    vocabSize: size,
    beginId: engine.token_to_id(named.begin) ?? null,
    endId,
    unknownId: engine.token_to_id(named.unknown) ?? null,
    regionId,
    encode,
    encodeContinuation(text) {
      if (!prefixes || text === '') return encode(text);
      const ids = encode(`\n${text}`);
      if (anchor.every((id, i) => ids[i] === id)) return ids.slice(anchor.length);
      throw new GroundError('tokenizer', `${origin} merges a line break with "${text.slice(0, 20)}"`, {
        hint: 'begin the text with something that is no line break',
      });
    },
    decode(ids, { special = false } = {}) {
      const known = ids.filter(id => engine.id_to_token(id) !== undefined);
      if (known.length === 0) return '';
      return engine.decode([...known], {
        skip_special_tokens: !special,
        clean_up_tokenization_spaces: false,
      });
    },
    idOf: token => engine.token_to_id(token),
    tokenOf: id => engine.id_to_token(id),
  };
}

function vocabularySize(engine: Engine): number {
  let largest = -1;
  for (const id of engine.get_vocab().values()) largest = Math.max(largest, id);
  return largest + 1;
}

function specialNames(config: object | null): { begin: string; end: string; unknown: string } {
  const name = (key: string, otherwise: string): string => {
    const value: unknown = config === null ? undefined : Reflect.get(config, key);
    if (typeof value === 'string') return value;
    // Older configurations store the whole AddedToken.
    const content: unknown =
      typeof value === 'object' && value !== null ? Reflect.get(value, 'content') : null;
    return typeof content === 'string' ? content : otherwise;
  };
  return {
    begin: name('bos_token', '<s>'),
    end: name('eos_token', '</s>'),
    unknown: name('unk_token', '<unk>'),
  };
}

function readJson(file: string): object {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new GroundError('tokenizer', `${file} cannot be read: ${messageOf(cause)}`, {
      hint: 'the model.yaml key "tokenizer" names a tokenizer.json',
      cause,
    });
  }
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) return parsed;
    throw new TypeError('it holds no object');
  } catch (cause) {
    throw new GroundError('tokenizer', `${file} is no JSON object: ${messageOf(cause)}`, { cause });
  }
}
