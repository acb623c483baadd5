import { beforeAll, describe, expect, it } from 'vitest';
import { TensorCensus, tensorCount } from '../../src/engine/memory.ts';
import * as tf from '../../src/engine/tf.ts';
import { Watermark } from '../../src/train/watermark.ts';
import { startTestEngine } from '../helpers/engine.ts';

beforeAll(async () => {
  await startTestEngine();
});

const largest = () => [{ name: 'llm.lm_head.weight [32000,4096]', bytes: 524_288_000 }];

/** Follows counts of tensors; yields the step that was refused, and why. */
function follow(counts: readonly number[], recordings: (step: number) => number = () => 0) {
  let tensors = 0;
  const watermark = new Watermark({ limit: 0, largest, tensors: () => tensors });
  try {
    for (const [i, count] of counts.entries()) {
      tensors = count;
      const problem = watermark.check(i + 1, recordings(i + 1));
      if (problem) return { step: i + 1, problem };
    }
    return null;
  } finally {
    watermark.close();
  }
}

describe('the number of tensors', () => {
  it('may be anything as long as it stays', () => {
    expect(follow([10, 50, ...new Array<number>(500).fill(50)])).toBeNull();
    expect(follow([10, 50, 49, 50, 48, 50, 50])).toBeNull();
  });

  it('may rise now and then, and whenever something was recorded', () => {
    expect(follow([50, 50, 51, 51, 51, 53, ...new Array<number>(100).fill(53)])).toBeNull();
    const rising = Array.from({ length: 100 }, (_, i) => 50 + i);
    expect(follow(rising, step => step)).toBeNull();
  });

  it('must not grow from step to step, however slowly', () => {
    expect(follow(Array.from({ length: 100 }, (_, i) => 50 + i))?.step).toBeLessThan(20);
    const slowly = Array.from({ length: 2000 }, (_, i) => 50 + Math.floor(i / 100));
    expect(follow(slowly)?.problem.message).toMatch(/tensors grow in number.*50 became \d+/);
  });

  it('grows with a leak, whose shape the error names', () => {
    const leaked: tf.Tensor[] = [];
    const watermark = new Watermark({ limit: 0, largest });
    let problem = null;
    for (let step = 1; step < 50 && !problem; step++) {
      tf.tidy(() => void tf.square(tf.ones([9, 9])));
      leaked.push(tf.keep(tf.ones([3, 7])));
      problem = watermark.check(step, 0);
    }
    watermark.close();
    expect(problem?.message).toMatch(/\d+ of float32 \[3,7\] \(\d+ B\)/);
    expect(problem?.message).not.toContain('[9,9]');
    tf.dispose(leaked);
  });
});

describe('the census', () => {
  it('knows what was made since it began and lives, and leaves the engine as it was', () => {
    const engine = tf.engine();
    const { trackTensor, disposeTensor } = engine;
    const before = tensorCount();
    const census = new TensorCensus();
    const kept = [tf.zeros([2, 3]), tf.zeros([2, 3]), tf.zeros([5], 'int32')];
    tf.zeros([4]).dispose();
    expect(census.groups()).toEqual([
      { shape: 'float32 [2,3]', count: 2, bytes: 48 },
      { shape: 'int32 [5]', count: 1, bytes: 20 },
    ]);
    tf.dispose(kept);
    expect(census.groups()).toEqual([]);
    census.stop();
    expect([engine.trackTensor, engine.disposeTensor]).toEqual([trackTensor, disposeTensor]);
    expect(tensorCount()).toBe(before);
  });
});

describe('the limit of memory', () => {
  it('names the largest tensors and what to turn when it is exceeded', () => {
    let resident = 1e9;
    const watermark = new Watermark({ limit: 2 ** 30, largest, resident: () => resident, tensors: () => 1 });
    expect(watermark.check(1, 0)).toBeNull();
    resident = 2e9;
    const problem = watermark.check(2, 0);
    expect(problem?.message).toMatch(/step 2: the process holds 2 GB, more than limits\.memory/);
    expect(problem?.message).toContain('llm.lm_head.weight [32000,4096] 524 MB');
    for (const knob of ['batch.samples', 'packing', '--workers', 'limits.memory']) {
      expect(problem?.hint).toContain(knob);
    }
  });
});
