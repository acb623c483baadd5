import { beforeAll, describe, expect, it } from 'vitest';
import { tensorflowBackend } from '../../src/engine/backend.ts';
import { startEngine } from '../../src/engine/engine.ts';
import { findInstalled } from '../../src/engine/installed.ts';
import * as tf from '../../src/engine/tf.ts';

describe.skipIf(findInstalled().length === 0)('kernels of our own on libtensorflow', () => {
  beforeAll(async () => {
    await startEngine({ engine: 'tensorflow', device: 'cpu' });
  });

  /** The ops that a function runs, and what it computes. */
  function opsOf<T extends tf.TensorContainer>(f: () => T): { ops: string[]; result: T } {
    const backend = tensorflowBackend();
    if (!backend) throw new Error('not on libtensorflow');
    const real = backend.binding;
    const ops: string[] = [];
    backend.binding = {
      ...real,
      executeOp: (op, ...rest) => {
        ops.push(op);
        return real.executeOp(op, ...rest);
      },
      tensorDataSync: id => {
        ops.push('read');
        return real.tensorDataSync(id);
      },
    };
    try {
      return { result: tf.tidy(f), ops };
    } finally {
      backend.binding = real;
    }
  }

  it.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])(
    'multiplies matrices (transposed: %s, %s) by MatMul, batches by BatchMatMulV2, with equal results',
    (ta, tb) => {
      tf.tidy(() => {
        const a = tf.tensor2d([1, 2, 3, 4, 5, 6], ta ? [3, 2] : [2, 3]);
        const b = tf.tensor2d([1, 0, 2, 5, 3, 1], tb ? [2, 3] : [3, 2]);
        const matrix = opsOf(() => tf.matMul(a, b, ta, tb));
        const batches = [tf.expandDims(a, 0), tf.expandDims(b, 0)] as const;
        const batch = opsOf(() => tf.matMul(...batches, ta, tb));
        expect([matrix.ops, batch.ops]).toEqual([['MatMul'], ['BatchMatMulV2']]);
        expect(matrix.result.dataSync()).toEqual(batch.result.dataSync());
      });
    },
  );

  it('gathers without reading the indices back, and still refuses wrong ones', () => {
    tf.tidy(() => {
      const table = tf.tensor2d([1, 2, 3, 4], [2, 2]);
      const rows = tf.tensor1d([1, 0], 'int32');
      expect(opsOf(() => tf.gather(table, rows)).ops).toEqual(['GatherV2']);
      expect(tf.gather(table, rows, 1).dataSync()).toEqual(new Float32Array([2, 1, 4, 3]));
      expect(() => tf.gather(table, tf.tensor1d([2], 'int32'))).toThrow(/not in \[0, 2\)/);
    });
  });
});
