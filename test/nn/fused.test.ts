import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tensorCount } from '../../src/engine/memory.ts';
import * as tf from '../../src/engine/tf.ts';
import { activate, gelu, geluTanh, relu, sigmoidLinear, swiGlu } from '../../src/nn/activation.ts';
import { attend } from '../../src/nn/attention.ts';
import { crossEntropy } from '../../src/nn/cross-entropy.ts';
import { rmsStandardize, standardize } from '../../src/nn/norm.ts';
import { maxPool, weightedRows } from '../../src/nn/pooling.ts';
import { rotaryTables, rotate } from '../../src/nn/rotary.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { expectClose, expectSameFunction, randomTensor } from '../helpers/numbers.ts';

let before = 0;
beforeAll(async () => {
  await startTestEngine();
  before = tensorCount();
});

/** Runs a test inside a scope, so that the count at the end shows what the code under test keeps. */
const scoped = (test: () => void) => () => {
  tf.tidy(() => {
    test();
  });
};

describe('fused layers equal their composed forms, values and gradients', () => {
  it(
    'standardize',
    scoped(() => {
      const composed = (x: tf.Tensor) => {
        const { mean, variance } = tf.moments(x, -1, true);
        return tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-3)));
      };
      const x = tf.add(randomTensor('x', [5, 12]), 3);
      expectSameFunction(y => standardize(y as tf.Tensor2D, 1e-3), composed, [x]);
    }),
  );

  it(
    'rmsStandardize',
    scoped(() => {
      const composed = (x: tf.Tensor) => tf.div(x, tf.sqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-3)));
      expectSameFunction(x => rmsStandardize(x as tf.Tensor2D, 1e-3), composed, [randomTensor('x', [5, 12])]);
    }),
  );

  it(
    'sigmoidLinear',
    scoped(() => {
      const composed = (x: tf.Tensor) => tf.mul(x, tf.sigmoid(tf.mul(x, 1.702)));
      expectSameFunction(x => sigmoidLinear(x as tf.Tensor2D, 1.702), composed, [randomTensor('x', [6, 7])]);
    }),
  );

  it(
    'gelu',
    scoped(() => {
      const composed = (x: tf.Tensor) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.div(x, Math.SQRT2)), 1));
      expectSameFunction(x => gelu(x as tf.Tensor2D), composed, [randomTensor('x', [6, 7])]);
    }),
  );

  it(
    'relu',
    scoped(() => {
      const composed = (x: tf.Tensor) => tf.relu(x);
      expectSameFunction(x => relu(x), composed, [randomTensor('x', [6, 7])]);
      // At 0 the slope is 0, as in PyTorch.
      const slope = tf.grad(x => tf.sum(relu(x)))(tf.tensor1d([-1, 0, 1]));
      expectClose(slope, tf.tensor1d([0, 0, 1]), 0);
    }),
  );

  it(
    'swiGlu',
    scoped(() => {
      const composed = (g: tf.Tensor, u: tf.Tensor) => tf.mul(tf.mul(g, tf.sigmoid(g)), u);
      expectSameFunction((g, u) => swiGlu(g as tf.Tensor2D, u as tf.Tensor2D), composed, [
        randomTensor('gate', [6, 7]),
        randomTensor('up', [6, 7]),
      ]);
    }),
  );

  it(
    'crossEntropy',
    scoped(() => {
      const targets = tf.tensor1d([0, 4, 2], 'int32');
      const composed = (x: tf.Tensor) =>
        tf.neg(tf.sum(tf.mul(tf.logSoftmax(x), tf.cast(tf.oneHot(targets, 5), 'float32')), 1));
      expectSameFunction(x => crossEntropy(x as tf.Tensor2D, targets), composed, [randomTensor('x', [3, 5])]);
    }),
  );

  it(
    'attend, with grouped queries and a mask',
    scoped(() => {
      const [batch, heads, keyHeads, queries, keys, width] = [2, 6, 2, 3, 4, 5];
      const bias = tf.reshape(
        tf.tensor2d([
          [0, 0, -1e9, -1e9],
          [0, 0, 0, -1e9],
          [0, 0, 0, 0],
        ]),
        [1, 1, queries, keys],
      ) as tf.Tensor4D;
      const repeated = (x: tf.Tensor): tf.Tensor => {
        const copies = tf
          .split(x, keyHeads, 1)
          .flatMap(head => new Array<tf.Tensor>(heads / keyHeads).fill(head));
        return tf.concat(copies, 1);
      };
      const composed = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => {
        const scores = tf.mul(tf.matMul(q, repeated(k), false, true), width ** -0.5);
        return tf.matMul(tf.softmax(tf.add(scores, bias)), repeated(v));
      };
      expectSameFunction(
        (q, k, v) => attend(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, bias),
        composed,
        [
          randomTensor('q', [batch, heads, queries, width]),
          randomTensor('k', [batch, keyHeads, keys, width]),
          randomTensor('v', [batch, keyHeads, keys, width]),
        ],
      );
    }),
  );

  it(
    'rotate',
    scoped(() => {
      const tables = rotaryTables([0, 1, 5, 9], { batch: 1, length: 4, width: 6, theta: 100 });
      const composed = (x: tf.Tensor) => {
        const [a, b] = tf.split(x, 2, -1) as [tf.Tensor, tf.Tensor];
        return tf.add(tf.mul(x, tables.cos), tf.mul(tf.concat([tf.neg(b), a], -1), tables.sin));
      };
      expectSameFunction(x => rotate(x as tf.Tensor4D, tables), composed, [randomTensor('x', [2, 3, 4, 6])]);
    }),
  );

  it(
    'weightedRows',
    scoped(() => {
      const rows = tf.tensor2d(
        [
          [0, 1, 2, 2],
          [3, 3, 3, 0],
        ],
        [2, 4],
        'int32',
      );
      const weights = randomTensor<tf.Tensor2D>('w', [2, 4]);
      const composed = (table: tf.Tensor) => {
        const picked = tf.cast(tf.oneHot(tf.reshape(rows, [8]), 4), 'float32');
        const gathered = tf.reshape(tf.matMul(picked, table), [2, 4, 3]);
        return tf.sum(tf.mul(gathered, tf.reshape(weights, [2, 4, 1])), 1);
      };
      expectSameFunction(table => weightedRows(table as tf.Tensor2D, rows, weights), composed, [
        randomTensor('table', [4, 3]),
      ]);
    }),
  );
});

afterAll(() => {
  expect(tensorCount()).toBe(before);
});

describe('values and limits', () => {
  it(
    'activations equal PyTorch',
    scoped(() => {
      const x = tf.tensor2d([[-3, -1, -0.1, 0, 0.5, 2]]);
      const exact = [-0.004050225, -0.158655256, -0.0460172184, 0, 0.3457312286, 1.9544997215];
      const tanh = [-0.0036374331, -0.158807993, -0.0460172482, 0, 0.3457140028, 1.9545977116];
      const silu = [-0.1422776133, -0.2689414322, -0.0475020818, 0, 0.311229676, 1.7615940571];
      expectClose(gelu(x), tf.tensor2d([exact]), 1e-6);
      expectClose(geluTanh(x), tf.tensor2d([tanh]), 1e-6);
      expectClose(activate('gelu_new', x), tf.tensor2d([tanh]), 1e-6);
      expectClose(activate('silu', x), tf.tensor2d([silu]), 1e-6);
      expectClose(activate('relu', x), tf.tensor2d([[0, 0, 0, 0, 0.5, 2]]), 0);
    }),
  );

  it(
    'cross-entropy of logits far apart is finite and exact',
    scoped(() => {
      const losses = crossEntropy(
        tf.tensor2d([
          [500, -500],
          [500, -500],
        ]),
        tf.tensor1d([0, 1], 'int32'),
      );
      expect([...losses.dataSync()]).toEqual([0, 1000]);
    }),
  );

  it(
    'a query that may see nothing gets finite values',
    scoped(() => {
      const one = tf.ones([1, 1, 1, 2]) as tf.Tensor4D;
      const out = attend(one, one, one, tf.fill([1, 1, 1, 1], -1e9) as tf.Tensor4D);
      expect([...out.dataSync()]).toEqual([1, 1]);
    }),
  );

  it(
    'equal maxima share their gradient',
    scoped(() => {
      const x = tf.tensor3d([
        [
          [1, 5],
          [1, 2],
          [0, 5],
        ],
      ]);
      expect([...maxPool(x).dataSync()]).toEqual([1, 5]);
      const [gradient] = tf.engine().gradients(() => tf.sum(maxPool(x)), [x]).grads;
      expect([...(gradient as tf.Tensor).dataSync()]).toEqual([0.5, 0.5, 0.5, 0, 0, 0.5]);
    }),
  );

  it(
    'rotated queries and keys meet by distance, not by place',
    scoped(() => {
      const scoreAt = (query: number, key: number): number => {
        const tables = (p: number) => rotaryTables([p], { batch: 1, length: 1, width: 8, theta: 10 });
        const q = rotate(randomTensor('q', [1, 1, 1, 8]), tables(query));
        const k = rotate(randomTensor('k', [1, 1, 1, 8]), tables(key));
        return tf.sum(tf.mul(q, k)).dataSync()[0] ?? Number.NaN;
      };
      expect(scoreAt(9, 4)).toBeCloseTo(scoreAt(25, 20), 4);
      expect(Math.abs(scoreAt(9, 4) - scoreAt(9, 7))).toBeGreaterThan(1e-2);
    }),
  );
});
