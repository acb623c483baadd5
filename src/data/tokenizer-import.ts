/** A published tokenizer made ready for grounding: the tokens it lacks are added, its special tokens are named. */
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GroundError } from '../errors.ts';
import { createTokenizer, REGION_TOKEN, readTokenizerJson, type Tokenizer } from './tokenizer.ts';
import { tokenizerCompanions } from './tokenizer-files.ts';

/** What every tokenizer here must have beside the end of a text. */
const NEEDED_TOKENS = [REGION_TOKEN] as const;

export interface ImportedTokenizer {
  readonly tokenizer: Tokenizer;
  /** Bytes of tokenizer.json: the file's own where nothing was added. */
  readonly json: Uint8Array;
  /** Files that go with it, by name; tokenizer_config.json always. */
  readonly companions: ReadonlyMap<string, Uint8Array>;
  /** Tokens that it lacked. */
  readonly added: readonly { readonly token: string; readonly id: number }[];
}

type Json = Record<string, unknown>;

/**
 * The tokenizer of a Hugging Face folder. `modelConfig` (its config.json) names the end token where the tokenizer's own
 * files do not. Throws GroundError('tokenizer') without tokenizer.json, or where no end token can be found.
 */
export async function importTokenizer(folder: string, modelConfig: object): Promise<ImportedTokenizer> {
  const file = join(folder, 'tokenizer.json');
  if (!existsSync(file)) throw missing(folder);
  const definition: Json = { ...readTokenizerJson(file) };
  const companions = await tokenizerCompanions(file);
  companions.delete('huggingface.json');
  const known = vocabularyOf(definition);
  const config = nameSpecialTokens(folder, definition, modelConfig);
  const lacking = NEEDED_TOKENS.filter(token => !known.has(token));
  let next = Math.max(-1, ...[...known.values()].map(Number)) + 1;
  const added = lacking.map(token => ({ token, id: next++ }));
  if (added.length > 0) addTokens(definition, config, added);
  const encode = (json: Json): Uint8Array => new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`);
  companions.set('tokenizer_config.json', encode(config));
  return {
    tokenizer: createTokenizer(definition, config, file, chatTemplateIn(folder)),
    json: added.length > 0 ? encode(definition) : new Uint8Array(await readFile(file)),
    companions,
    added,
  };
}

function chatTemplateIn(folder: string): string | null {
  const file = join(folder, 'chat_template.jinja');
  return existsSync(file) ? readFileSync(file, 'utf8') : null;
}

function missing(folder: string): GroundError {
  return new GroundError('tokenizer', `${folder} has no tokenizer.json`, {
    hint: existsSync(join(folder, 'tokenizer.model'))
      ? 'its tokenizer.model is converted by AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) of transformers'
      : 'download the tokenizer.json of the language model into its folder',
  });
}

/** Ids by token, added ones included. */
function vocabularyOf({ model, added_tokens: extra }: Json): Map<string, unknown> {
  const vocab = isObject(model) && isObject(model.vocab) ? Object.entries(model.vocab) : [];
  const added = list(extra).map(token => [String(token.content), token.id] as const);
  return new Map<string, unknown>([...vocab, ...added]);
}

/** tokenizer_config.json, completed from special_tokens_map.json and from the model's `eos_token_id`. */
function nameSpecialTokens(folder: string, definition: Json, modelConfig: object): Json {
  const read = (name: string): Json =>
    existsSync(join(folder, name)) ? { ...readTokenizerJson(join(folder, name)) } : {};
  const config = read('tokenizer_config.json');
  const map = read('special_tokens_map.json');
  for (const key of ['bos_token', 'eos_token', 'unk_token', 'pad_token']) {
    if (!(key in config) && key in map) config[key] = map[key];
  }
  const end: unknown = Reflect.get(modelConfig, 'eos_token_id');
  const endIds: unknown[] = Array.isArray(end) ? end : [end];
  if (!('eos_token' in config)) {
    const token = [...vocabularyOf(definition)].find(([, id]) => endIds.includes(id))?.[0];
    if (token !== undefined) config.eos_token = token;
  }
  config.tokenizer_class ??= 'PreTrainedTokenizerFast';
  return config;
}

/** Puts special tokens into both files, as `add_special_tokens` of transformers does. */
function addTokens(definition: Json, config: Json, added: ImportedTokenizer['added']): void {
  const entries = added.map(({ token, id }) => ({
    id,
    content: token,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  definition.added_tokens = [...list(definition.added_tokens), ...entries];
  if (isObject(config.added_tokens_decoder)) {
    const decoder = entries.map(({ id, ...token }) => [String(id), token] as const);
    config.added_tokens_decoder = { ...config.added_tokens_decoder, ...Object.fromEntries(decoder) };
  }
}

function list(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
