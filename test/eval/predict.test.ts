import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Region } from '../../src/data/conversation.ts';
import { rleFromRuns } from '../../src/data/rle.ts';
import { createTokenizer } from '../../src/data/tokenizer.ts';
import * as tf from '../../src/engine/tf.ts';
import { type PredictOptions, predict, questionPieces } from '../../src/eval/predict.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { recipeIn } from './checkpoint.ts';
import { characterTokenizer, pixelBox, squaresRecord, TINY } from './tiny.ts';

const box: Region = { kind: 'box', box: pixelBox(4, 8, 16, 24) };
const point: Region = { kind: 'point', point: { x: 10, y: 20 } };
let options: PredictOptions;
let model: Ferret;

beforeAll(async () => {
  await startTestEngine();
  model = new Ferret(TINY);
  model.parameters.allocate(2);
  const tokenizer = createTokenizer(characterTokenizer(), null, 'test');
  options = {
    inference: { model, tokenizer, recipe: recipeIn('unused') },
    image: await squaresRecord(0),
    prompt: 'What is this?',
    regions: [],
    ground: false,
    maxNewTokens: 8,
  };
});

afterAll(() => model.parameters.dispose());

describe('predict', () => {
  it('answers the same every time and frees its tensors', async () => {
    const before = tf.memory().numTensors;
    const first = await predict(options);
    expect(tf.memory().numTensors).toBe(before);
    expect(first).toMatchObject({ prompt: 'What is this?', boxes: [] });
    expect(await predict(options)).toEqual(first);
  });

  it('writes regions as bins of the image, at the end where the prompt has no place for them', async () => {
    // 32 pixels in 100 bins.
    const { prompt } = await predict({ ...options, regions: [box] });
    expect(prompt).toBe('What is this? [12, 25, 50, 75] <region_fea>');
    const both = await predict({
      ...options,
      prompt: 'Is <region> left of <region>?',
      regions: [point, box],
    });
    expect(both.prompt).toBe('Is [31, 62] <region_fea> left of [12, 25, 50, 75] <region_fea>?');
  });

  it('appends the stage’s grounding prompt where asked to', async () => {
    expect((await predict({ ...options, ground: true })).prompt).toBe('What is this? With boxes.');
    const recipe = recipeIn('unused');
    const plain = { ...recipe, stage: { ...recipe.stage, grounding_prompt: '' } };
    const inference = { ...options.inference, recipe: plain };
    await expect(predict({ ...options, inference, ground: true })).rejects.toThrow(/no grounding prompt/);
  });

  it.each([
    [{ kind: 'box', box: pixelBox(-1, 0, 5, 5) }, /reaches outside the image of 32x32/],
    [{ kind: 'box', box: pixelBox(0, 0, 33, 5) }, /reaches outside/],
    [{ kind: 'box', box: pixelBox(5, 5, 5, 9) }, /is empty/],
    [{ kind: 'box', box: pixelBox(9, 5, 5, 9) }, /is empty/],
    [{ kind: 'point', point: { x: 32, y: 0 } }, /lies outside/],
    [
      { kind: 'free-form', mask: rleFromRuns([0, 256], [16, 16]) },
      /mask of 16x16 pixels does not fit the image of 32x32/,
    ],
    [{ kind: 'free-form', mask: rleFromRuns([1024], [32, 32]) }, /the mask is empty/],
  ] as const)('refuses %j', async (region, message) => {
    await expect(predict({ ...options, regions: [region] })).rejects.toThrow(message);
  });

  it('refuses a prompt that is too long, rather than cutting it', async () => {
    await expect(predict({ ...options, prompt: 'a'.repeat(500) })).rejects.toThrow(/exceed max_length 400/);
  });
});

describe('questionPieces', () => {
  it('puts regions into their slots', () => {
    expect(questionPieces('<region>?', [box])).toEqual([
      { kind: 'region', region: box },
      { kind: 'text', text: '?' },
    ]);
  });

  it.each([
    ['  ', [], /prompt is empty/],
    ['What is <region>?', [], /has 1 <region>, but 0 regions/],
    ['What is this?', [box, point], /has 0 <region>, but 2 regions/],
    ['<region> <region>', [box], /has 2 <region>, but 1 regions/],
  ] as const)('refuses %j with regions %j', (prompt, regions, message) => {
    expect(() => questionPieces(prompt, regions)).toThrow(message);
  });
});

describe('sampled answers', () => {
  const sampling = { temperature: 2, topK: 0, topP: 1, seed: 1 };

  it('are the same with the same seed, and differ between seeds', async () => {
    const answers: string[] = [];
    for (const seed of [1, 2, 3, 1]) {
      answers.push((await predict({ ...options, sampling: { ...sampling, seed } })).answer);
    }
    expect(answers[3]).toBe(answers[0]);
    expect(new Set(answers).size).toBeGreaterThan(1);
  });

  it('are the greedy answer where only the most probable token may be drawn', async () => {
    const greedy = await predict(options);
    expect(await predict({ ...options, sampling: { ...sampling, topK: 1 } })).toEqual(greedy);
  });

  it('refuse what draws nothing', async () => {
    await expect(predict({ ...options, sampling: { ...sampling, temperature: 0 } })).rejects.toThrow(
      /temperature cannot be 0/,
    );
  });
});

describe('stop strings', () => {
  it('end the answer before the first of them', async () => {
    const { answer: whole } = await predict({ ...options, maxNewTokens: 20 });
    const middle = whole[Math.floor(whole.length / 2)] ?? '';
    expect(middle).not.toBe('');
    const cut = await predict({ ...options, maxNewTokens: 20, stopStrings: ['never said', middle] });
    expect(cut.answer).toBe(whole.slice(0, whole.indexOf(middle)).trim());
    expect(cut.finished).toBe(true);
  });
});
