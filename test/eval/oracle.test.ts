import { beforeAll, describe, expect, it } from 'vitest';
import type { ImageRecord } from '../../src/data/record.ts';
import { createTokenizer } from '../../src/data/tokenizer.ts';
import * as tf from '../../src/engine/tf.ts';
import { askedModel } from '../../src/eval/answer.ts';
import { type EvaluateOptions, evaluate } from '../../src/eval/run.ts';
import type { DecodeCache, DecodeStep } from '../../src/models/decoding.ts';
import { Ferret } from '../../src/models/ferret.ts';
import type { ConversationTensors } from '../../src/models/tensors.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { characterTokenizer, memoryDataset, squaresRecord, TINY } from './tiny.ts';

const tokenizer = createTokenizer(characterTokenizer(), null, 'test');

/** A model that knows what to say to each question, whatever the image. */
class Oracle extends Ferret {
  readonly #answerTo: (question: string) => string;
  #answers: number[][] = [];

  constructor(answerTo: (question: string) => string) {
    super(TINY);
    this.#answerTo = answerTo;
  }

  override prefill(batch: ConversationTensors): DecodeStep {
    const tokens = [...batch.tokens.dataSync()];
    this.#answers = batch.lengths.map((length, b) => {
      const own = tokens.slice(b * batch.length, b * batch.length + length);
      // Visual tokens have id 0; what is left is the text.
      const text = tokenizer.decode(own.filter(id => id !== 0));
      const answer = this.#answerTo(/USER: \n(.*) ASSISTANT:$/s.exec(text)?.[1] ?? '');
      return [...tokenizer.encode(` ${answer}`), tokenizer.endId];
    });
    return this.#say({
      past: [],
      lengths: batch.lengths,
      padded: batch.length,
      padding: 'right',
      decoded: 0,
      fixed: null,
    });
  }

  override decode(_: tf.Tensor1D, cache: DecodeCache): DecodeStep {
    return this.#say({ ...cache, decoded: cache.decoded + 1 });
  }

  #say(cache: DecodeCache): DecodeStep {
    const next = this.#answers.map(answer => answer[cache.decoded] ?? tokenizer.endId);
    const logits = tf.tidy(() => tf.oneHot(tf.tensor1d(next, 'int32'), TINY.llm.vocab_size) as tf.Tensor2D);
    return { logits: tf.cast(logits, 'float32'), cache };
  }
}

let records: ImageRecord[];

beforeAll(async () => {
  await startTestEngine();
  // Phrases that occur once in the whole dataset, so that a question tells its answer.
  records = await Promise.all(
    [0, 1, 2, 3, 4].map(async number => {
      const record = await squaresRecord(number);
      const objects = record.objects.map(object => ({ ...object, phrase: `${object.phrase} of ${number}` }));
      return { ...record, objects };
    }),
  );
});

async function scoresWith(
  task: EvaluateOptions['task'],
  answerTo: (question: string) => string,
): Promise<Readonly<Record<string, number>>> {
  const model = new Oracle(answerTo);
  model.parameters.allocate(0);
  const result = await evaluate({
    model: askedModel(model, tokenizer),
    tokenizer,
    stage: { views: 'global+local', grounding_prompt: '' },
    dataset: memoryDataset(records),
    task,
    samples: 12,
    seed: 0,
    batch: 5,
  });
  model.parameters.dispose();
  expect(result.questions).toBe(12);
  return result.scores;
}

/** The box of the object that a question names, in bins. */
function boxAskedFor(question: string): string {
  const object = records.flatMap(r => r.objects).find(o => question.includes(`${o.phrase} `));
  if (!object) throw new Error(`no object in "${question}"`);
  const { x1, y1, x2, y2 } = object.box;
  const bins = [x1, y1, x2, y2].map(v => Math.trunc((v * TINY.coordinates.bins) / 32));
  return `[${bins.join(', ')}]`;
}

describe('evaluate, with a model that knows the answers', () => {
  it('finds every box, in batches of any order', async () => {
    const scores = await scoresWith('rec', question => `It is here: ${boxAskedFor(question)}.`);
    expect(scores).toMatchObject({ rec_accuracy: 1, rec_any_accuracy: 1, rec_ceiling: 1 });
    // Truncated to bins and back, every box of 10 by 10 pixels comes out one pixel up and left: 81 of 119 overlap.
    expect(scores.rec_mean_iou).toBeCloseTo(81 / 119, 6);
  });

  it('counts the first box only', async () => {
    const scores = await scoresWith('rec', question => `[0, 0, 1, 1] ${boxAskedFor(question)}`);
    expect(scores).toMatchObject({ rec_accuracy: 0, rec_any_accuracy: 1 });
  });

  it('counts an answer whose first box is malformed as a miss', async () => {
    const scores = await scoresWith('rec', question => `[0, 0, 1] ${boxAskedFor(question)}`);
    expect(scores).toMatchObject({ rec_accuracy: 0, rec_mean_iou: 0, rec_any_accuracy: 1 });
  });

  it('gives nothing for naming both options, and about a half for always the first', async () => {
    const options = /a (\w+) or a (\w+)\?$/;
    const both = await scoresWith('roc', question => options.exec(question)?.[0] ?? '');
    expect(both.roc_accuracy).toBe(0);
    const first = await scoresWith('roc', question => options.exec(question)?.[1] ?? '');
    expect(first.roc_accuracy).toBeGreaterThan(0);
    expect(first.roc_accuracy).toBeLessThan(1);
  });
});
