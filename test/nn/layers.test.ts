import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import * as tf from '../../src/engine/tf.ts';
import { causalBias, causalKeyBias, mergeHeads, splitHeads } from '../../src/nn/attention.ts';
import { bicubicMatrix } from '../../src/nn/bicubic.ts';
import { sigmoidContrast, symmetricInfoNce, unitRows } from '../../src/nn/contrast.ts';
import { Linear } from '../../src/nn/linear.ts';
import { ParameterTree } from '../../src/nn/parameter.ts';
import { cutPatches } from '../../src/nn/patches.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { expectClose, randomTensor } from '../helpers/numbers.ts';

beforeAll(startTestEngine);

const scalarOf = (x: tf.Tensor): number => x.dataSync()[0] ?? Number.NaN;

describe('bicubicMatrix', () => {
  const apply = (matrix: Float32Array, map: readonly number[]): number[] =>
    Array.from({ length: matrix.length / map.length }, (_, i) =>
      map.reduce((sum, x, j) => sum + x * (matrix[i * map.length + j] ?? 0), 0),
    );

  it('resamples as PyTorch does', () => {
    const map = Array.from({ length: 9 }, (_, i) => i ** 1.5);
    const want = [
      -0.4565363526, -0.159861967, 0.4975585938, 1.619847536, 2.3951628208, 2.0839080811, 2.8855750561,
      4.3217487335, 6.0546679497, 7.1618723869, 8.8671808243, 10.2342414856, 12.5600357056, 15.0442924499,
      16.5745162964, 15.0048179626, 16.590215683, 19.2753772736, 22.1102180481, 23.84973526,
    ];
    const got = apply(bicubicMatrix({ rows: 3, columns: 3 }, { rows: 4, columns: 5 }), map);
    got.forEach((x, i) => {
      expect(x).toBeCloseTo(want[i] ?? Number.NaN, 4);
    });
  });

  it('is the identity between equal grids, and always keeps a constant', () => {
    const side = fc.integer({ min: 1, max: 6 });
    fc.assert(
      fc.property(side, side, side, side, (rows, columns, toRows, toColumns) => {
        const from = { rows, columns };
        const map = Array.from({ length: rows * columns }, (_, i) => Math.sin(i));
        const same = apply(bicubicMatrix(from, from), map);
        const flat = apply(
          bicubicMatrix(from, { rows: toRows, columns: toColumns }),
          map.map(() => 2),
        );
        return (
          same.every((x, i) => Math.abs(x - (map[i] ?? 0)) < 1e-6) && flat.every(x => Math.abs(x - 2) < 1e-5)
        );
      }),
    );
  });
});

describe('cutPatches', () => {
  it('is a strided convolution as a matrix product', () => {
    tf.tidy(() => {
      const [height, width, side] = [4, 6, 2];
      const pixels = tf.reshape(tf.range(0, 2 * 3 * height * width), [2, 3, height, width]) as tf.Tensor4D;
      const want: number[] = [];
      for (let b = 0; b < 2; b++)
        for (let gy = 0; gy < height / side; gy++)
          for (let gx = 0; gx < width / side; gx++)
            for (let c = 0; c < 3; c++)
              for (let y = 0; y < side; y++)
                for (let x = 0; x < side; x++)
                  want.push(((b * 3 + c) * height + gy * side + y) * width + gx * side + x);
      const patches = cutPatches(pixels, side);
      expect(patches.shape).toEqual([12, 12]);
      expect([...patches.dataSync()]).toEqual(want);
    });
  });

  it('drops what does not fill a patch, as a convolution does', () => {
    tf.tidy(() => {
      const pixels = randomTensor<tf.Tensor4D>('pixels', [1, 3, 5, 7]);
      const cropped = tf.slice(pixels, [0, 0, 0, 0], [1, 3, 4, 6]);
      expectClose(cutPatches(pixels, 2), cutPatches(cropped, 2), 0);
    });
  });
});

describe('attention masks and heads', () => {
  it('hides later positions and invisible keys', () => {
    tf.tidy(() => {
      const shown = (bias: tf.Tensor) =>
        [...bias.dataSync()].map(x => (x < -1e8 ? 0 : x === 0 ? 1 : Number.NaN));
      expect(shown(causalBias(3))).toEqual([1, 0, 0, 1, 1, 0, 1, 1, 1]);
      const visible = tf.tensor2d([
        [0, 1, 1],
        [1, 1, 0],
      ]);
      expect(shown(causalKeyBias(visible))).toEqual([0, 0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0]);
    });
  });

  it('mergeHeads undoes splitHeads', () => {
    tf.tidy(() => {
      const x = randomTensor<tf.Tensor2D>('x', [6, 8]);
      const split = splitHeads(x, 2, 4);
      expect(split.shape).toEqual([2, 4, 3, 2]);
      expectClose(mergeHeads(split), x, 0);
    });
  });
});

describe('Linear', () => {
  it('stores PyTorch layouts and computes no gradient that was not asked for', () => {
    const tree = new ParameterTree();
    const linear = new Linear(tree.root.at('net.0'), 2, 3, { storedShape: [3, 2, 1] });
    expect(tree.all.map(p => [p.name, p.shape])).toEqual([
      ['net.0.weight', [3, 2, 1]],
      ['net.0.bias', [3]],
    ]);
    tree.get('net.0.weight')?.assign(tf.tensor3d([1, 2, 3, 4, 5, 6], [3, 2, 1]));
    tree.get('net.0.bias')?.assign(tf.tensor1d([10, 20, 30]));
    tf.tidy(() => {
      expect([...linear.apply(tf.tensor2d([[1, -1]])).dataSync()]).toEqual([9, 19, 29]);
    });
    tree.dispose();
  });
});

describe('symmetricInfoNce', () => {
  const pairs = (blocked: number[][], weights: number[]) => ({
    blocked: tf.tensor2d(blocked),
    weights: tf.tensor1d(weights),
  });
  it('does not see pairs that pad', () => {
    tf.tidy(() => {
      const seen = unitRows(randomTensor('a', [3, 4]));
      const said = unitRows(randomTensor('b', [3, 4]));
      const similarity = tf.matMul(seen, said, false, true) as tf.Tensor2D;
      const padded = tf.pad(
        similarity,
        [
          [0, 2],
          [0, 2],
        ],
        50,
      );
      const hidden = [0, 1, 2, 3, 4].map(i => [0, 1, 2, 3, 4].map(j => (i !== j && j > 2 ? -1e9 : 0)));
      const alone = symmetricInfoNce(similarity);
      expect(scalarOf(symmetricInfoNce(padded, pairs(hidden, [1, 1, 1, 0, 0])))).toBeCloseTo(
        scalarOf(alone),
        5,
      );
    });
  });

  it('does not push equal phrases apart', () => {
    tf.tidy(() => {
      const similarity = tf.tensor2d([
        [4, 4],
        [4, 4],
      ]);
      expect(scalarOf(symmetricInfoNce(similarity))).toBeCloseTo(Math.log(2), 5);
      expect(
        scalarOf(
          symmetricInfoNce(
            similarity,
            pairs(
              [
                [0, -1e9],
                [-1e9, 0],
              ],
              [1, 1],
            ),
          ),
        ),
      ).toBeCloseTo(0, 6);
    });
  });

  it('rows of zeros stay zero and have finite gradients', () => {
    tf.tidy(() => {
      const x = tf.tensor2d([
        [0, 0],
        [3, 4],
      ]);
      expectClose(
        unitRows(x),
        tf.tensor2d([
          [0, 0],
          [0.6, 0.8],
        ]),
      );
      const [gradient] = tf.engine().gradients(() => tf.sum(unitRows(x)), [x]).grads;
      expect([...(gradient as tf.Tensor).dataSync()].every(Number.isFinite)).toBe(true);
    });
  });
});

describe('sigmoidContrast', () => {
  it('asks every pair, and overflows on none', () => {
    tf.tidy(() => {
      expect(scalarOf(sigmoidContrast(tf.zeros([4, 4])))).toBeCloseTo(4 * Math.log(2), 5);
      // Right by far, and wrong by far: 0, and the logits themselves.
      const right = tf.sub(tf.mul(tf.eye(3), 2e4), 1e4) as tf.Tensor2D;
      expect(scalarOf(sigmoidContrast(right))).toBe(0);
      expect(scalarOf(sigmoidContrast(tf.neg(right)))).toBeCloseTo(3e4, -1);
      const gradient = tf.grad(x => sigmoidContrast(x as tf.Tensor2D))(tf.neg(right));
      expect([...gradient.dataSync()].map(x => Math.abs(x))).toEqual(
        new Array(9).fill(expect.closeTo(1 / 3, 6)),
      );
    });
  });
});
