import { beforeAll, describe, expect, test } from 'vitest';
import { recordKernels } from '../../src/engine/record.ts';
import * as tf from '../../src/engine/tf.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { randn } from './compare.ts';

beforeAll(async () => {
  await startTestEngine();
});

describe('recordKernels', () => {
  test('records kernels in order, with ids that connect them', () => {
    const x = randn([2, 3], 1);
    const { calls, inputs, outputs } = recordKernels({ x }, () => ({ y: tf.sum(tf.exp(x), -1, true) }));
    expect(calls.map(c => c.kernel)).toEqual(['Exp', 'Sum']);
    const [exp, sum] = calls;
    expect(exp?.inputs).toEqual({ x: inputs.x?.id });
    expect(sum?.inputs).toEqual({ x: exp?.outputs[0]?.id });
    expect(sum?.outputs[0]).toEqual(outputs.y);
    expect(outputs.y).toMatchObject({ shape: [2, 1], dtype: 'float32' });
    x.dispose();
  });

  test('sees what the forward function of a custom gradient runs', () => {
    const x = randn([2], 1);
    const twice = tf.customGrad((...args) => ({
      value: tf.add(args[0] as tf.Tensor, args[0] as tf.Tensor),
      gradFunc: dy => [dy as tf.Tensor],
    }));
    const { calls } = recordKernels({ x }, () => ({ y: twice(tf.neg(x)) }));
    expect(calls.map(c => c.kernel)).toEqual(['Neg', 'Add']);
    expect(calls[1]?.inputs.a).toBe(calls[0]?.outputs[0]?.id);
    x.dispose();
  });

  test('does not see what a kernel calls inside itself', () => {
    tf.registerKernel({
      kernelName: 'TestOuter',
      backendName: tf.getBackend(),
      kernelFunc: ({ inputs }) => tf.square(tf.neg(inputs.x as tf.Tensor)),
    });
    const x = randn([2], 1);
    const { calls } = recordKernels({ x }, () => ({
      y: tf.engine().runKernel('TestOuter', { x }) as tf.Tensor,
    }));
    tf.unregisterKernel('TestOuter', tf.getBackend());
    expect(calls.map(c => c.kernel)).toEqual(['TestOuter']);
    x.dispose();
  });

  test('names weights and copies tables that are gone after the run', () => {
    const [x, w] = [randn([2], 1), randn([2], 2)];
    const recording = recordKernels({ x }, () => ({ y: tf.add(tf.mul(x, w), tf.tensor1d([5, 7])) }), {
      names: new Map([[w, 'layer.weight']]),
    });
    const constants = [...recording.constants.values()];
    expect(constants.map(c => c.name)).toEqual(['layer.weight', undefined]);
    expect(constants[0]?.read()).toEqual(w.dataSync());
    expect([...(constants[1]?.read() ?? [])]).toEqual([5, 7]);
    tf.dispose([x, w]);
  });

  test('an output may be an input or a constant', () => {
    const [x, w] = [randn([2], 1), randn([2], 2)];
    const recording = recordKernels({ x }, () => ({ x, w }));
    expect(recording.outputs.x?.id).toBe(recording.inputs.x?.id);
    expect(recording.constants.has(recording.outputs.w?.id ?? -1)).toBe(true);
    expect(x.isDisposed || w.isDisposed).toBe(false);
    tf.dispose([x, w]);
  });

  test('lists keep their order and attributes are copied', () => {
    const parts = Array.from({ length: 12 }, (_, i) => randn([1], i));
    const inputs = Object.fromEntries(parts.map((t, i) => [`part${i}`, t]));
    const { calls } = recordKernels(inputs, () => ({ y: tf.concat(parts, 0) }));
    expect(Object.values(calls[0]?.inputs ?? {})).toEqual(parts.map(t => t.id));
    expect(calls[0]?.attrs).toEqual({ axis: 0 });
    tf.dispose(parts);
  });

  test('leaves no tensor behind and restores the engine, also after a failure', () => {
    const x = randn([2], 1);
    const before = tf.memory().numTensors;
    recordKernels({ x }, () => ({ y: tf.neg(tf.neg(x)), same: x }));
    const fail = (): Record<string, tf.Tensor> => {
      tf.neg(x);
      throw new Error('on purpose');
    };
    expect(() => recordKernels({ x }, fail)).toThrow('on purpose');
    expect(tf.memory().numTensors).toBe(before);
    expect(Error.stackTraceLimit).toBe(10);
    const { calls } = recordKernels({ x }, () => ({ y: tf.neg(x) }));
    expect(calls.length).toBe(1);
    x.dispose();
  });

  test('names the kernel and the line of what cannot be recorded', () => {
    const x = tf.tensor1d(['a', 'b']);
    expect(() => recordKernels({}, () => ({ y: tf.reshape(x, [2, 1]) }))).toThrow(
      /Reshape \(.*record\.test\.ts:\d+:\d+\) works on string/,
    );
    x.dispose();
  });
});
