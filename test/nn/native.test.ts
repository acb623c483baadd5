import { beforeAll, describe, expect, test } from 'vitest';
import { hasNativeOps, nativeOp } from '../../src/engine/native-ops.ts';
import * as tf from '../../src/engine/tf.ts';
import { composedSwiGlu, gelu, geluTanh, sigmoidLinear } from '../../src/nn/activation.ts';
import { attend, causalBias, mergeHeads, segmentBias, splitHeads } from '../../src/nn/attention.ts';
import { crossEntropy } from '../../src/nn/cross-entropy.ts';
import {
  nativeAttention,
  nativeCachedAttention,
  nativeGelu,
  nativeLayerNorm,
  nativeLinear,
  nativeLinearCrossEntropy,
  nativeRmsNorm,
  nativeRotary,
  nativeSwiGlu,
} from '../../src/nn/native.ts';
import { rmsStandardize, standardize } from '../../src/nn/norm.ts';
import { rotaryTables, rotate } from '../../src/nn/rotary.ts';
import { Random } from '../../src/random.ts';
import { startTestEngine } from '../helpers/engine.ts';

const engine = await startTestEngine();
const native = engine.name === 'tensorflow' && hasNativeOps();

/** Numbers around 0, the same for the same name. */
function draw(name: string, shape: number[], scale = 1): tf.Tensor {
  const random = new Random(7, 'native', name);
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, () => random.normal() * scale),
    shape,
  );
}

type Op = (...inputs: tf.Tensor[]) => tf.Tensor;

/** Values and all gradients of two forms of an op agree, relative to the largest number of each. */
function expectTwins(inputs: tf.Tensor[], fusedForm: Op, composedForm: Op, tolerance = 2e-5): void {
  const run = (f: Op): number[][] => {
    const out = tf.tidy(() => f(...inputs));
    const weights = draw('upstream', out.shape.length === 0 ? [1] : out.shape);
    const gradients = tf.grads((...xs: tf.Tensor[]) =>
      tf.sum(tf.mul(f(...xs), tf.reshape(weights, out.shape))),
    )(inputs);
    return [out, ...gradients].map(t => [...t.dataSync()]);
  };
  const a = run(fusedForm);
  const b = run(composedForm);
  for (const [i, expected] of b.entries()) {
    const scale = expected.reduce((largest, x) => Math.max(largest, Math.abs(x)), 1e-2);
    const off = expected.map((x, j) => Math.abs(x - (a[i]?.[j] ?? Number.NaN)));
    const worst = off.reduce((largest, x) => Math.max(largest, x), 0);
    expect(worst / scale, i === 0 ? 'value' : `gradient ${i - 1}`).toBeLessThan(tolerance);
  }
}

describe.skipIf(!native)('fused ops equal their composed twins, values and gradients', () => {
  beforeAll(() => expect(hasNativeOps()).toBe(true));

  test.each([
    [1, 1],
    [7, 5],
    [33, 64],
    [200, 96],
    [65, 384],
  ])('normalisation of [%i, %i]', (rows, width) => {
    const x = draw('x', [rows, width], 3);
    const gain = draw('gain', [width]);
    const bias = draw('bias', [width]);
    expectTwins(
      [x, gain],
      (a, g) => nativeRmsNorm(a as tf.Tensor2D, g as tf.Tensor, 1e-5),
      (a, g) => tf.mul(rmsStandardize(a as tf.Tensor2D, 1e-5), g as tf.Tensor),
    );
    if (width === 1) return;
    expectTwins(
      [x, gain, bias],
      (a, g, b) => nativeLayerNorm(a as tf.Tensor2D, g as tf.Tensor, b as tf.Tensor, 1e-5),
      (a, g, b) => tf.add(tf.mul(standardize(a as tf.Tensor2D, 1e-5), g as tf.Tensor), b as tf.Tensor),
    );
  });

  test.each([
    [1, 1],
    [9, 13],
    [70, 128],
  ])('activations of [%i, %i]', (rows, width) => {
    const x = draw('x', [rows, width], 4);
    const y = draw('y', [rows, width]);
    const bias = draw('bias', [width]);
    expectTwins(
      [x, y],
      (a, b) => nativeSwiGlu(a as tf.Tensor2D, b as tf.Tensor2D),
      (a, b) => composedSwiGlu(a as tf.Tensor2D, b as tf.Tensor2D),
    );
    const forms = [
      ['exact', gelu],
      ['quick', (z: tf.Tensor2D) => sigmoidLinear(z, 1.702)],
      ['tanh', geluTanh],
    ] as const;
    for (const [form, twin] of forms) {
      expectTwins(
        [x, bias],
        (a, b) => nativeGelu(a as tf.Tensor2D, b as tf.Tensor, form),
        (a, b) => twin(tf.add(a as tf.Tensor2D, b as tf.Tensor)),
      );
    }
  });

  test.each([
    { batch: 1, length: 5, heads: 2, width: 8 },
    { batch: 3, length: 17, heads: 4, width: 24 },
  ])('rotary positions of $batch rows of $length', ({ batch, length, heads, width }) => {
    const x = draw('x', [batch * length, heads * width]);
    const tables = rotaryTables(
      Array.from({ length }, (_, t) => t),
      { batch: 1, length, width, theta: 10_000 },
    );
    const flat = (t: tf.Tensor): tf.Tensor2D => tf.reshape(t, [length, width]);
    expectTwins(
      [x],
      a => nativeRotary(a as tf.Tensor2D, flat(tables.cos), flat(tables.sin)),
      a => mergeHeads(rotate(splitHeads(a as tf.Tensor2D, batch, heads), tables)),
    );
  });

  test.each([
    { batch: 1, length: 1, heads: 1, keyHeads: 1, width: 4 },
    { batch: 2, length: 7, heads: 2, keyHeads: 2, width: 16 },
    { batch: 2, length: 49, heads: 4, keyHeads: 2, width: 24 },
    { batch: 1, length: 300, heads: 3, keyHeads: 1, width: 20 },
  ])(
    'attention over $batch x $length, $heads heads on $keyHeads of width $width',
    ({ batch, length, heads, keyHeads, width }) => {
      const inputs = [
        draw('q', [batch * length, heads * width], 2),
        draw('k', [batch * length, keyHeads * width], 2),
        draw('v', [batch * length, keyHeads * width]),
      ];
      const random = new Random(3, 'segments', `${length}`);
      let segment = 0;
      const labels = Array.from({ length: batch * length }, (_, i) => {
        if (i % length === 0) segment = 0;
        else if (random.next() < 0.1) segment++;
        return segment;
      });
      const segments = tf.tensor2d(labels, [batch, length], 'int32');
      const composed =
        (bias: tf.Tensor4D | null): Op =>
        (q, k, v) =>
          mergeHeads(
            attend(
              splitHeads(q as tf.Tensor2D, batch, heads),
              splitHeads(k as tf.Tensor2D, batch, keyHeads),
              splitHeads(v as tf.Tensor2D, batch, keyHeads),
              bias,
            ),
          );
      const fusedForm =
        (causal: boolean, own: tf.Tensor2D | null): Op =>
        (q, k, v) =>
          nativeAttention(q as tf.Tensor2D, k as tf.Tensor2D, v as tf.Tensor2D, {
            batch,
            heads,
            keyHeads,
            causal,
            segments: own,
          });
      expectTwins(inputs, fusedForm(false, null), composed(null));
      expectTwins(inputs, fusedForm(true, null), composed(causalBias(length)));
      expectTwins(inputs, fusedForm(true, segments), composed(segmentBias(segments)));
    },
  );

  test.each([
    [1, 1, 1],
    [3, 512, 130],
    [4, 17, 66],
    [5, 64, 64],
    [48, 66, 64],
    [131, 176, 100],
    [300, 64, 176],
    [49, 200, 13],
  ])('linear layer of %i rows from %i to %i', (rows, inputs, outputs) => {
    const x = draw('x', [rows, inputs]);
    const weight = draw('weight', [outputs, inputs]);
    const bias = draw('bias', [outputs]);
    const product = (a: tf.Tensor, w: tf.Tensor): tf.Tensor =>
      tf.matMul(a as tf.Tensor2D, w as tf.Tensor2D, false, true);
    const linear = (a: tf.Tensor, w: tf.Tensor, b: tf.Tensor | undefined, trains: boolean): tf.Tensor =>
      nativeLinear(a as tf.Tensor2D, w as tf.Tensor2D, b as tf.Tensor1D | undefined, trains);
    expectTwins(
      [x, weight, bias],
      (a, w, b) => linear(a as tf.Tensor, w as tf.Tensor, b, true),
      (a, w, b) => tf.add(product(a as tf.Tensor, w as tf.Tensor), b as tf.Tensor),
    );
    expectTwins(
      [x, weight],
      (a, w) => linear(a as tf.Tensor, w as tf.Tensor, undefined, true),
      (a, w) => product(a as tf.Tensor, w as tf.Tensor),
    );
    expectTwins(
      [x],
      a => linear(a as tf.Tensor, weight, bias, false),
      a => tf.add(product(a as tf.Tensor, weight), bias),
    );
    const bits = (): string =>
      tf
        .grads((a: tf.Tensor, w: tf.Tensor, b: tf.Tensor) => linear(a, w, b, true))([x, weight, bias])
        .map(gradient => Buffer.from(gradient.dataSync().buffer).toString('hex'))
        .join();
    expect(bits()).toBe(bits());
  });

  test.each([
    { batch: 1, heads: 1, keyHeads: 1, width: 4, slots: 3, ranges: [[0, 1, 1, 2]] },
    {
      batch: 2,
      heads: 4,
      keyHeads: 2,
      width: 16,
      slots: 40,
      ranges: [
        [0, 7, 30, 31],
        [2, 30, 30, 40],
      ],
    },
    {
      batch: 3,
      heads: 6,
      keyHeads: 2,
      width: 20,
      slots: 9,
      ranges: [
        [0, 0, 0, 1],
        [0, 4, 5, 9],
        [3, 3, 5, 8],
      ],
    },
  ])(
    'attention of one token to a cache of $slots slots, $heads heads on $keyHeads of width $width',
    ({ batch, heads, keyHeads, width, slots, ranges }) => {
      const q = draw('q', [batch, heads * width], 2) as tf.Tensor2D;
      const k = draw('k', [batch, keyHeads * width], 2) as tf.Tensor2D;
      const v = draw('v', [batch, keyHeads * width]) as tf.Tensor2D;
      const shape = [batch, keyHeads, slots, width];
      const cache = { keys: draw('keys', shape, 2), values: draw('values', shape) };
      const written = (before: tf.Tensor, now: tf.Tensor): tf.Tensor4D => {
        const buffer = tf.buffer(shape, 'float32', before.dataSync().slice() as Float32Array);
        const values = now.dataSync();
        for (const [b, range] of ranges.entries()) {
          for (let i = 0; i < keyHeads * width; i++) {
            const place = [b, Math.floor(i / width), (range[3] as number) - 1, i % width];
            buffer.set(values[b * keyHeads * width + i] as number, ...place);
          }
        }
        return buffer.toTensor() as tf.Tensor4D;
      };
      const keys = written(cache.keys, k);
      const values = written(cache.values, v);
      const hidden = ranges.map(([from = 0, to = 0, next = 0, end = 0]) =>
        Array.from({ length: slots }, (_, s) => ((s >= from && s < to) || (s >= next && s < end) ? 0 : -1e9)),
      );
      const bias = tf.reshape(tf.tensor2d(hidden), [batch, 1, 1, slots]) as tf.Tensor4D;
      const wanted = mergeHeads(attend(splitHeads(q, batch, heads), keys, values, bias));
      const own = cache as { keys: tf.Tensor4D; values: tf.Tensor4D };
      const out = nativeCachedAttention(q, k, v, own, tf.tensor2d(ranges, [batch, 4], 'int32'));
      expect(tf.max(tf.abs(tf.sub(out, wanted))).dataSync()[0]).toBeLessThan(1e-5);
      expect([...cache.keys.dataSync()]).toEqual([...keys.dataSync()]);
      expect([...cache.values.dataSync()]).toEqual([...values.dataSync()]);
    },
  );

  test.each([
    [1, 4, 3],
    [20, 64, 100],
    [300, 40, 1000],
    [450, 300, 130],
  ])('cross-entropy of %i rows of width %i over %i classes', (rows, width, classes) => {
    const random = new Random(5, 'targets', `${rows}`);
    const targets = tf.tensor1d(
      Array.from({ length: rows }, () => random.int(0, classes)),
      'int32',
    );
    const weights = tf.abs(draw('weights', [rows])) as tf.Tensor1D;
    const inputs = [draw('hidden', [rows, width]), draw('table', [classes, width], 0.3)];
    const composed: Op = (h, t) =>
      tf.sum(
        tf.mul(crossEntropy(tf.matMul(h as tf.Tensor2D, t as tf.Tensor2D, false, true), targets), weights),
      );
    expectTwins(
      inputs,
      (h, t) => nativeLinearCrossEntropy(h as tf.Tensor2D, t as tf.Tensor2D, targets, weights, true),
      composed,
    );
    expectTwins(
      inputs.slice(0, 1),
      h => nativeLinearCrossEntropy(h as tf.Tensor2D, inputs[1] as tf.Tensor2D, targets, weights, false),
      h => composed(h as tf.Tensor, inputs[1] as tf.Tensor),
    );
  });

  test('what is no number stays none', () => {
    const x = tf.tensor2d([[1, Number.NaN, 2, 3, 4]]);
    const outs = [
      nativeSwiGlu(x, x),
      nativeRmsNorm(x, tf.ones([5]), 1e-5),
      nativeGelu(x, tf.zeros([5]), 'exact'),
      nativeLinearCrossEntropy(x, tf.ones([3, 5]), tf.tensor1d([1], 'int32'), tf.ones([1]), true),
    ];
    for (const out of outs) expect([...out.dataSync()].some(Number.isNaN)).toBe(true);
  });

  test('inputs that do not fit are refused in words', () => {
    expect(() =>
      nativeOp('GroundRmsNorm', [tf.ones([2, 3]), tf.ones([4])], { float: { eps: 1e-5 } }, 2),
    ).toThrow(/rows and gain differ in width/);
    const one = tf.ones([1, 4]) as tf.Tensor2D;
    const cache = {
      keys: tf.zeros([1, 1, 2, 4]) as tf.Tensor4D,
      values: tf.zeros([1, 1, 2, 4]) as tf.Tensor4D,
    };
    expect(() =>
      nativeCachedAttention(one, one, one, cache, tf.tensor2d([[0, 1, 1, 3]], [1, 4], 'int32')),
    ).toThrow(/no such slot/);
    expect(() => nativeLinear(one, tf.ones([3, 5]) as tf.Tensor2D, undefined, true)).toThrow(
      /differ in width/,
    );
    const table = tf.ones([3, 2]);
    const outside = tf.tensor1d([7], 'int32');
    expect(() =>
      nativeLinearCrossEntropy(tf.ones([1, 2]), table as tf.Tensor2D, outside, tf.ones([1]), true),
    ).toThrow(/a target is no class/);
  });
});
