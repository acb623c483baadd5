import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collate } from '../../src/data/collate.ts';
import { promptOf, regionPiece, textPiece } from '../../src/data/conversation.ts';
import { prepareSample, type Sample, type SampleContext } from '../../src/data/sample.ts';
import { createTokenizer } from '../../src/data/tokenizer.ts';
import * as tf from '../../src/engine/tf.ts';
import { answerPrompts, lossOf, stopTokens } from '../../src/eval/answer.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { disposeTensors, toTensors } from '../../src/models/tensors.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { characterTokenizer, pixelBox, squaresRecord, TINY } from './tiny.ts';

const tokenizer = createTokenizer(characterTokenizer(), null, 'test');
const context: SampleContext = { model: TINY, tokenizer, views: 'global+local', seed: 0 };
let model: Ferret;

beforeAll(async () => {
  await startTestEngine();
  model = new Ferret(TINY);
  model.parameters.allocate(7);
});

afterAll(() => model.parameters.dispose());

/** A prompt of the given text, with a box behind it where asked for. */
async function promptSample(number: number, text: string, boxed = false): Promise<Sample> {
  const region = regionPiece({ kind: 'box', box: pixelBox(2, 2, 20, 20) });
  const question = [textPiece(text), ...(boxed ? [region] : [])];
  return await prepareSample(await squaresRecord(number), promptOf('rec', question), context, {
    prompt: true,
  });
}

/** The likeliest next token of a prompt and some more tokens, by a whole forward pass without any cache. */
function nextToken(prompt: Sample, more: readonly number[]): number {
  const longer = {
    ...prompt,
    rendered: { ...prompt.rendered, tokens: [...prompt.rendered.tokens, ...more] },
  };
  const batch = toTensors(collate([longer], TINY, { buckets: false }));
  const token = tf.tidy(() => {
    const logits = model.logits(batch, model.visual(batch));
    const last = tf.slice(logits, [0, batch.length - 1, 0], [1, 1, TINY.llm.vocab_size]);
    return tf.argMax(tf.reshape(last, [-1])).dataSync()[0] ?? -1;
  });
  disposeTensors(batch);
  return token;
}

function greedyWithoutCache(prompt: Sample, limit: number): string {
  const tokens: number[] = [];
  while (tokens.length < limit) {
    const token = nextToken(prompt, tokens);
    if (token === tokenizer.endId) break;
    tokens.push(token);
  }
  return tokenizer.decode(tokens).trim();
}

describe('answerPrompts', () => {
  it('says with the cache what a whole pass each token says, for prompts of different lengths', async () => {
    const prompts = [
      await promptSample(0, 'Where?'),
      await promptSample(1, 'What is the location of the red one in the image?'),
      await promptSample(2, 'What is ', true),
    ];
    const before = tf.memory().numTensors;
    const answers = await answerPrompts(model, tokenizer, prompts, { maxNewTokens: 10 });
    expect(tf.memory().numTensors).toBe(before);
    expect(answers.map(answer => answer.text)).toEqual(prompts.map(prompt => greedyWithoutCache(prompt, 10)));
    expect(answers.some(answer => answer.text.length > 3)).toBe(true);
  });

  it('leaves room in max_length', async () => {
    const prompt = await promptSample(0, 'a'.repeat(250));
    const batch = collate([prompt], TINY, { buckets: false });
    const answers = await answerPrompts(model, tokenizer, [prompt], { maxNewTokens: 1000 });
    expect(batch.length + (answers[0]?.tokens ?? 0)).toBeLessThanOrEqual(TINY.max_length);
  });
});

describe('lossOf', () => {
  it('is the sum over the answer’s tokens, whatever else is in the batch', async () => {
    const round = { question: [textPiece('Where?')], answer: [textPiece('There.')], truth: {} };
    const conversation = { task: 'rec' as const, image: true, rounds: [round] };
    const [first, second] = await Promise.all(
      [0, 1].map(async i => prepareSample(await squaresRecord(i), conversation, context)),
    );
    const before = tf.memory().numTensors;
    const alone = await lossOf(model, [first!]);
    const other = await lossOf(model, [second!]);
    const both = await lossOf(model, [first!, second!]);
    expect(tf.memory().numTensors).toBe(before);
    // Blank, six characters and the end token.
    expect(alone.weight).toBe(8);
    expect(both.weight).toBe(16);
    expect(both.loss).toBeCloseTo(alone.loss + other.loss, 3);
  });
});

it('stopTokens adds the line break under the plain template', () => {
  expect(stopTokens(tokenizer, 'vicuna_v1')).toEqual(new Set([tokenizer.endId]));
  expect(stopTokens(tokenizer, 'plain')).toEqual(new Set([tokenizer.endId, tokenizer.idOf('\n')]));
});
