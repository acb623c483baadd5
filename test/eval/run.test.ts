import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTokenizer } from '../../src/data/tokenizer.ts';
import * as tf from '../../src/engine/tf.ts';
import { askedModel } from '../../src/eval/answer.ts';
import { type EvaluateOptions, evaluate } from '../../src/eval/run.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { characterTokenizer, memoryDataset, squaresRecord, TINY } from './tiny.ts';

const tokenizer = createTokenizer(characterTokenizer(), null, 'test');
let model: Ferret;
let options: EvaluateOptions;

beforeAll(async () => {
  await startTestEngine();
  model = new Ferret(TINY);
  model.parameters.allocate(1);
  const records = await Promise.all([0, 1, 2, 3, 4, 5].map(squaresRecord));
  options = {
    model: askedModel(model, tokenizer),
    tokenizer,
    stage: { views: 'global+local', grounding_prompt: '' },
    dataset: memoryDataset(records),
    task: 'rec',
    samples: 8,
    seed: 3,
    batch: 4,
    maxNewTokens: 6,
  };
});

afterAll(() => model.parameters.dispose());

describe('evaluate', () => {
  it('asks as many questions as it was told and scores a random model at nothing', async () => {
    const result = await evaluate(options);
    expect(result).toMatchObject({ task: 'rec', questions: 8, skipped: [] });
    expect(result.scores.rec_accuracy).toBe(0);
    expect(result.scores.rec_ceiling).toBe(1);
    // A random model is near the entropy of its vocabulary.
    expect(result.scores.rec_loss).toBeGreaterThan(Math.log(TINY.llm.vocab_size) - 1);
    expect(Math.abs(result.scores.rec_grounding_gap ?? Number.NaN)).toBeLessThan(0.5);
    expect(result.predictions[0]).toMatchObject({ task: 'rec', verdict: 'miss' });
    expect(result.predictions[0]?.prompt).toMatch(/^What is the location of the \w+ one in the image\?$/);
    expect(result.predictions[0]?.truth.answer).toMatch(/^the \w+ one \[\d+, \d+, \d+, \d+\]$/);
  });

  it('is the same every time, frees every tensor, and does not depend on the batch', async () => {
    const before = tf.memory().numTensors;
    const first = await evaluate(options);
    expect(tf.memory().numTensors).toBe(before);
    expect(await evaluate(options)).toEqual(first);
    const oneByOne = await evaluate({ ...options, batch: 1 });
    expect(oneByOne.predictions).toEqual(first.predictions);
    expect(oneByOne.scores.rec_loss).toBeCloseTo(first.scores.rec_loss ?? Number.NaN, 4);
    // With one sample a batch there is no other image to exchange with.
    expect(oneByOne.scores).not.toHaveProperty('rec_grounding_gap');
  });

  it('asks other questions for another seed', async () => {
    const ids = async (seed: number) =>
      (await evaluate({ ...options, seed })).predictions.map(prediction => prediction.id);
    expect(await ids(4)).not.toEqual(await ids(5));
  });

  it('asks about each object in three ways for ROC', async () => {
    const { scores, predictions } = await evaluate({ ...options, task: 'roc', samples: 9 });
    expect(predictions).toHaveLength(9);
    for (const kind of ['point', 'box', 'free_form']) expect(scores).toHaveProperty(`roc_accuracy_${kind}`);
    expect(predictions.filter(p => p.prompt.includes('<region_fea>'))).toHaveLength(9);
    expect(scores.roc_loss).toBeGreaterThan(0);
  });

  it('scores a stage that only knows the global view', async () => {
    const { scores } = await evaluate({
      ...options,
      task: 'caption',
      samples: 6,
      stage: { views: 'global', grounding_prompt: '' },
    });
    expect(scores.caption_loss).toBeGreaterThan(0);
    expect(scores).toHaveProperty('caption_grounding_gap');
  });

  it('measures grounding as the difference of two losses', async () => {
    const { scores } = await evaluate(options);
    expect(scores.rec_grounding_gap).toBeCloseTo((scores.rec_shuffled_loss ?? 0) - (scores.rec_loss ?? 0), 4);
    expect(scores.rec_grounding_gap).not.toBe(0);
  });

  it('scores text alone without images', async () => {
    const { scores } = await evaluate({ ...options, task: 'scene-text', samples: 4 });
    expect(scores.scene_text_loss).toBeGreaterThan(0);
    expect(scores).not.toHaveProperty('scene_text_grounding_gap');
  });

  it('answers unscored tasks for the first batch only where asked to', async () => {
    const asked = { ...options, task: 'caption', samples: 6 } as const;
    const { predictions, scores } = await evaluate({ ...asked, answers: 'scored' });
    expect(predictions.filter(p => p.answer !== null)).toHaveLength(4);
    expect(scores).not.toHaveProperty('caption_cider');
    expect((await evaluate(asked)).scores).toHaveProperty('caption_cider');
  });

  it('goes on past a damaged image, and says which', async () => {
    const records = await Promise.all([0, 1, 2].map(squaresRecord));
    const broken = { ...(await squaresRecord(3)), image: new Uint8Array([1, 2, 3]) };
    const dataset = memoryDataset([...records, broken]);
    const result = await evaluate({ ...options, task: 'caption', dataset });
    expect(result.questions).toBe(3);
    expect(result.skipped).toEqual([
      { id: 'memory:3#caption.0', reason: expect.stringMatching(/squares-3 cannot be decoded/) },
    ]);
  });

  it('says so when there is nothing to ask', async () => {
    const bare = { ...(await squaresRecord(0)), objects: [] };
    await expect(evaluate({ ...options, dataset: memoryDataset([bare]) })).rejects.toThrow(
      /memory \(1 records\) yields no rec question/,
    );
  });
});
