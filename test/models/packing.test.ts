import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { collate, collatePacked } from '../../src/data/collate.ts';
import { prepareSample, type Sample } from '../../src/data/sample.ts';
import { taskContext } from '../../src/data/tasks/context.ts';
import { type ConversationTask, conversationOf } from '../../src/data/tasks/index.ts';
import { CompiledFunctions } from '../../src/engine/compile.ts';
import { startEngine } from '../../src/engine/engine.ts';
import { tensorCount } from '../../src/engine/memory.ts';
import * as tf from '../../src/engine/tf.ts';
import type { ConversationBatch } from '../../src/models/batch.ts';
import type { LlamaConfig, ModelConfig } from '../../src/models/config.ts';
import { Ferret } from '../../src/models/ferret.ts';
import { disposeTensors, listTensors, toTensors } from '../../src/models/tensors.ts';
import { segmentBias } from '../../src/nn/attention.ts';
import { Random } from '../../src/random.ts';
import { model as base, randomRecord, tokenizer } from '../data/loader-records.ts';

const llama: LlamaConfig = {
  ...base.llm,
  hidden_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  head_dim: 4,
  rope_theta: 100,
};
const MODELS: Readonly<Record<string, ModelConfig>> = {
  'grouped queries': {
    ...base,
    layout: { order: 'local-global' },
    projector: { kind: 'mlp2x_gelu', positions: 'sincos2d' },
    llm: { ...llama, num_key_value_heads: 2 },
  },
  // Biases of the projections, untied embeddings; regions read from projected maps. Their means: where two maxima are
  // all but equal, rounding decides which of them learns.
  'a Qwen2': {
    ...base,
    sampler: { ...base.sampler, pooling: 'mean' },
    referring: { ...base.referring, features: 'projected' },
    llm: { ...llama, num_key_value_heads: 1, attention_bias: true, tie_word_embeddings: false },
  },
};

/** Without images, with one, with one and regions. */
const TASKS: readonly ConversationTask[] = ['scene-text', 'caption', 'dense-referring', 'reg', 'count'];
const RECORDS = 6;

async function samplesFor(config: ModelConfig): Promise<Sample[]> {
  const made = TASKS.flatMap(task =>
    Array.from({ length: RECORDS }, async (_, i) => {
      const record = await randomRecord(i, 1 + (i % 3));
      const conversation = conversationOf(record, task, taskContext({ labels: ['moon'], rounds: 2 }));
      if (!conversation) throw new Error(`${task} has nothing to say about record ${i}`);
      const context = { model: config, tokenizer, views: 'global+local', seed: 1 } as const;
      const sample = await prepareSample(record, conversation, context);
      return { ...sample, id: `${record.id}#${task}` };
    }),
  );
  return Promise.all(made);
}

/** Cross-entropy of each supervised token, in the order of the targets. */
function tokenLosses(model: Ferret, batch: ConversationBatch): number[] {
  const tensors = toTensors(batch);
  const losses = tf.tidy(() => {
    const logits = model.logits(tensors, model.visual(tensors));
    const scores = tf.logSoftmax(tf.reshape(logits, [-1, model.config.llm.vocab_size]));
    const picked = tf.gather(scores, tf.tensor1d(batch.targetRows.data, 'int32'));
    const own = tf.oneHot(tf.tensor1d(batch.targets.data, 'int32'), model.config.llm.vocab_size);
    return [...tf.neg(tf.sum(tf.mul(picked, own), 1)).dataSync()];
  });
  disposeTensors(tensors);
  return losses.filter((_, i) => batch.targetWeights.data[i] === 1);
}

/** The sum of the losses, and its gradients by parameter. */
function gradientsOf(model: Ferret, batch: ConversationBatch): Map<string, Float32Array> {
  const tensors = toTensors(batch);
  const parameters = model.parameters.all;
  const found = tf.tidy(() => {
    const { grads } = tf.engine().gradients(
      () => model.languageLoss(tensors, model.visual(tensors)).loss,
      parameters.map(p => p.value),
      undefined,
      true,
    );
    return parameters.map((p, i): [string, Float32Array] => {
      const gradient = grads[i] as tf.Tensor | undefined;
      return [p.name, Float32Array.from(gradient ? gradient.dataSync() : new Float32Array(p.value.size))];
    });
  });
  disposeTensors(tensors);
  return new Map(found);
}

function distance(a: readonly number[] | Float32Array, b: readonly number[] | Float32Array): number {
  expect(a.length).toBe(b.length);
  let largest = 0;
  a.forEach((x: number, i: number) => {
    largest = Math.max(largest, Math.abs(x - (b[i] ?? Number.NaN)));
  });
  return largest;
}

const lengthOf = (sample: Sample): number => collate([sample], base, { buckets: false }).length;

/** Rows of one to six samples, and a length that the longest row needs, with room. */
function rowsOf(samples: readonly Sample[], picks: readonly (readonly number[])[], room: number) {
  const rows = picks.map(row => row.map(i => samples[i % samples.length]!));
  const length = Math.max(...rows.map(row => row.reduce((sum, s) => sum + lengthOf(s), 0))) + room;
  return { rows, length };
}

describe.each(['auto', 'wasm'] as const)('packed rows, engine %s', engine => {
  beforeAll(async () => {
    await startEngine({ engine, device: 'cpu' });
  });

  describe.each(Object.entries(MODELS))('%s', (_, config) => {
    let model: Ferret;
    let samples: Sample[];
    beforeAll(async () => {
      model = new Ferret(config);
      model.parameters.allocate(3);
      samples = await samplesFor(config);
    });

    it('each sample has the loss that it has alone', async () => {
      const alone = new Map<string, number[]>();
      const lossAlone = (sample: Sample): number[] => {
        const known = alone.get(sample.id) ?? tokenLosses(model, collate([sample], config));
        alone.set(sample.id, known);
        return known;
      };
      const row = fc.array(fc.nat(TASKS.length * RECORDS - 1), { minLength: 1, maxLength: 6 });
      await fc.assert(
        fc.property(fc.array(row, { minLength: 1, maxLength: 2 }), fc.nat(9), (picks, room) => {
          const { rows, length } = rowsOf(samples, picks, room);
          const packed = collatePacked(rows, length, config);
          const got = tokenLosses(model, packed);
          const want = rows.flat().map(lossAlone);
          expect(got.length).toBe(want.flat().length);
          expect(distance(got, want.flat())).toBeLessThan(1e-5);
        }),
        { numRuns: engine === 'wasm' ? 6 : 10, seed: 4 },
      );
    });

    it('the gradients are the sum of those alone', () => {
      // One of each task, an image twice, and a row of text.
      const { rows, length } = rowsOf(samples, [[6, 13, 0, 20, 13], [1]], 3);
      const got = gradientsOf(model, collatePacked(rows, length, config));
      const want = new Map<string, Float32Array>();
      for (const sample of rows.flat()) {
        for (const [name, gradient] of gradientsOf(model, collate([sample], config))) {
          const sum = want.get(name) ?? new Float32Array(gradient.length);
          want.set(
            name,
            sum.map((x, i) => x + gradient[i]!),
          );
        }
      }
      const wrong = [...want].flatMap(([name, gradient]) => {
        const scale = 1 + gradient.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        const gap = distance(got.get(name) ?? [], gradient) / scale;
        return gap < 1e-5 ? [] : [`${name}: ${gap}`];
      });
      expect(wrong).toEqual([]);
      expect([...want.values()].filter(gradient => gradient.some(x => x !== 0)).length).toBeGreaterThan(40);
    });
  });

  it('are recorded once a shape, and replayed with other segments', () => {
    const model = new Ferret(MODELS['grouped queries']!);
    model.parameters.allocate(3);
    return samplesFor(model.config).then(samples => {
      const functions = new CompiledFunctions();
      const { rows } = rowsOf(samples, [[0, 1]], 0);
      const [first, second] = [rows[0]!, rows[0]!.toReversed()].map(row =>
        collatePacked([row], 400, model.config),
      );
      const lossOf = (batch: ConversationBatch, recorded: boolean): number => {
        const tensors = toTensors(batch);
        const compute = (): tf.Tensor[] => [model.languageLoss(tensors, model.visual(tensors)).loss];
        const inputs = [...model.parameters.all.map(p => p.value), ...listTensors(tensors)];
        const [loss] = recorded ? functions.call('loss', inputs, compute) : tf.tidy(compute);
        const value = loss!.dataSync()[0]!;
        loss!.dispose();
        disposeTensors(tensors);
        return value;
      };
      const before = tensorCount();
      const eager = [first!, second!].map(batch => lossOf(batch, false));
      const replayed = [first!, second!].map(batch => lossOf(batch, true));
      expect(distance(replayed, eager)).toBeLessThan(1e-3);
      expect(tensorCount()).toBe(before);
      functions.dispose();
      model.dispose();
    });
  });

  it('a mask lets a position see earlier ones of its own segment, and nothing else', () => {
    const random = new Random('segments');
    const segments = Array.from({ length: 2 }, () =>
      Array.from({ length: 9 }, () => random.int(0, 4)).sort((a, b) => a - b),
    );
    const mask = tf.tidy(() => segmentBias(tf.tensor2d(segments, [2, 9], 'int32')).arraySync());
    segments.forEach((row, b) => {
      row.forEach((own, query) => {
        row.forEach((other, key) => {
          expect(mask[b]?.[0]?.[query]?.[key] === 0).toBe(own === other && key <= query);
        });
      });
    });
  });
});

describe('a packed batch', () => {
  it('counts positions anew in each segment, and marks what is not used', async () => {
    const samples = await samplesFor(base);
    const { rows, length } = rowsOf(samples, [[0, 6, 1], [], [12]], 5);
    const { packed, mask, sampleIds, size, globalPixels } = collatePacked(rows, length, base);
    expect(size).toBe(3);
    expect(sampleIds).toEqual(rows.flat().map(sample => sample.id));
    // Two images, made up to a number that comes often.
    expect(globalPixels.shape[0]).toBe(3);
    for (const [b, row] of rows.entries()) {
      const part = (data: Int32Array | undefined) => [...data!.subarray(b * length, (b + 1) * length)];
      const padding = (used: number) => Array<number>(length - used).fill(0);
      const lengths = row.map(lengthOf);
      const used = lengths.reduce((sum, n) => sum + n, 0);
      expect(part(packed?.segments.data)).toEqual([
        ...lengths.flatMap((n, i) => Array<number>(n).fill(i + 1)),
        ...padding(used),
      ]);
      expect(part(packed?.positions.data)).toEqual([
        ...lengths.flatMap(n => Array.from({ length: n }, (_, t) => t)),
        ...padding(used),
      ]);
      expect(part(mask.data)).toEqual([...Array<number>(used).fill(1), ...padding(used)]);
    }
    expect(() => collatePacked([rows[0]!], 20, base)).toThrow(/tokens in a row of 20/);
    expect(() => collatePacked([[], []], 20, base)).toThrow(/0 samples/);
  });
});
