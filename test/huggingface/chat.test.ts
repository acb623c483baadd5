import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { PixelBox } from '../../src/data/box.ts';
import {
  boxPiece,
  type Conversation,
  promptOf,
  regionPiece,
  textPiece,
} from '../../src/data/conversation.ts';
import { renderConversation } from '../../src/data/render.ts';
import { createTokenizer, readTokenizerJson, type Tokenizer } from '../../src/data/tokenizer.ts';
import { importTokenizer } from '../../src/data/tokenizer-import.ts';
import { stopTokens } from '../../src/eval/answer.ts';
import { FIXTURES } from './import.ts';

const SIZE = { width: 100, height: 100 };
const BOX: PixelBox = { space: 'pixels', x1: 10, y1: 20, x2: 30, y2: 40 };
const load = async (name: string) => (await importTokenizer(join(FIXTURES, name), {})).tokenizer;

/** A question with a region and a follow-up whose answer has a box. */
const conversation: Conversation = {
  task: 'reg',
  image: true,
  rounds: [
    {
      question: [textPiece('What is '), regionPiece({ kind: 'box', box: BOX }), textPiece('?')],
      answer: [textPiece('A red circle.')],
      truth: {},
    },
    { question: [textPiece('Where is it?')], answer: [textPiece('At '), boxPiece(BOX)], truth: {} },
  ],
};

const render = (tokenizer: Tokenizer, options: { system?: string; prompt?: boolean } = {}) =>
  renderConversation(conversation, SIZE, {
    tokenizer,
    template: 'chat',
    system: options.system ?? '',
    bins: 1000,
    prompt: options.prompt ?? false,
  });

describe.each([
  ['llama', ' A red circle.</s>', ' At [100, 200, 300, 400]</s>', '</s>'],
  ['tokenizer-llama-first', ' A red circle.</s>', ' At [100, 200, 300, 400]</s>', '</s>'],
  ['qwen2', 'A red circle.<|im_end|>', 'At [100, 200, 300, 400]<|im_end|>', '<|im_end|>'],
  [
    'tokenizer-chatml-generation',
    'A red circle.<|im_end|>',
    'At [100, 200, 300, 400]<|im_end|>',
    '<|im_end|>',
  ],
])('%s', (name, first, second, end) => {
  test('answers, regions and the image are where they belong', async () => {
    const tokenizer = await load(name);
    const { tokens, imageAt, regionsAt, answers } = render(tokenizer, { system: 'Be brief.' });
    const bytes = (from: number, to: number): string =>
      Buffer.concat(tokens.slice(from, to).map(id => tokenizer.bytesOf(id))).toString();
    expect(answers.map(([from, to]) => bytes(from, to))).toEqual([first, second]);
    expect(regionsAt).toHaveLength(1);
    expect(tokens[regionsAt[0] ?? -1]).toBe(tokenizer.regionId);
    const asked = bytes(imageAt ?? -1, answers[0]?.[0] ?? 0);
    expect(asked).toMatch(/^\n ?What is \[100, 200, 300, 400\] <region_fea> ?\?/);
    expect(bytes(0, imageAt ?? 0)).toMatch(/Be brief\..*$/s);
  });

  test('a prompt ends where the last answer begins', async () => {
    const tokenizer = await load(name);
    const whole = render(tokenizer);
    const prompt = render(tokenizer, { prompt: true });
    expect(prompt.answers).toEqual([]);
    expect(prompt.tokens).toEqual(whole.tokens.slice(0, whole.answers[1]?.[0]));
    expect(prompt.imageAt).toBe(whole.imageAt);
  });

  test('a turn ends with the token that the template puts there', async () => {
    const tokenizer = await load(name);
    expect(tokenizer.chat?.endToken).toBe(end);
    expect([...stopTokens(tokenizer, 'chat')]).toContain(tokenizer.idOf(end));
  });

  test('special tokens in words are refused', async () => {
    const tokenizer = await load(name);
    const asked = promptOf('reg', [textPiece(`What is <region_fea> ${end}?`)]);
    expect(() =>
      renderConversation(asked, SIZE, { tokenizer, template: 'chat', system: '', bins: 1000 }),
    ).toThrow(/text holds the special token/);
  });
});

describe('templates that cannot serve', () => {
  const definition = readTokenizerJson(join(FIXTURES, 'tokenizer-chatml-generation', 'tokenizer.json'));
  const added = [
    ...(Reflect.get(definition, 'added_tokens') as object[]),
    { id: 500, content: '<region_fea>', special: true },
  ];
  const using = (template: string | null) =>
    createTokenizer(
      { ...definition, added_tokens: added },
      { eos_token: '<|im_end|>' },
      'small.json',
      template,
    );

  test('none', () => {
    expect(() => render(using(null))).toThrow(/no chat template/);
  });

  test('one that is broken, or refuses', () => {
    const broken = using('{% for %}');
    expect(broken.encode('a')).toHaveLength(1);
    expect(() => render(broken)).toThrow(/chat template of small\.json cannot be rendered/);
    expect(() => render(using("{{ raise_exception('no system here') }}"))).toThrow(/no system here/);
  });

  test('one that drops the question', () => {
    const template =
      "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}{% endif %}{% endfor %}";
    expect(() => render(using(template))).toThrow(/kept 0 of 1 regions and no image/);
  });

  test('one that writes earlier turns differently', () => {
    const template = '{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}';
    expect(() => render(using(template))).toThrow(/writes a turn differently once another follows/);
  });
});
