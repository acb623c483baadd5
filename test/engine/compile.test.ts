import { afterEach, describe, expect, it } from 'vitest';
import { tensorflowBackend } from '../../src/engine/backend.ts';
import { CompiledFunctions } from '../../src/engine/compile.ts';
import { tensorCount } from '../../src/engine/memory.ts';
import { hasNativeOps, nativeOp } from '../../src/engine/native-ops.ts';
import { gatherRows } from '../../src/engine/ops.ts';
import * as tf from '../../src/engine/tf.ts';
import { Random } from '../../src/random.ts';
import { startTestEngine } from '../helpers/engine.ts';

const engineIsThere = (await startTestEngine()).name === 'tensorflow';
let functions = new CompiledFunctions();

afterEach(() => {
  functions.dispose();
  functions = new CompiledFunctions();
});

function randomTensor(name: string, shape: number[]): tf.Tensor {
  const random = new Random('compile test', name);
  return tf.tensor(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()),
    shape,
  );
}

/** Loss and gradients of a two-layer network over gathered rows: many ops, constants, list inputs, reductions. */
function network(x: tf.Tensor, w1: tf.Tensor, w2: tf.Tensor, rows: tf.Tensor): tf.Tensor[] {
  const { value, grads } = tf.engine().gradients(() => {
    const h = tf.relu(tf.matMul(x as tf.Tensor2D, w1 as tf.Tensor2D));
    const picked = gatherRows(tf.concat([h, tf.mul(h, 0.5)], 0) as tf.Tensor2D, rows);
    const p = tf.softmax(tf.matMul(picked as tf.Tensor2D, w2 as tf.Tensor2D));
    return tf.mean(tf.square(tf.sub(p, tf.scalar(0.3)))) as tf.Scalar;
  }, [w1, w2]);
  return [value, ...grads];
}

function values(tensors: tf.Tensor[]): number[][] {
  const out = tensors.map(t => [...t.dataSync()]);
  tf.dispose(tensors);
  return out;
}

describe('compiled functions', () => {
  it('compute what the eager function computes, on new inputs too', () => {
    const rows = tf.tensor([0, 5, 2, 2, 7], [5], 'int32');
    for (let round = 0; round < 4; round++) {
      const inputs = [
        randomTensor(`x${round}`, [4, 6]),
        randomTensor(`a${round}`, [6, 8]),
        randomTensor(`b${round}`, [8, 3]),
      ] as [tf.Tensor, tf.Tensor, tf.Tensor];
      const eager = values(tf.tidy(() => network(...inputs, rows)));
      const compiled = values(functions.call('network', [...inputs, rows], () => network(...inputs, rows)));
      for (const [i, expected] of eager.entries()) {
        for (const [j, e] of expected.entries()) expect(compiled[i]?.[j]).toBeCloseTo(e, 5);
      }
      tf.dispose(inputs);
    }
    rows.dispose();
  });

  it('run f once a shape on libtensorflow, and tell shapes apart', () => {
    let runs = 0;
    const double = (n: number): number => {
      const x = tf.ones([n]);
      const [y] = functions.call('double', [x], () => {
        runs++;
        return [tf.mul(x, 2)];
      });
      const sum = tf.tidy(() => tf.sum(y as tf.Tensor).dataSync()[0] as number);
      tf.dispose([x, y as tf.Tensor]);
      return sum;
    };
    expect([double(3), double(3), double(4), double(3), double(4)]).toEqual([6, 6, 8, 6, 8]);
    expect(runs).toBe(tf.getBackend() === 'tensorflow' ? 2 : 5);
  });

  it('forget the recording unused for longest', () => {
    const few = new CompiledFunctions(2);
    let runs = 0;
    const call = (n: number): void => {
      const x = tf.ones([n]);
      tf.dispose([x, ...few.call('f', [x], () => [tf.add(x, ++runs && 1)])]);
    };
    for (const n of [1, 2, 1, 3, 1, 2]) call(n);
    expect(runs).toBe(tf.getBackend() === 'tensorflow' ? 4 : 6);
    few.dispose();
  });

  it('take what they forget out of the engine', () => {
    const backend = tensorflowBackend();
    if (!backend) return;
    const real = backend.binding;
    const registered = new Set<string>();
    backend.binding = {
      ...real,
      registerFunction(name, graph, inputs, outputs) {
        registered.add(name);
        real.registerFunction(name, graph, inputs, outputs);
      },
      removeFunction(name) {
        registered.delete(name);
        real.removeFunction(name);
      },
    };
    const few = new CompiledFunctions(3);
    const most: number[] = [];
    try {
      for (let n = 1; n <= 8; n++) {
        const x = tf.ones([n]);
        tf.dispose([x, ...few.call('f', [x], () => [tf.neg(x)])]);
        most.push(registered.size);
      }
      few.dispose();
    } finally {
      backend.binding = real;
    }
    expect(most).toEqual([1, 2, 3, 3, 3, 3, 3, 3]);
    expect([...registered]).toEqual([]);
  });

  describe.runIf(engineIsThere)('name what stands in the way', () => {
    const x = (): tf.Tensor => tf.tensor([0.5, 2]);
    const op = (name: string, input: tf.Tensor): tf.Tensor => nativeOp(name, [input], {}, 1)[0] as tf.Tensor;

    it('an op whose shapes are not known, and none is left behind', () => {
      const input = x();
      const call = (): unknown => functions.call('odd', [input], () => [op('Digamma', tf.neg(input))]);
      const before = tensorCount();
      for (let i = 0; i < 2; i++) {
        expect(call).toThrow(/op Digamma of "odd" cannot be recorded/);
        expect(tensorCount()).toBe(before);
      }
      expect(values(functions.call('odd', [input], () => [tf.neg(input)]))).toEqual([[-0.5, -2]]);
      input.dispose();
    });

    it('an op whose result is read back', () => {
      const input = x();
      const call = (): unknown =>
        functions.call('peek', [input], () => [tf.mul(input, tf.exp(input).dataSync()[0] ?? 0)]);
      expect(call).toThrow('"peek" cannot be recorded: it reads the result of op Exp back');
      input.dispose();
    });

    it('an op that XLA has not', () => {
      const compiled = new CompiledFunctions(2, {}, 'xla');
      const input = x();
      const rows = tf.tensor([0, 1], [2], 'int32');
      const sum = (): tf.Tensor =>
        nativeOp(
          'GroundSumRows',
          [tf.reshape(input, [2, 1]), rows],
          { int: { count: 2 } },
          1,
        )[0] as tf.Tensor;
      if (hasNativeOps()) {
        expect(() => compiled.call('sums', [input, rows], () => [sum()])).toThrow(
          'XLA has no GroundSumRows, which "sums" needs',
        );
      }
      expect(values(compiled.call('negated', [input], () => [tf.neg(input)]))).toEqual([[-0.5, -2]]);
      compiled.dispose();
      tf.dispose([input, rows]);
    });
  });

  it('read a tensor that is neither input nor made inside as it was', () => {
    const kept = tf.tensor([10, 20]);
    tf.dispose(tf.add(kept, 1));
    const x = tf.tensor([1, 2]);
    const first = values(functions.call('captured', [x], () => [tf.add(x, kept)]));
    const second = values(functions.call('captured', [x], () => [tf.add(x, kept)]));
    expect(first).toEqual([[11, 22]]);
    expect(second).toEqual(first);
    tf.dispose([kept, x]);
  });

  it('refuse inputs that share their storage, which later calls could not tell apart', () => {
    const x = tf.tensor([1, 2]);
    const alias = tf.clone(x);
    const call = (): unknown => functions.call('aliased', [x, alias], () => [tf.add(x, alias)]);
    if (tf.getBackend() === 'tensorflow') expect(call).toThrow('share their storage');
    else expect(values(call() as tf.Tensor[])).toEqual([[2, 4]]);
    tf.dispose([x, alias]);
  });

  it('hand an input back as an output', () => {
    const x = tf.tensor([1, 2, 3]);
    for (let i = 0; i < 2; i++) {
      expect(values(functions.call('same', [x], () => [tf.clone(x), tf.neg(x)]))).toEqual([
        [1, 2, 3],
        [-1, -2, -3],
      ]);
    }
    x.dispose();
  });

  it('leave no tensor behind', () => {
    const inputs = [randomTensor('x', [4, 6]), randomTensor('a', [6, 8]), randomTensor('b', [8, 3])] as [
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
    ];
    const rows = tf.tensor([1, 1], [2], 'int32');
    const before = tensorCount();
    for (let i = 0; i < 5; i++) {
      tf.dispose(functions.call('leak', [...inputs, rows], () => network(...inputs, rows)));
      expect(tensorCount()).toBe(before);
    }
    tf.dispose([...inputs, rows]);
  });
});
