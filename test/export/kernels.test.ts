import { beforeAll, describe, expect, test } from 'vitest';
import { chooseInstalled, startEngine } from '../../src/engine/engine.ts';
import { findInstalled } from '../../src/engine/installed.ts';
import * as tf from '../../src/engine/tf.ts';
import { LOWERINGS } from '../../src/export/onnx/lower.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { compareWithOnnx, type Network, randint, randn, record, type Tensors } from './compare.ts';

interface Case {
  readonly name: string;
  readonly inputs: () => Tensors;
  readonly network: Network;
  /** Kernels this case is there for; by default the first word of the name. */
  readonly kernels?: readonly string[];
}

const x234 = (): Tensors => ({ x: randn([2, 3, 4], 1) });
const ab = (): Tensors => ({ a: randn([2, 3, 4], 1), b: randn([3, 1], 2) });
const positive = (): Tensors => ({ x: tf.tidy(() => tf.add(tf.abs(randn([2, 3, 4], 1)), 1.1)) });
const unit = (): Tensors => ({ x: tf.tidy(() => tf.tanh(randn([2, 3, 4], 1))) });
const integers = (): Tensors => ({ a: randint([2, 3, 4], -9, 9, 1), b: randint([3, 1], 1, 5, 2) });
const flags = (): Tensors =>
  tf.tidy(() => ({ a: tf.greater(randn([2, 3, 4], 1), 0), b: tf.greater(randn([3, 1], 2), 0) }));
const at = (inputs: Tensors, name: string): tf.Tensor => {
  const tensor = inputs[name];
  if (!tensor) throw new Error(`no input ${name}`);
  return tensor;
};
const kernel = (name: string, inputs: Tensors, attrs: tf.NamedAttrMap = {}): tf.Tensor =>
  tf.engine().runKernel(name, inputs, attrs);
/** A kernel of one tensor x. */
const unary = (name: string, inputs: () => Tensors, attrs: tf.NamedAttrMap = {}): Case => ({
  name,
  inputs,
  network: i => kernel(name, { x: at(i, 'x') }, attrs),
});
/** A kernel of a and b. */
const binary = (name: string, inputs: () => Tensors, label = ''): Case => ({
  name: `${name}${label}`,
  inputs,
  network: i => kernel(name, { a: at(i, 'a'), b: at(i, 'b') }),
});
/** An op in one tensor x [2, 3, 4]. */
const of = (name: string, op: (x: tf.Tensor) => tf.Tensor | tf.Tensor[], inputs = x234): Case => ({
  name,
  inputs,
  network: i => {
    const result = op(at(i, 'x'));
    return Array.isArray(result) ? Object.fromEntries(result.map((t, n) => [`result${n}`, t])) : result;
  },
});

const CASES: readonly Case[] = [
  ...['Abs', 'Ceil', 'Cos', 'Elu', 'Erf', 'Exp', 'Expm1', 'Floor', 'Identity', 'IsFinite'].map(k =>
    unary(k, x234),
  ),
  ...['IsInf', 'IsNan', 'Neg', 'Relu', 'Relu6', 'Round', 'Selu', 'Sigmoid', 'Sign', 'Sin'].map(k =>
    unary(k, x234),
  ),
  ...['Softplus', 'Square', 'Tan', 'Tanh', 'Atan', 'Sinh', 'Cosh', 'Asinh'].map(k => unary(k, x234)),
  ...['Log', 'Log1p', 'Reciprocal', 'Rsqrt', 'Sqrt', 'Acosh'].map(k => unary(k, positive)),
  ...['Acos', 'Asin', 'Atanh'].map(k => unary(k, unit)),
  unary('Step', x234, { alpha: 0.25 }),
  unary('LeakyRelu', x234, { alpha: 0.1 }),
  unary('ClipByValue', x234, { clipValueMin: -0.5, clipValueMax: 0.75 }),
  { ...unary('Relu', () => ({ x: randint([3, 4], -5, 5, 3) })), name: 'Relu of integers' },
  { ...unary('Neg', () => ({ x: randint([3, 4], -5, 5, 3) })), name: 'Neg of integers' },
  ...['Add', 'Equal', 'Greater', 'GreaterEqual', 'Less', 'LessEqual'].map(k => binary(k, ab)),
  ...['Maximum', 'Minimum', 'Mod', 'Multiply', 'NotEqual', 'RealDiv', 'SquaredDifference', 'Sub'].map(k =>
    binary(k, ab),
  ),
  binary('FloorDiv', ab, ' of floats'),
  ...['Add', 'Equal', 'FloorDiv', 'Greater', 'GreaterEqual', 'Less', 'LessEqual', 'Maximum', 'Minimum'].map(
    k => binary(k, integers, ' of integers'),
  ),
  ...['Mod', 'Multiply', 'NotEqual', 'SquaredDifference', 'Sub'].map(k =>
    binary(k, integers, ' of integers'),
  ),
  ...['LogicalAnd', 'LogicalOr'].map(k => binary(k, flags)),
  {
    name: 'LogicalXor',
    inputs: flags,
    network: i => tf.logicalXor(at(i, 'a'), at(i, 'b')),
    kernels: ['LogicalXor', 'LogicalNot'],
  },
  {
    name: 'Pow',
    inputs: () => ({ ...positive(), y: randn([3, 1], 5) }),
    network: i => tf.pow(at(i, 'x'), at(i, 'y')),
  },
  {
    name: 'Prelu',
    inputs: () => ({ ...x234(), alpha: randn([3, 1], 5) }),
    network: i => kernel('Prelu', { x: at(i, 'x'), alpha: at(i, 'alpha') }),
  },
  { name: 'LogicalNot', inputs: flags, network: i => tf.logicalNot(at(i, 'a')) },
  {
    name: 'AddN',
    inputs: () => ({ a: randn([2, 3], 1), b: randn([2, 3], 2), c: randn([2, 3], 3) }),
    network: i => tf.addN([at(i, 'a'), at(i, 'b'), at(i, 'c')]),
  },
  {
    name: 'Select',
    inputs: () => ({ ...ab(), ...tf.tidy(() => ({ c: tf.greater(randn([2, 1, 4], 9), 0) })) }),
    network: i => tf.where(at(i, 'c'), at(i, 'a'), at(i, 'b')),
  },
  of('Cast to integers', x => tf.cast(tf.mul(x, 5), 'int32')),
  of('Cast to flags', x => tf.cast(tf.relu(x), 'bool')),
  of('Cast from flags', x => tf.cast(tf.greater(x, 0), 'float32')),

  of('Sum everything', x => tf.sum(x)),
  of('Sum of negative axes', x => tf.sum(x, [-1, 0])),
  of('Sum keeping axes', x => tf.sum(x, [1], true)),
  of(
    'Sum of integers',
    x => tf.sum(x, 1),
    () => ({ x: randint([2, 3], -9, 9, 1) }),
  ),
  of(
    'Sum of a scalar',
    x => tf.sum(x),
    () => ({ x: randn([], 1) }),
  ),
  of('Mean of the last axis', x => tf.mean(x, -1, true)),
  of(
    'Mean of integers',
    x => tf.mean(x, 0),
    () => ({ x: randint([2, 3], -9, 9, 1) }),
  ),
  of('Max', x => tf.max(x, [0, -1])),
  of('Min', x => tf.min(x, 1, true)),
  of('Prod', x => tf.prod(x, -2)),
  of('All', x => tf.all(tf.greater(x, -1), -1)),
  of('Any', x => tf.any(tf.greater(x, 1), 0, true)),
  of('ArgMax', x => tf.argMax(x, -1)),
  of('ArgMin', x => tf.argMin(x, 1)),
  of('Softmax', x => tf.softmax(x)),
  of('LogSoftmax', x => tf.logSoftmax(x, -1)),
  of('Cumsum', x => tf.cumsum(x, 2)),
  of('Cumsum exclusive and reversed', x => tf.cumsum(x, 1, true, true)),
  of('TopK', x => {
    const { values, indices } = tf.topk(x, 2);
    return [values, indices];
  }),

  ...[false, true].flatMap(ta =>
    [false, true].flatMap(tb =>
      [[], [2], [2, 3]].map(
        (batch): Case => ({
          name: `BatchMatMul ${ta ? 'transposed ' : ''}by ${tb ? 'transposed ' : ''}of rank ${batch.length + 2}`,
          inputs: () => ({
            a: randn([...batch, ...(ta ? [5, 4] : [4, 5])], 1),
            b: randn([...batch, ...(tb ? [3, 5] : [5, 3])], 2),
          }),
          network: i => tf.matMul(at(i, 'a'), at(i, 'b'), ta, tb),
        }),
      ),
    ),
  ),
  {
    name: 'BatchMatMul with broadcast batches',
    inputs: () => ({ a: randn([3, 4, 5], 1), b: randn([1, 3, 5], 2) }),
    network: i => tf.matMul(at(i, 'a'), at(i, 'b'), false, true),
  },
  ...(['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu'] as const).map(
    (activation): Case => ({
      name: `_FusedMatMul ${activation}`,
      inputs: () => ({ a: randn([4, 5], 1), b: randn([3, 5], 2), bias: randn([3], 3) }),
      network: i =>
        tf.fused.matMul({
          a: at(i, 'a') as tf.Tensor2D,
          b: at(i, 'b') as tf.Tensor2D,
          transposeB: true,
          bias: at(i, 'bias'),
          activation,
          leakyreluAlpha: 0.3,
        }),
    }),
  ),
  {
    name: '_FusedMatMul prelu',
    inputs: () => ({ a: randn([4, 5], 1), b: randn([5, 3], 2), slope: randn([3], 3) }),
    network: i =>
      tf.fused.matMul({
        a: at(i, 'a') as tf.Tensor2D,
        b: at(i, 'b') as tf.Tensor2D,
        activation: 'prelu',
        preluActivationWeights: at(i, 'slope'),
      }),
  },
  {
    name: 'Einsum',
    inputs: () => ({ a: randn([2, 4, 5], 1), b: randn([2, 3, 5], 2) }),
    network: i => tf.einsum('bik,bjk->bij', at(i, 'a'), at(i, 'b')),
  },

  {
    name: 'GatherV2 rows',
    inputs: () => ({ x: randn([7, 4], 1), rows: randint([2, 3], 0, 7, 2) }),
    network: i => tf.gather(at(i, 'x'), at(i, 'rows') as tf.Tensor2D),
  },
  {
    name: 'GatherV2 along a negative axis',
    inputs: () => ({ x: randn([3, 7], 1), rows: randint([4], 0, 7, 2) }),
    network: i => tf.gather(at(i, 'x'), at(i, 'rows') as tf.Tensor1D, -1),
  },
  {
    name: 'GatherV2 in batches',
    inputs: () => ({ x: randn([2, 7, 4], 1), rows: randint([2, 3], 0, 7, 2) }),
    network: i => tf.gather(at(i, 'x'), at(i, 'rows') as tf.Tensor2D, 1, 1),
  },
  {
    name: 'GatherNd',
    inputs: () => ({ x: randn([3, 4, 2], 1), places: randint([5, 2], 0, 3, 2) }),
    network: i => tf.gatherND(at(i, 'x'), at(i, 'places')),
  },
  {
    name: 'ScatterNd with places hit twice',
    inputs: () => ({ places: tf.tensor2d([[1], [4], [1]], [3, 1], 'int32'), x: randn([3, 2], 1) }),
    network: i => tf.scatterND(at(i, 'places'), at(i, 'x'), [6, 2]),
  },
  {
    name: 'TensorScatterUpdate',
    inputs: () => ({
      x: randn([6, 2], 1),
      places: tf.tensor2d([[1], [4]], [2, 1], 'int32'),
      y: randn([2, 2], 2),
    }),
    network: i => tf.tensorScatterUpdate(at(i, 'x'), at(i, 'places'), at(i, 'y')),
  },
  {
    name: 'OneHot',
    inputs: () => ({ rows: randint([2, 3], -1, 6, 2) }),
    network: i => tf.oneHot(at(i, 'rows'), 5, 0.9, 0.025),
  },

  of('BroadcastTo', x => kernel('BroadcastTo', { x }, { shape: [5, 2, 3, 4] })),
  of('Tile', x => tf.tile(x, [2, 1, 3])),
  of(
    'Tile from one',
    x => tf.broadcastTo(x, [5, 3]),
    () => ({ x: randn([1, 3], 1) }),
  ),
  {
    name: 'Concat',
    inputs: () => ({ a: randn([2, 3], 1), b: randn([2, 1], 2), c: randn([2, 4], 3) }),
    network: i => tf.concat([at(i, 'a'), at(i, 'b'), at(i, 'c')], -1),
  },
  {
    name: 'Concat with nothing',
    inputs: () => ({ a: randn([2, 3], 1), b: randn([2, 0], 2) }),
    network: i => tf.concat([at(i, 'a'), at(i, 'b')], 1),
  },
  {
    name: 'Pack',
    inputs: () => ({ a: randn([2, 3], 1), b: randn([2, 3], 2) }),
    network: i => tf.stack([at(i, 'a'), at(i, 'b')], -1),
  },
  of('Unpack', x => tf.unstack(x, -2)),
  of('SplitV', x => tf.split(x, [1, 3], -1)),
  of('SplitV evenly', x => tf.split(x, 3, 1)),
  of('ExpandDims', x => tf.expandDims(x, -2)),
  of('Reshape', x => tf.reshape(x, [4, -1])),
  of(
    'Reshape of nothing',
    x => tf.reshape(x, [0, 5]),
    () => ({ x: randn([3, 0], 1) }),
  ),
  of('Transpose', x => tf.transpose(x, [2, 0, 1])),
  of('Transpose doing nothing', x => tf.transpose(x, [0, 1, 2])),
  of('Slice', x => tf.slice(x, [0, 1, 2], [-1, 2, 1])),
  of('Slice of leading axes', x => tf.slice(x, [1], [1])),
  of('StridedSlice', x => tf.stridedSlice(x, [0, 0, -1], [2, 3, 0], [1, 2, -1])),
  of('StridedSlice with masks', x => tf.stridedSlice(x, [0, 1], [1, 2], [1, 1], 1, 1, 0, 0, 2)),
  of('StridedSlice reversed whole', x => tf.stridedSlice(x, [0, 0, 0], [2, 3, 4], [1, 1, -1], 4, 4)),
  of('Reverse', x => tf.reverse(x, [0, -1])),
  of('PadV2', x =>
    tf.pad(
      x,
      [
        [1, 0],
        [0, 2],
        [3, 1],
      ],
      0.5,
    ),
  ),
  of(
    'PadV2 of integers',
    x => tf.pad(x, [[1, 2]], 7),
    () => ({ x: randint([3], 0, 9, 1) }),
  ),
  of('MirrorPad', x =>
    tf.mirrorPad(
      x,
      [
        [1, 0],
        [0, 2],
        [3, 1],
      ],
      'reflect',
    ),
  ),
  of('Fill', x => tf.add(x, tf.fill([3, 1], 2.5))),
  of('ZerosLike', x => tf.add(x, tf.zerosLike(x))),
  of('OnesLike', x => tf.add(x, tf.onesLike(x))),
  of('Range', x => tf.add(x, tf.range(0, 4, 1, 'float32'))),
  of('Range of integers', x => tf.add(x, tf.cast(tf.range(8, 0, -2, 'int32'), 'float32'))),
  of('LinSpace', x => tf.add(x, tf.linspace(-1, 1, 4))),
];

/** Where a backend fails, or departs from TensorFlow and the other backends. */
const WRONG: Readonly<Record<string, readonly RegExp[]>> = {
  tensorflow: [/^Mean of integers/],
  wasm: [/^Prelu/, /^Cast to flags/, /^_FusedMatMul (?!prelu)/, /^GatherV2 in batches/],
};

const installed = chooseInstalled(findInstalled(), 'cpu') !== undefined;

beforeAll(async () => {
  await startEngine({ engine: 'wasm' });
  if (installed) await startEngine({ engine: 'tensorflow', device: 'cpu' });
});

// TensorFlow.js's plain backend has every kernel; networks are recorded on the other two.
const BACKENDS = ['cpu', 'wasm', ...(installed ? ['tensorflow'] : [])];

describe.each(BACKENDS)('each kernel of the %s backend means the same in ONNX', backend => {
  beforeAll(async () => {
    await tf.setBackend(backend);
  });

  test.for(CASES)('$name', async ({ name, inputs, network, kernels }, { skip }) => {
    const wanted = kernels ?? [kernelOf(name)];
    const missing = wanted.find(k => !tf.getKernel(k, backend));
    if (missing) skip(`${backend} has no kernel ${missing}`);
    if (WRONG[backend]?.some(pattern => pattern.test(name))) skip(`${backend} computes something else`);
    const tensors = inputs();
    const recording = record(tensors, network);
    expect(wanted.some(k => recording.calls.some(call => call.kernel === k))).toBe(true);
    const { worst, scale } = await compareWithOnnx(
      temporaryFolder(),
      [{ sizes: {}, recording }],
      tensors,
      network,
    );
    expect(worst).toBeLessThanOrEqual(1e-5 * Math.max(1, scale));
    tf.dispose(tensors);
  });
});

test('no lowering is without a case', () => {
  const tested = new Set(CASES.flatMap(c => [...(c.kernels ?? [kernelOf(c.name)])]));
  expect(Object.keys(LOWERINGS).filter(k => !tested.has(k))).toEqual([]);
});

function kernelOf(name: string): string {
  return name.split(' ')[0] ?? name;
}
