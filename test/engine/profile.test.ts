import { beforeAll, describe, expect, it } from 'vitest';
import { CompiledFunctions } from '../../src/engine/compile.ts';
import { startEngine } from '../../src/engine/engine.ts';
import { findInstalled } from '../../src/engine/installed.ts';
import { type OpRun, profileOps } from '../../src/engine/profile.ts';
import * as tf from '../../src/engine/tf.ts';

const engines = findInstalled().length > 0 ? (['tensorflow', 'wasm'] as const) : (['wasm'] as const);

describe.each(engines)('profiling on %s', engine => {
  beforeAll(async () => {
    await startEngine({ engine, ...(engine === 'tensorflow' && { device: 'cpu' }) });
  });

  /** A product and a sum, as a function that is recorded where that is possible. */
  function work(functions: CompiledFunctions, a: tf.Tensor2D): number[] {
    const results = functions.call('product', [a], () => [tf.add(tf.matMul(a, a), tf.scalar(1))]);
    const values = Array.from((results[0] as tf.Tensor).dataSync());
    tf.dispose(results);
    return values;
  }

  it('shows every op of what else would run as one, in order, with the same result', () => {
    const functions = new CompiledFunctions();
    const a = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const expected = work(functions, a);
    const before = tf.memory().numTensors;
    const runs: OpRun[] = [];
    expect(
      profileOps(
        run => runs.push(run),
        () => work(functions, a),
      ),
    ).toEqual(expected);
    expect(tf.memory().numTensors).toBe(before);
    const names = runs.map(({ op }) => op).filter(op => op !== 'write' && op !== 'read');
    expect(names.some(name => /MatMul/.test(name))).toBe(true);
    expect(names.some(name => /^Add/.test(name))).toBe(true);
    for (const { began, ended } of runs) expect(ended).toBeGreaterThanOrEqual(began);
    expect(runs.map(({ began }) => began)).toEqual([...runs.map(({ began }) => began)].sort((x, y) => x - y));
    expect(runs.find(({ op }) => /MatMul/.test(op))?.shapes[0]).toMatch(/^\[(1,)?2,2\]$/);

    // Afterwards nothing is watched any more.
    const count = runs.length;
    expect(work(functions, a)).toEqual(expected);
    expect(runs).toHaveLength(count);
    functions.dispose();
    a.dispose();
  });

  it('stops watching what throws', () => {
    const runs: OpRun[] = [];
    const fail = () =>
      profileOps(
        run => runs.push(run),
        () => tf.matMul(tf.ones([2, 3]), tf.ones([2, 3])),
      );
    expect(() => tf.tidy(fail)).toThrow();
    const count = runs.length;
    tf.tidy(() => tf.matMul(tf.ones([2, 2]), tf.ones([2, 2])).dataSync());
    expect(runs).toHaveLength(count);
  });
});
