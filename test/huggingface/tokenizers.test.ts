import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { tokenSpans } from '../../src/data/token-spans.ts';
import { importTokenizer } from '../../src/data/tokenizer-import.ts';

const FIXTURES = 'test/fixtures/huggingface';

interface Expected {
  readonly texts: readonly { readonly text: string; readonly ids: number[]; readonly decoded: string }[];
  readonly chats: readonly {
    readonly messages: readonly {
      readonly role: 'system' | 'user' | 'assistant';
      readonly content: string;
    }[];
    readonly text: string;
    readonly ids: number[];
    readonly mask: number[];
    readonly prompt: number[];
  }[];
}

async function fixture(name: string) {
  const folder = join(FIXTURES, name);
  const expected: Expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8'));
  return { ...(await importTokenizer(folder, {})), expected };
}

/** Where a span covers a token: 1, else 0. */
function maskOf(length: number, spans: readonly (readonly [number, number])[]): number[] {
  return Array.from({ length }, (_, i) => Number(spans.some(([start, end]) => i >= start && i < end)));
}

describe.each(['llama', 'tokenizer-llama-first', 'qwen2', 'tokenizer-chatml-generation'])('%s', name => {
  test('gives every text the ids of the reference, and text of ids', async () => {
    const { tokenizer, expected } = await fixture(name);
    for (const { text, ids, decoded } of expected.texts) {
      expect.soft(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
      expect.soft(tokenizer.decode(ids, { special: true }), JSON.stringify(text)).toBe(decoded);
    }
  });

  test('writes chats as the reference does, and finds the answers in them', async () => {
    const { tokenizer, expected } = await fixture(name);
    for (const { messages, text, ids, mask, prompt } of expected.chats) {
      const written = tokenizer.chat!.write(messages);
      expect.soft(written.text).toBe(text);
      expect.soft(tokenizer.encode(written.text), text).toEqual(ids);
      expect.soft(maskOf(ids.length, tokenSpans(text, ids, written.answers, tokenizer)), text).toEqual(mask);
      expect.soft(tokenizer.encode(tokenizer.chat!.prompt(messages.slice(0, -1)))).toEqual(prompt);
    }
  });
});
