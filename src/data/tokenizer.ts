/**
 * Text to token ids and back, over the tokenizer.json of Hugging Face's libraries. Special tokens are never added
 * behind the caller's back: who wants `<s>` puts its id there.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Tokenizer as Engine } from '@huggingface/tokenizers';
import { GroundError, messageOf } from '../errors.ts';
import { type ChatTemplate, compileChatTemplate } from './chat-template.ts';
import { pieceBytes } from './token-bytes.ts';

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
  /** Contents of the special tokens: no text may hold one. */
  readonly specialTokens: readonly string[];
  /** UTF-8 bytes of the text that a token stands for, and no others; a blank that is put before texts counts. */
  bytesOf(id: number): Uint8Array;
  /** How its authors write conversations, or null where they do not say. */
  readonly chat: ChatTemplate | null;
}

/**
 * Reads tokenizer.json and, where they lie beside it, tokenizer_config.json (names of the special tokens: `<s>`, `</s>`
 * and `<unk>` without it; a chat template) and chat_template.jinja, which goes first. Throws `tokenizer` on a file that
 * cannot be read or lacks a needed token.
 */
export function loadTokenizer(file: string): Tokenizer {
  const definition = readTokenizerJson(file);
  const beside = (name: string): string => join(dirname(file), name);
  const config = beside('tokenizer_config.json');
  const template = beside('chat_template.jinja');
  return createTokenizer(
    definition,
    existsSync(config) ? readTokenizerJson(config) : null,
    file,
    existsSync(template) ? readFileSync(template, 'utf8') : null,
  );
}

/** The same from parsed JSON; `origin` names it in errors, `template` is the text of a chat_template.jinja. */
export function createTokenizer(
  definition: object,
  config: object | null,
  origin: string,
  template: string | null = null,
): Tokenizer {
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
  const required = (token: string, why: string, hint: string): number => {
    const id = engine.token_to_id(token);
    if (id !== undefined) return id;
    throw new GroundError('tokenizer', `${origin} has no token ${token} (${why})`, { hint });
  };
  const endId = required(
    named.end,
    'it ends every answer',
    'name the token that ends a text as eos_token in a tokenizer_config.json beside it',
  );
  const regionId = required(
    REGION_TOKEN,
    'it stands for a region in a question',
    '`ground import hf` adds it; by hand: one entry more in added_tokens, and one row more in the embedding table',
  );
  const present = (token: string): string | null => (engine.token_to_id(token) === undefined ? null : token);
  const added = [...engine.get_added_tokens_decoder().values()];
  const specialTokens = added.filter(token => token.special).map(token => token.content);
  const plain = new Set(added.map(token => token.content));
  const toBytes = pieceBytes(definition);
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
    specialTokens,
    bytesOf(id) {
      const token = engine.id_to_token(id) ?? '';
      return plain.has(token) ? new TextEncoder().encode(token) : toBytes(token);
    },
    chat: compileChatTemplate(
      template ?? templateIn(config),
      { begin: present(named.begin), end: named.end, unknown: present(named.unknown) },
      specialTokens,
      origin,
    ),
  };
}

/** `chat_template` of a tokenizer_config.json: a text, or a list of named ones. */
function templateIn(config: object | null): string | null {
  const value: unknown = config === null ? undefined : Reflect.get(config, 'chat_template');
  if (typeof value === 'string') return value;
  const named: unknown = Array.isArray(value) ? value.find(entry => entry?.name === 'default') : undefined;
  const text: unknown = typeof named === 'object' && named !== null ? Reflect.get(named, 'template') : null;
  return typeof text === 'string' ? text : null;
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

/** A JSON object from one of a tokenizer's files. Throws GroundError('tokenizer') naming it. */
export function readTokenizerJson(file: string): object {
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
