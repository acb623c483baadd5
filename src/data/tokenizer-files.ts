/** What lies beside a tokenizer.json and belongs to it: names of special tokens, the chat template, where it came from. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode, ioError } from '../atomic.ts';

/** Names of the files that go wherever a tokenizer.json goes. `huggingface.json` is written by `ground import hf`. */
export const TOKENIZER_COMPANIONS = [
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'generation_config.json',
  'huggingface.json',
] as const;

/** The companions that a tokenizer.json has, by name. Throws GroundError('io') on one that cannot be read. */
export async function tokenizerCompanions(tokenizer: string): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  for (const name of TOKENIZER_COMPANIONS) {
    const path = join(dirname(tokenizer), name);
    try {
      found.set(name, new Uint8Array(await readFile(path)));
    } catch (thrown) {
      if (errorCode(thrown) !== 'ENOENT') throw ioError(thrown, 'read', path);
    }
  }
  return found;
}
