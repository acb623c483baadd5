import { beforeAll, describe, expect, test } from 'vitest';
import { recordKernels } from '../../src/engine/record.ts';
import * as tf from '../../src/engine/tf.ts';
import { describeExtent, evaluate } from '../../src/export/symbolic.ts';
import { type SizedRecording, unifyRecordings } from '../../src/export/unify.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { compareWithOnnx, type Network, randn, record, type Tensors } from './compare.ts';

type Sizes = Record<string, number>;

/** Records a network at the sizes that unifyRecordings asks for. */
function recordSizes(
  sizes: readonly Sizes[],
  inputs: (sizes: Sizes) => Tensors,
  network: Network,
): SizedRecording[] {
  return sizes.map(s => {
    const tensors = inputs(s);
    const recording = record(tensors, network);
    tf.dispose(tensors);
    return { sizes: s, recording };
  });
}

const ONE = [{ tokens: 9 }, { tokens: 7 }, { tokens: 4 }];
const TWO = [
  { tokens: 9, tiles: 5 },
  { tokens: 7, tiles: 5 },
  { tokens: 9, tiles: 3 },
  { tokens: 6, tiles: 4 },
];
const sequence = (s: Sizes): Tensors => ({ x: randn([1, s.tokens as number, 4], 1) });

beforeAll(async () => {
  await startTestEngine();
});

describe('sizes that depend on the input', () => {
  test('are formulas of it', () => {
    const recordings = recordSizes(
      TWO,
      s => ({ x: randn([s.tokens as number, 4], 1), y: randn([s.tiles as number, 8], 2) }),
      i => tf.concat([i.x as tf.Tensor, tf.reshape(i.y as tf.Tensor, [-1, 4]), tf.ones([3, 4])], 0),
    );
    const { outputs } = unifyRecordings(recordings);
    const [rows, width] = outputs.result?.shape ?? [];
    expect(rows && describeExtent(rows)).toBe('tokens + 2*tiles + 3');
    expect(rows && evaluate(rows, { tokens: 100, tiles: 10 })).toBe(123);
    expect(width).toBe(4);
  });

  /** Causal attention over a table of positions, with everything that is awkward about dynamic lengths. */
  const attention: Network = i => {
    const x = i.x as tf.Tensor3D;
    const [, length, width] = x.shape;
    const table = Float32Array.from({ length: length * width }, (_, n) => Math.sin(n));
    const positioned = tf.add(x, tf.tensor3d(table, [1, length, width]));
    const heads = tf.transpose(tf.reshape(positioned, [1, length, 2, width / 2]), [0, 2, 1, 3]);
    const order = tf.range(0, length, 1, 'float32');
    const later = tf.greater(tf.reshape(order, [1, length]), tf.reshape(order, [length, 1]));
    const bias = tf.mul(tf.cast(later, 'float32'), tf.fill([length, length], -1e9));
    const p = tf.softmax(
      tf.add(tf.matMul(heads, heads, false, true), tf.reshape(bias, [1, 1, length, length])),
    );
    const out = tf.reshape(tf.transpose(tf.matMul(p, heads), [0, 2, 1, 3]), [length, width]);
    const shifted = tf.concat([tf.slice(out, [1, 0], [length - 1, width]), tf.zeros([1, width])], 0);
    const tiled = tf.tile(tf.reshape(tf.sum(shifted, 0), [1, width]), [length, 1]);
    const flat = tf.reshape(
      tf.pad(tf.add(tiled, out), [
        [0, 2],
        [0, 0],
      ]),
      [1, length + 2, 2, width / 2],
    );
    return { out: flat, square: tf.reshape(tf.matMul(out, out, false, true), [1, length, length]) };
  };

  test.for([9, 4, 1, 2])('attention recorded at lengths 9, 7 and 4 runs at length %i', async tokens => {
    const recordings = recordSizes(ONE, sequence, attention);
    const inputs = sequence({ tokens });
    const { worst } = await compareWithOnnx(temporaryFolder(), recordings, inputs, attention);
    expect(worst).toBeLessThanOrEqual(1e-5);
    tf.dispose(inputs);
  });

  test('a single recording has fixed sizes', () => {
    const [recording] = recordSizes(ONE, sequence, attention);
    const graph = unifyRecordings(recording ? [recording] : []);
    expect(graph.variables).toEqual([]);
    expect(graph.outputs.square?.shape).toEqual([1, 9, 9]);
  });

  test('a weight is one constant, however often it is recorded', () => {
    const w = randn([4, 4], 3);
    const recordings = recordSizes(ONE, sequence, i =>
      tf.matMul(tf.reshape(i.x as tf.Tensor, [-1, 4]), w as tf.Tensor2D),
    );
    const { constants } = unifyRecordings(recordings);
    expect([...constants.values()].map(c => c.stored)).toEqual([[4, 4]]);
    w.dispose();
  });
});

describe('networks that are no formula of their sizes are refused by name', () => {
  const refused = (network: Network): (() => unknown) => {
    return () => unifyRecordings(recordSizes(ONE, sequence, network));
  };
  const x = (i: Tensors): tf.Tensor => i.x as tf.Tensor;

  test('another kernel at another size', () => {
    expect(refused(i => (x(i).shape[1] === 4 ? tf.exp(x(i)) : tf.neg(x(i))))).toThrow(/Neg \(.*the kernel/);
  });

  test('another number of kernels', () => {
    expect(refused(i => (x(i).shape[1] === 4 ? tf.exp(tf.neg(x(i))) : tf.neg(x(i))))).toThrow(
      /number of kernels/,
    );
  });

  test('another operand', () => {
    expect(
      refused(i => {
        const [a, b] = [tf.neg(x(i)), tf.exp(x(i))];
        return tf.sub(a, x(i).shape[1] === 4 ? a : b);
      }),
    ).toThrow(/Sub \(.*what it reads/);
  });

  test('a square of a size', () => {
    expect(refused(i => tf.add(tf.sum(x(i)), tf.fill([(x(i).shape[1] ?? 0) ** 2], 1)))).toThrow(/Fill \(/);
  });

  test('a table whose beginning changes', () => {
    expect(
      refused(i => {
        const length = x(i).shape[1] ?? 0;
        return tf.mul(x(i), tf.tensor3d(new Float32Array(length).fill(length), [1, length, 1]));
      }),
    ).toThrow(/Multiply \(.*the values of a constant/);
  });

  test('a recording that contradicts the formula of the others', () => {
    const grow = (n: number): number => Math.max(n, 6);
    expect(refused(i => tf.add(tf.sum(x(i)), tf.fill([grow(x(i).shape[1] ?? 0)], 1)))).toThrow(/Fill \(/);
  });

  test('a kernel without a counterpart', async () => {
    const t = randn([2, 2, 2, 3], 1);
    const recording = recordKernels({ t }, () => ({ y: tf.image.resizeBilinear(t as tf.Tensor4D, [4, 4]) }));
    await expect(
      compareWithOnnx(temporaryFolder(), [{ sizes: {}, recording }], { t }, i => i),
    ).rejects.toThrow(/kernel ResizeBilinear \(.*symbolic\.test\.ts:\d+:\d+\) has no counterpart in ONNX/);
    t.dispose();
  });
});
