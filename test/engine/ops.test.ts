import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { startEngine } from '../../src/engine/engine.ts';
import { findInstalled } from '../../src/engine/installed.ts';
import { tensorCount } from '../../src/engine/memory.ts';
import { gatherOnce, gatherRows } from '../../src/engine/ops.ts';
import * as tf from '../../src/engine/tf.ts';
import { Random } from '../../src/random.ts';

const engines = findInstalled().length > 0 ? (['tensorflow', 'wasm'] as const) : (['wasm'] as const);

/** d(sum(f(x)·w))/dx by central differences; f is linear here, so that a large step is exact. */
function numericGradient(
  f: (x: tf.Tensor2D) => tf.Tensor,
  x: Float32Array,
  shape: [number, number],
  w: tf.Tensor,
) {
  const loss = (values: Float32Array) =>
    tf.tidy(() => tf.sum(tf.mul(f(tf.tensor2d(values, shape)), w)).dataSync()[0] as number);
  return Float32Array.from(x, (value, i) => {
    const up = Float32Array.from(x);
    const down = Float32Array.from(x);
    up[i] = value + 0.5;
    down[i] = value - 0.5;
    return loss(up) - loss(down);
  });
}

function normals(count: number, ...name: (string | number)[]): Float32Array {
  const random = new Random(...name);
  return Float32Array.from({ length: count }, () => random.normal());
}

describe.each(engines)('row gathers on %s', engine => {
  beforeAll(async () => {
    await startEngine({ engine, device: 'cpu' });
  });

  const tables = fc.record({
    count: fc.integer({ min: 1, max: 7 }),
    width: fc.integer({ min: 1, max: 5 }),
    picks: fc.array(fc.nat(), { minLength: 1, maxLength: 12 }),
    seed: fc.nat(),
  });

  it('gatherRows reads rows, and its gradient adds up what was read of each', () => {
    fc.assert(
      fc.property(tables, ({ count, width, picks, seed }) => {
        const rows = picks.map(pick => pick % count);
        const table = normals(count * width, seed, 'table');
        const weights = normals(rows.length * width, seed, 'weights');
        const expected = new Float32Array(count * width);
        rows.forEach((row, i) => {
          for (let c = 0; c < width; c++) {
            expected[row * width + c] = (expected[row * width + c] ?? 0) + (weights[i * width + c] ?? 0);
          }
        });
        const before = tensorCount();
        tf.tidy(() => {
          const x = tf.tensor2d(table, [count, width]);
          const index = tf.tensor1d(rows, 'int32');
          const w = tf.tensor2d(weights, [rows.length, width]);
          const read = gatherRows(x, index).dataSync();
          expect(read).toEqual(
            Float32Array.from(rows.flatMap(row => [...table.subarray(row * width, (row + 1) * width)])),
          );
          const gradient = tf.grad((t: tf.Tensor) => tf.sum(tf.mul(gatherRows(t as tf.Tensor2D, index), w)))(
            x,
          );
          expect(gradient.shape).toEqual([count, width]);
          gradient.dataSync().forEach((value, i) => {
            expect(value).toBeCloseTo(expected[i] as number, 5);
          });
        });
        expect(tensorCount()).toBe(before);
      }),
      { numRuns: 50 },
    );
  });

  it('gatherRows agrees with finite differences for an index of rank 3', () => {
    tf.tidy(() => {
      const index = tf.tensor3d([0, 2, 2, 1, 0, 2, 2, 2], [2, 2, 2], 'int32');
      const w = tf.tensor(normals(24, 'w'), [2, 2, 2, 3]);
      const x = normals(9, 'x');
      expect(gatherRows(tf.tensor2d(x, [3, 3]), index).shape).toEqual([2, 2, 2, 3]);
      const gradient = tf.grad((t: tf.Tensor) => tf.sum(tf.mul(gatherRows(t as tf.Tensor2D, index), w)))(
        tf.tensor2d(x, [3, 3]),
      );
      const numeric = numericGradient(t => gatherRows(t, index), x, [3, 3], w);
      gradient.dataSync().forEach((value, i) => {
        expect(value).toBeCloseTo(numeric[i] as number, 4);
      });
    });
  });

  it('an index made inside an inner tidy still serves the gradient', () => {
    tf.tidy(() => {
      const f = (t: tf.Tensor) =>
        tf.tidy(() => tf.sum(gatherRows(t as tf.Tensor2D, tf.tensor1d([1, 1], 'int32')))) as tf.Scalar;
      expect(
        tf
          .grad(f)(tf.ones([2, 2]))
          .dataSync(),
      ).toEqual(new Float32Array([0, 0, 2, 2]));
    });
  });

  it('gatherOnce has the gradient of gatherRows where no row is read twice', () => {
    fc.assert(
      fc.property(tables, fc.nat(), ({ count, width, seed }, cut) => {
        const order = new Random(seed, 'order').shuffle(Array.from({ length: count }, (_, i) => i));
        const source = order.slice(0, 1 + (cut % count));
        const inverse = Array.from({ length: count }, (_, row) => {
          const reader = source.indexOf(row);
          return reader < 0 ? source.length : reader;
        });
        tf.tidy(() => {
          const x = tf.tensor2d(normals(count * width, seed), [count, width]);
          const w = tf.tensor2d(normals(source.length * width, seed, 'w'), [source.length, width]);
          const from = tf.tensor1d(source, 'int32');
          const to = tf.tensor1d(inverse, 'int32');
          const once = tf.valueAndGrad((t: tf.Tensor) =>
            tf.sum(tf.mul(gatherOnce(t as tf.Tensor2D, from, to), w)),
          )(x);
          const rows = tf.valueAndGrad((t: tf.Tensor) =>
            tf.sum(tf.mul(gatherRows(t as tf.Tensor2D, from), w)),
          )(x);
          expect(once.value.dataSync()).toEqual(rows.value.dataSync());
          expect(once.grad.dataSync()).toEqual(rows.grad.dataSync());
        });
      }),
      { numRuns: 50 },
    );
  });

  it('gatherOnce lets a shared zero row be read often, without a gradient', () => {
    tf.tidy(() => {
      const x = tf.tensor2d([1, 2, 0, 0], [2, 2]);
      const from = tf.tensor1d([1, 0, 1], 'int32');
      const to = tf.tensor1d([1, 3], 'int32');
      const { value, grad } = tf.valueAndGrad((t: tf.Tensor) =>
        tf.sum(gatherOnce(t as tf.Tensor2D, from, to)),
      )(x);
      expect(value.dataSync()[0]).toBe(3);
      expect(grad.dataSync()).toEqual(new Float32Array([1, 1, 0, 0]));
    });
  });

  it('gathers nothing from a table', () => {
    tf.tidy(() => {
      const none = tf.tensor1d([], 'int32');
      const { grad } = tf.valueAndGrad((t: tf.Tensor) => tf.sum(gatherRows(t as tf.Tensor2D, none)))(
        tf.ones([2, 3]),
      );
      expect(grad.dataSync()).toEqual(new Float32Array(6));
    });
  });

  it('gives the same bits 50 times over', () => {
    tf.tidy(() => {
      const a = tf.tensor2d(normals(300 * 200, 'a'), [300, 200]);
      const b = tf.tensor2d(normals(200 * 170, 'b'), [200, 170]);
      const rows = tf.tensor1d(Int32Array.from({ length: 3000 }, (_, i) => (i * 7919) % 300));
      const w = tf.tensor2d(normals(3000 * 170, 'w'), [3000, 170]);
      const gradient = tf.grads((x: tf.Tensor, y: tf.Tensor) => {
        const hidden = tf.softmax(tf.matMul(x, y));
        return tf.mean(tf.mul(gatherRows(hidden as tf.Tensor2D, rows), w));
      });
      const once = () =>
        tf.tidy(() =>
          gradient([a, b]).map(g => Buffer.from(Float32Array.from(g.dataSync()).buffer).toString('base64')),
        );
      const first = once();
      for (let i = 1; i < 50; i++) expect(once()).toEqual(first);
    });
  });
});
