import { beforeAll, describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { zeros } from '../../src/nn/init.ts';
import { Parameter } from '../../src/nn/parameter.ts';
import { describeUnreached, GradientWatch } from '../../src/train/reached.ts';
import { startTestEngine } from '../helpers/engine.ts';

beforeAll(async () => {
  await startTestEngine();
});

const parameters = ['a', 'b', 'c'].map(name => new Parameter(name, [2], zeros));

/** One step: which parameters get a gradient, and which one of zeros. */
function see(watch: GradientWatch, kinds: readonly ('none' | 'zero' | 'some')[]): void {
  const values = { zero: [0, 0], some: [0, 1e-30] };
  const gradients = kinds.map(kind => (kind === 'none' ? null : tf.tensor1d(values[kind])));
  const before = tf.memory().numTensors;
  watch.see(parameters, gradients);
  expect(tf.memory().numTensors).toBe(before);
  tf.dispose(gradients.filter(g => g !== null));
}

describe('gradients that never come', () => {
  it('are told of once every source has had its turn, and not before', () => {
    const watch = new GradientWatch(parameters);
    for (let step = 1; step <= 14; step++) {
      see(watch, ['some', 'none', 'zero']);
      expect(watch.verdict([step, 0], false)).toBeNull();
    }
    see(watch, ['some', 'none', 'zero']);
    const unreached = watch.verdict([15, 1], false);
    expect(unreached).toEqual([
      { name: 'b', why: 'none' },
      { name: 'c', why: 'zero' },
    ]);
    expect(describeUnreached(unreached ?? [])).toBe(
      'trains but receives no gradient: b; trains but its gradient is always 0: c',
    );
    expect(watch.decided).toBe(true);
    expect(watch.verdict([16, 2], false)).toBeNull();
  });

  it('may come late: batches of one kind do not reach everything', () => {
    const watch = new GradientWatch(parameters);
    see(watch, ['some', 'none', 'zero']);
    expect(watch.verdict([1, 0], false)).toBeNull();
    see(watch, ['none', 'some', 'some']);
    expect(watch.verdict([1, 1], false)).toEqual([]);
  });

  it('are told of at the end of a short stage, and after 200 steps whatever the data', () => {
    const short = new GradientWatch(parameters);
    see(short, ['some', 'some', 'none']);
    expect(short.verdict([1, 0], true)).toEqual([{ name: 'c', why: 'none' }]);
    const long = new GradientWatch(parameters);
    see(long, ['some', 'some', 'none']);
    for (let step = 1; step < 200; step++) expect(long.verdict([step, 0], false)).toBeNull();
    expect(long.verdict([200, 0], false)).toEqual([{ name: 'c', why: 'none' }]);
  });
});
