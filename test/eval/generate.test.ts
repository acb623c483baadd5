import { describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { type DecodeStep, type GeneratingModel, generate } from '../../src/eval/generate.ts';

const STOP = 0;

/** Says after each token the one that `next` lists for it; its cache holds the tokens read so far. */
class Parrot implements GeneratingModel<tf.Tensor1D> {
  readonly next: readonly number[];
  readonly prompts: readonly number[];
  readonly failAfter: number;
  decoded: number[][] = [];

  constructor(next: readonly number[], prompts: readonly number[], failAfter = Number.POSITIVE_INFINITY) {
    this.next = next;
    this.prompts = prompts;
    this.failAfter = failAfter;
  }

  prefill(): DecodeStep<tf.Tensor1D> {
    return this.#step(tf.tensor1d([...this.prompts], 'int32'));
  }

  decode(tokens: tf.Tensor1D, cache: tf.Tensor1D): DecodeStep<tf.Tensor1D> {
    if (this.decoded.length >= this.failAfter) throw new Error('the model broke');
    this.decoded.push([...tokens.dataSync()]);
    cache.dispose();
    return this.#step(tokens.clone());
  }

  release(cache: tf.Tensor1D): void {
    cache.dispose();
  }

  #step(cache: tf.Tensor1D): DecodeStep<tf.Tensor1D> {
    const said = [...cache.dataSync()].map(token => this.next[token] ?? STOP);
    const logits = tf.tidy(
      () => tf.oneHot(tf.tensor1d(said, 'int32'), this.next.length, 3, -1) as tf.Tensor2D,
    );
    return { logits, cache };
  }
}

const stop = new Set([STOP]);

describe('greedy generation', () => {
  it('follows each row to its own end', async () => {
    // 4 -> 3 -> 2 -> stop; 1 -> stop; 5 -> 5 -> … for ever.
    const model = new Parrot([0, 0, 0, 2, 3, 5], [4, 1, 5]);
    const before = tf.memory().numTensors;
    expect(await generate(model, { stop, maxNewTokens: 4 })).toEqual([
      { tokens: [3, 2], stopped: true },
      { tokens: [], stopped: true },
      { tokens: [5, 5, 5, 5], stopped: false },
    ]);
    expect(tf.memory().numTensors).toBe(before);
    expect(model.decoded).toHaveLength(3);
  });

  it('stops decoding once every row has ended', async () => {
    const model = new Parrot([0, 0, 0, 2], [3, 1]);
    expect(await generate(model, { stop, maxNewTokens: 100 })).toEqual([
      { tokens: [2], stopped: true },
      { tokens: [], stopped: true },
    ]);
    expect(model.decoded).toEqual([[2, 0]]);
  });

  it('takes any of several stop tokens', async () => {
    const model = new Parrot([0, 0, 0, 2, 3], [4]);
    expect(await generate(model, { stop: new Set([0, 2]), maxNewTokens: 9 })).toEqual([
      { tokens: [3], stopped: true },
    ]);
  });

  it('gives empty answers when none may be said', async () => {
    const model = new Parrot([0, 0], [1]);
    const before = tf.memory().numTensors;
    expect(await generate(model, { stop, maxNewTokens: 0 })).toEqual([{ tokens: [], stopped: false }]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('frees its tensors when the model fails midway', async () => {
    const model = new Parrot([0, 1], [1], 2);
    const before = tf.memory().numTensors;
    await expect(generate(model, { stop, maxNewTokens: 9 })).rejects.toThrow('the model broke');
    expect(tf.memory().numTensors).toBe(before);
  });

  it('ends a row where its tokens say so', async () => {
    const model = new Parrot([0, 0, 1, 2, 3], [4, 2]);
    const isComplete = (tokens: readonly number[]): boolean => tokens.at(-1) === 2;
    expect(await generate(model, { stop, maxNewTokens: 9, isComplete })).toEqual([
      { tokens: [3, 2], stopped: true },
      { tokens: [1], stopped: true },
    ]);
  });
});

/** Says each of six tokens with equal probability, whatever came before. */
function dice(rows: number): GeneratingModel<null> {
  const step = (): DecodeStep<null> => ({ logits: tf.zeros([rows, 6]), cache: null });
  return { prefill: step, decode: step, release: () => {} };
}

describe('sampled generation', () => {
  const sampling = { temperature: 1, topK: 0, topP: 1, seed: 7 };
  const never = new Set<number>();
  const roll = async (rows: number, options: { seed?: number; names?: string[] } = {}): Promise<string[]> => {
    const { seed = 7, names } = options;
    const answers = await generate(dice(rows), {
      stop: never,
      maxNewTokens: 40,
      sampling: { ...sampling, seed },
      ...(names && { names }),
    });
    return answers.map(answer => answer.tokens.join(''));
  };

  it('says the same with the same seed and something else with another', async () => {
    const first = await roll(3);
    expect(await roll(3)).toEqual(first);
    expect(new Set(first).size).toBe(3);
    expect(await roll(3, { seed: 8 })).not.toEqual(first);
  });

  it('says the same for a sample whatever else is in the batch', async () => {
    const together = await roll(3, { names: ['a', 'b', 'c'] });
    expect(await roll(1, { names: ['b'] })).toEqual([together[1]]);
    expect(await roll(2, { names: ['c', 'a'] })).toEqual([together[2], together[0]]);
  });

  it('asks for room for as many tokens as may be said', async () => {
    const rooms: number[] = [];
    const model: GeneratingModel<null> = {
      ...dice(1),
      prefill: room => {
        rooms.push(room);
        return { logits: tf.zeros([1, 6]), cache: null };
      },
    };
    await generate(model, { stop: never, maxNewTokens: 5 });
    expect(rooms).toEqual([5]);
  });
});
