import { beforeAll, describe, expect, it } from 'vitest';
import { tensorCount } from '../../src/engine/memory.ts';
import { averageShare } from '../../src/train/average.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { tinyBatch } from '../helpers/tiny-ferret.ts';
import { expectClose, recipeWith, train, valuesOf } from './techniques.ts';

beforeAll(startTestEngine);

const batch = tinyBatch();
const ema = { decay: 0.9, warmup: false };

async function averagesOf(made: ReturnType<typeof train>): Promise<Map<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for (const [name, { data }] of made.step.average?.sources() ?? []) {
    found.set(name, new Float32Array((await (data as () => Promise<Float32Array>)()).slice()));
  }
  return found;
}

describe('the running average', () => {
  it('is decay · average + (1 - decay) · weights after each step, and changes no step', async () => {
    const recipe = recipeWith({ train: ['projector', 'llm'], ema });
    const want = new Map<string, Float64Array>();
    const start = train(recipe, []);
    for (const [name, values] of await averagesOf(start)) want.set(name, Float64Array.from(values));
    start.dispose();
    const steps = 4;
    for (let n = 1; n <= steps; n++) {
      const plain = train(recipeWith({ train: ['projector', 'llm'] }), Array(n).fill([batch]));
      for (const [name, values] of valuesOf(plain.model)) {
        want.get(name)?.forEach((v, i, all) => {
          all[i] = 0.9 * v + 0.1 * (values[i] ?? Number.NaN);
        });
      }
      plain.dispose();
    }
    const before = tensorCount();
    const averaged = train(recipe, Array(steps).fill([batch]));
    const got = await averagesOf(averaged);
    expectClose(got, new Map([...want].map(([name, v]) => [name, Float32Array.from(v)])), 1e-6);
    averaged.dispose();
    expect(tensorCount()).toBe(before);
  });

  it('stands in for the weights while something runs, and gives them back when that throws', async () => {
    const made = train(recipeWith({ train: ['llm'], ema }), [[batch], [batch]]);
    const weights = valuesOf(made.model);
    const averages = await averagesOf(made);
    const during = async () => {
      const seen = valuesOf(made.model);
      for (const [name, values] of averages) expect(seen.get(name)).toEqual(values);
      expect(seen.get('llm.lm_head.weight')).not.toEqual(weights.get('llm.lm_head.weight'));
      throw new Error('scoring failed');
    };
    await expect(made.step.average?.during(during)).rejects.toThrow('scoring failed');
    expect(valuesOf(made.model)).toEqual(weights);
    made.dispose();
  });

  it('goes on exactly from what was saved', async () => {
    const recipe = recipeWith({ train: ['llm'], ema: { decay: 0.99 } });
    const whole = train(recipe, Array(4).fill([batch]));
    const first = train(recipe, Array(2).fill([batch]));
    const saved = new Map(
      [...(await averagesOf(first))].map(([name, data]) => [
        name,
        { shape: first.model.parameters.get(name)?.shape ?? [], data },
      ]),
    );
    first.step.average?.restore(saved);
    for (const step of [2, 3]) first.step.run([batch], step);
    expect(await averagesOf(first)).toEqual(await averagesOf(whole));
    whole.dispose();
    first.dispose();
  });

  it('remembers less at first, unless told otherwise', () => {
    const shares = [0, 1, 8, 80, 10_000].map(n => 1 - averageShare({ decay: 0.999 }, n));
    expect(shares).toEqual([0.1, 2 / 11, 0.5, 0.9, 0.999].map(v => expect.closeTo(v, 10)));
    expect(averageShare({ decay: 0.999, warmup: false }, 0)).toBeCloseTo(0.001, 10);
  });
});

describe('accumulation', () => {
  it.each([2, 4])('of %i micro-batches equals one big batch to 1e-6', count => {
    // Samples of one length each, so that a batch of all is the same samples and no more.
    const one = tinyBatch({
      texts: Array(count).fill(4),
      tiles: Array(count).fill(1),
      regions: Array(count).fill(0),
    });
    const parts = Array.from({ length: count }, (_, i) => sampleOf(one, i, count));
    // AdamW divides by the size of a gradient: where that is rounding alone, as of a key's bias, an epsilon keeps it small.
    const optimizer = { betas: [0.9, 0.999], eps: 1e-2, weight_decay: 0.01, clip_norm: 1 } as const;
    const recipe = recipeWith({ train: ['llm', 'encoder', 'projector'], optimizer });
    const big = train(recipe, Array(3).fill([one]));
    const small = train(recipe, Array(3).fill(parts));
    for (const [i, loss] of small.losses.entries()) {
      expect(Math.abs(loss / (big.losses[i] as number) - 1)).toBeLessThan(1e-6);
    }
    for (const [got, wanted] of [
      [small.gradients, big.gradients],
      [valuesOf(small.model), valuesOf(big.model)],
    ] as const) {
      for (const [name, values] of got) {
        const other = wanted.get(name);
        const off = values?.reduce((most, v, j) => Math.max(most, Math.abs(v - (other?.[j] ?? 9))), 0) ?? 0;
        expect(off, name).toBeLessThanOrEqual(1e-6);
      }
    }
    big.dispose();
    small.dispose();
  });
});

/** One sample of a batch whose samples are alike in size and have no regions. */
function sampleOf(
  batch: ReturnType<typeof tinyBatch>,
  i: number,
  count: number,
): ReturnType<typeof tinyBatch> {
  const { length } = batch;
  const patches = 4;
  const rows = <T extends Float32Array | Int32Array>(
    { data, shape }: { data: T; shape: readonly number[] },
    per = (shape[0] ?? 0) / count,
  ) => {
    const width = shape.slice(1).reduce((n, d) => n * d, 1);
    return { data: data.slice(i * per * width, (i + 1) * per * width) as T, shape: [per, ...shape.slice(1)] };
  };
  // Rows of the table: text of all samples, global patches, tiles, and a row of zeros at the end.
  const [texts, globals] = [count * length, count * patches];
  const local = (row: number): number => {
    if (row < texts) return row - i * length;
    if (row < texts + globals) return length + (row - texts - i * patches);
    if (row < texts + 2 * globals) return length + patches + (row - texts - globals - i * patches);
    return length + 2 * patches;
  };
  const source = rows(batch.source).data.map(local);
  const inverse = new Int32Array(length + 2 * patches + 1).fill(length);
  source.forEach((row, t) => {
    if (row < length + 2 * patches) inverse[row] = t;
  });
  const kept = [...batch.targetRows.data.keys()].filter(
    n => Math.floor((batch.targetRows.data[n] ?? 0) / length) === i && (batch.targetWeights.data[n] ?? 0) > 0,
  );
  const pick = <T extends Float32Array | Int32Array>(data: T): T =>
    data.filter((_, n) => kept.includes(n)) as T;
  return {
    ...batch,
    size: 1,
    sampleIds: [batch.sampleIds[i] as string],
    tokens: rows(batch.tokens),
    mask: rows(batch.mask),
    source: { data: source, shape: [1, length] },
    sourceInverse: { data: inverse, shape: [inverse.length] },
    globalPixels: rows(batch.globalPixels),
    localPixels: rows(batch.localPixels),
    localCentres: rows(batch.localCentres),
    targetRows: { data: pick(batch.targetRows.data).map(row => row - i * length), shape: [kept.length] },
    targets: { data: pick(batch.targets.data), shape: [kept.length] },
    targetWeights: { data: pick(batch.targetWeights.data), shape: [kept.length] },
  };
}
