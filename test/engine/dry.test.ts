import { beforeAll, describe, expect, it } from 'vitest';
import { tensorflowBackend } from '../../src/engine/backend.ts';
import { CompiledFunctions } from '../../src/engine/compile.ts';
import { DryBinding } from '../../src/engine/dry/binding.ts';
import { type DryEngine, dryRun } from '../../src/engine/dry/run.ts';
import { type EngineInfo, startEngine } from '../../src/engine/engine.ts';
import { gatherOnce, gatherRows } from '../../src/engine/ops.ts';
import * as tf from '../../src/engine/tf.ts';
import { startTestEngine } from '../helpers/engine.ts';

let engine: EngineInfo;

beforeAll(async () => {
  engine = await startTestEngine();
});

type Make = (...shape: number[]) => tf.Tensor;

/** What each op makes of tensors of given shapes; run on an engine that computes and on one that does not. */
const OPS: readonly [string, (x: Make) => tf.Tensor | tf.Tensor[]][] = [
  ['broadcast sums', x => tf.add(x(3, 1, 4), x(2, 1))],
  ['comparisons', x => tf.greater(x(3, 4), x(4))],
  ['products of matrices', x => tf.matMul(x(5, 3) as tf.Tensor2D, x(4, 5) as tf.Tensor2D, true, true)],
  ['products of batches', x => tf.matMul(x(2, 3, 4) as tf.Tensor3D, x(2, 5, 4) as tf.Tensor3D, false, true)],
  ['sums over axes', x => tf.sum(x(2, 3, 4), [0, -1])],
  ['means that keep their axis', x => tf.mean(x(2, 3, 4), 1, true)],
  ['largest of all', x => tf.max(x(2, 3))],
  ['softmax', x => tf.softmax(x(2, 3, 4))],
  ['transposes', x => tf.transpose(x(2, 3, 4), [2, 0, 1])],
  ['reshapes with one free length', x => tf.reshape(x(6, 4), [3, -1])],
  ['reshapes to a scalar', x => tf.reshape(x(1), [])],
  ['slices to the end', x => tf.slice(x(5, 4), [2, 1], [-1, 2])],
  ['concatenation along the last axis', x => tf.concat([x(2, 3), x(2, 4)], -1)],
  ['splits', x => tf.split(x(7, 2), [3, 4], 0)],
  [
    'padding',
    x =>
      tf.pad(x(2, 3), [
        [1, 0],
        [0, 2],
      ]),
  ],
  ['one-hot', () => tf.oneHot(tf.tensor1d([0, 2], 'int32'), 3)],
  ['gathering', x => gatherRows(x(5, 3) as tf.Tensor2D, tf.tensor2d([0, 1, 2, 3], [2, 2], 'int32'))],
  ['new axes', x => tf.expandDims(x(2, 3), -1)],
  ['ranges', () => tf.range(0, 7, 2, 'float32')],
  ['filling', () => tf.fill([2, 3], 4)],
  ['casts', x => tf.cast(tf.greater(x(3), 0), 'float32')],
  ['selection', x => tf.where(tf.greater(x(3, 2), 0), x(3, 2), x(3, 2))],
  ['places of the largest', x => tf.argMax(x(3, 4), 1)],
  ['tiles', x => tf.tile(x(2, 3), [2, 1])],
  ['stacks', x => tf.stack([x(2), x(2)])],
  ['sums of many', x => tf.addN([x(2, 2), x(2, 2), x(2, 2)])],
  [
    'gradients',
    x => {
      const table = x(5, 3) as tf.Tensor2D;
      const index = tf.tensor1d([4, 0], 'int32');
      const inverse = tf.tensor1d([1, 2, 2, 2, 0], 'int32');
      return tf.grad(t => tf.sum(tf.square(gatherOnce(t as tf.Tensor2D, index, inverse))))(table);
    },
  ],
];

const shapesOf = (made: tf.Tensor | tf.Tensor[]): string[] =>
  (Array.isArray(made) ? made : [made]).map(t => `${t.dtype} [${t.shape}]`);

describe('the shape-only engine', () => {
  it.each(OPS)('knows the shapes of %s', async (_, op) => {
    const real = tf.tidy(() => shapesOf(op((...shape) => tf.ones(shape))));
    const dry = await dryRun(({ tensor }) => tf.tidy(() => shapesOf(op((...shape) => tensor(shape)))));
    expect(dry).toEqual(real);
  });

  it('takes no memory, however large tensors are', async () => {
    const before = process.memoryUsage();
    const bytes = await dryRun(({ binding, tensor }) =>
      tf.tidy(() => {
        tf.matMul(tensor([200_000, 300_000]) as tf.Tensor2D, tensor([300_000, 400_000]) as tf.Tensor2D);
        return binding.peakBytes;
      }),
    );
    expect(bytes).toBe(4 * (2e5 * 3e5 + 3e5 * 4e5 + 2e5 * 4e5));
    const after = process.memoryUsage();
    expect(after.external + after.arrayBuffers - before.external - before.arrayBuffers).toBeLessThan(2 ** 26);
  });

  it('counts what is alive and what was at most', async () => {
    const counts = await dryRun(({ binding, tensor }) => {
      const x = tensor([100]);
      const y = tf.tidy(() => tf.add(tf.mul(x, x), x));
      const found = { live: binding.liveBytes, peak: binding.peakBytes };
      tf.dispose([x, y]);
      return { ...found, end: binding.liveBytes };
    });
    expect(counts).toEqual({ live: 800, peak: 1200, end: 0 });
  });

  it('lets the engine that ran before go on', async () => {
    const x = tf.tensor1d([1, 2, 3]);
    await dryRun(({ tensor }) => tensor([4]).dispose());
    expect([...tf.tidy(() => tf.mul(x, 2)).dataSync()]).toEqual([2, 4, 6]);
    await expect(dryRun(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(tf.tidy(() => tf.sum(x)).dataSync()[0]).toBe(6);
    expect(tf.getBackend()).toBe(engine.name);
    x.dispose();
  });

  it('says which op it does not know', async () => {
    const unknown = ({ binding }: DryEngine): unknown => binding.executeOp('Bessel', [], [], 1);
    await expect(dryRun(unknown)).rejects.toThrow(/no rule .* Bessel/);
    expect(() => new DryBinding().tensorDtype(7)).toThrow('tensor 7 does not exist');
  });

  it('shows functions as they are recorded, and what they are called with', async () => {
    const calls = await dryRun(({ binding, tensor }) => {
      const functions = new CompiledFunctions();
      const x = tensor([8, 4]);
      const call = (): void => tf.dispose(functions.call('twice', [x], () => [tf.mul(x, 2)]));
      call();
      call();
      functions.dispose();
      x.dispose();
      return binding.calls.map(({ graph, inputBytes }) => [
        graph.key,
        inputBytes,
        graph.nodes.map(n => n.op),
      ]);
    });
    const once = ['twice', 128, ['Placeholder', 'Const', 'Mul', 'Identity']];
    expect(calls).toEqual([once, once]);
  });

  it('records nothing where told so, as engines without functions do', async () => {
    const calls = await dryRun(
      ({ binding, tensor }) => {
        const functions = new CompiledFunctions();
        const x = tensor([8]);
        tf.dispose(functions.call('twice', [x], () => [tf.mul(x, 2)]));
        x.dispose();
        return binding.calls.length;
      },
      { eagerOnly: true },
    );
    expect(calls).toBe(0);
  });
});

describe('on WebAssembly', () => {
  it('needs no libtensorflow', async () => {
    await startEngine({ engine: 'wasm' });
    try {
      const shape = await dryRun(({ tensor }) => tf.tidy(() => tf.softmax(tensor([3, 5])).shape));
      expect(shape).toEqual([3, 5]);
      expect(tf.getBackend()).toBe('wasm');
      expect(tensorflowBackend()).toBeUndefined();
      expect(tf.tidy(() => tf.sum(tf.ones([3]))).dataSync()[0]).toBe(3);
    } finally {
      await startTestEngine();
    }
  });
});

describe('recording', () => {
  it('computes nothing: values appear only when the function runs', async () => {
    if (engine.name !== 'tensorflow') return;
    const functions = new CompiledFunctions();
    const x = tf.tensor1d([1, 2]);
    let seen: number[] = [];
    const [y] = functions.call('f', [x], () => {
      const inner = tf.mul(x, 3);
      seen = inner.shape;
      expect(() => inner.dataSync()).toThrow(/reads the result of op Mul back/);
      return [inner];
    });
    expect(seen).toEqual([2]);
    expect([...(y as tf.Tensor).dataSync()]).toEqual([3, 6]);
    functions.dispose();
    tf.dispose([x, y as tf.Tensor]);
  });
});
