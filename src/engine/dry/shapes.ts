import { GroundError } from '../../errors.ts';
import type { OpAttribute } from '../native/binding.ts';
import * as tf from '../tf.ts';
import { DTYPE } from './dtypes.ts';

/** A tensor without its numbers. Small constants keep them: axes, permutations and shapes decide about shapes. */
export interface DryTensor {
  readonly shape: readonly number[];
  /** TensorFlow's dtype number. */
  readonly dtype: number;
  readonly values?: readonly number[];
}

interface DryCall {
  readonly op: string;
  readonly attributes: readonly OpAttribute[];
  readonly inputs: readonly DryTensor[];
  readonly outputs: number;
}

type Infer = (call: DryCall) => DryTensor[];

/** What an op of TensorFlow would yield, from what it gets. Throws an engine error for an op that is not known here. */
export function inferOutputs(call: DryCall): DryTensor[] {
  const infer = RULES.get(call.op);
  if (infer) return infer(call);
  throw new GroundError('engine', `no rule for the shape of TensorFlow's op ${call.op}`, {
    hint: 'add one to src/engine/dry/shapes.ts',
  });
}

function input({ op, inputs }: DryCall, index: number): DryTensor {
  const tensor = inputs[index];
  if (tensor) return tensor;
  throw new GroundError('engine', `op ${op} has no input ${index}`);
}

/** The numbers of an input that must be a constant. */
function numbers(call: DryCall, index: number): readonly number[] {
  const { values } = input(call, index);
  if (values) return values;
  throw new GroundError('engine', `input ${index} of op ${call.op} must be a small constant`);
}

function attribute({ attributes }: DryCall, name: string): OpAttribute['value'] | undefined {
  return attributes.find(a => a.name === name)?.value;
}

const one = (shape: readonly number[], dtype: number): DryTensor[] => [{ shape, dtype }];
const dim = (shape: readonly number[], axis: number): number =>
  shape[axis < 0 ? shape.length + axis : axis] ?? 1;

const same: Infer = call => one(input(call, 0).shape, input(call, 0).dtype);
const broadcast = (...shapes: (readonly number[])[]): number[] =>
  shapes.reduce<number[]>((a, b) => tf.broadcast_util.assertAndGetBroadcastShape(a, [...b]), []);
const elementwise: Infer = call => one(broadcast(...call.inputs.map(t => t.shape)), input(call, 0).dtype);
const comparison: Infer = call => one(broadcast(...call.inputs.map(t => t.shape)), DTYPE.bool);

const reduction: Infer = call => {
  const { shape, dtype } = input(call, 0);
  const reduced = new Set(numbers(call, 1).map(axis => (axis + shape.length) % shape.length));
  const kept = attribute(call, 'keep_dims') === true;
  return one(
    kept
      ? shape.map((n, axis) => (reduced.has(axis) ? 1 : n))
      : shape.filter((_, axis) => !reduced.has(axis)),
    dtype,
  );
};

const matMul: Infer = call => {
  const [a, b] = [input(call, 0), input(call, 1)];
  const turned = (names: readonly string[]) => names.some(name => attribute(call, name) === true);
  const rows = dim(a.shape, turned(['transpose_a', 'adj_x']) ? -1 : -2);
  const columns = dim(b.shape, turned(['transpose_b', 'adj_y']) ? -2 : -1);
  return one([...broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2)), rows, columns], a.dtype);
};

const reshape: Infer = call => {
  const { shape, dtype } = input(call, 0);
  const wanted = numbers(call, 1);
  const known = wanted.reduce((n, size) => (size === -1 ? n : n * size), 1);
  const size = tf.util.sizeFromShape([...shape]);
  return one(
    wanted.map(n => (n === -1 ? size / Math.max(known, 1) : n)),
    dtype,
  );
};

const gather: Infer = call => {
  const [table, indices] = [input(call, 0), input(call, 1)];
  const axis = numbers(call, 2)[0] ?? 0;
  const batch = Number(attribute(call, 'batch_dims') ?? 0);
  const shape = [
    ...table.shape.slice(0, axis),
    ...indices.shape.slice(batch),
    ...table.shape.slice(axis + 1),
  ];
  return one(shape, table.dtype);
};

const concat: Infer = call => {
  const parts = call.inputs.slice(0, -1);
  const first = input(call, 0);
  const axis = numbers(call, call.inputs.length - 1)[0] ?? 0;
  const at = axis < 0 ? axis + first.shape.length : axis;
  const length = parts.reduce((sum, part) => sum + dim(part.shape, at), 0);
  return one(
    first.shape.map((n, i) => (i === at ? length : n)),
    first.dtype,
  );
};

const split: Infer = call => {
  const { shape, dtype } = input(call, 0);
  const axis = numbers(call, 2)[0] ?? 0;
  const at = axis < 0 ? axis + shape.length : axis;
  return numbers(call, 1).map(size => ({ shape: shape.map((n, i) => (i === at ? size : n)), dtype }));
};

const expandDims: Infer = call => {
  const { shape, dtype } = input(call, 0);
  const axis = numbers(call, 1)[0] ?? 0;
  const at = axis < 0 ? axis + shape.length + 1 : axis;
  return one([...shape.slice(0, at), 1, ...shape.slice(at)], dtype);
};

const slice: Infer = call => {
  const { shape, dtype } = input(call, 0);
  const begin = numbers(call, 1);
  return one(
    numbers(call, 2).map((size, i) => (size === -1 ? dim(shape, i) - (begin[i] ?? 0) : size)),
    dtype,
  );
};

const range: Infer = call => {
  const [start = 0, limit = 0, delta = 1] = [0, 1, 2].map(i => numbers(call, i)[0]);
  return one([Math.max(0, Math.ceil((limit - start) / delta))], input(call, 0).dtype);
};

const oneHot: Infer = call => {
  const { shape } = input(call, 0);
  const axis = Number(attribute(call, 'axis') ?? -1);
  const depth = numbers(call, 1)[0] ?? 0;
  const at = axis < 0 ? shape.length : axis;
  return one([...shape.slice(0, at), depth, ...shape.slice(at)], input(call, 2).dtype);
};

const pad: Infer = call => {
  const { shape, dtype } = input(call, 0);
  const paddings = numbers(call, 1);
  return one(
    shape.map((n, i) => n + (paddings[2 * i] ?? 0) + (paddings[2 * i + 1] ?? 0)),
    dtype,
  );
};

const transpose: Infer = call => {
  const { shape, dtype } = input(call, 0);
  return one(
    numbers(call, 1).map(axis => dim(shape, axis)),
    dtype,
  );
};

const segmentSum: Infer = call => {
  const [data, segments] = [input(call, 0), input(call, 1)];
  return one([numbers(call, 2)[0] ?? 0, ...data.shape.slice(segments.shape.length)], data.dtype);
};

const argmax: Infer = call => {
  const { shape } = input(call, 0);
  const axis = numbers(call, 1)[0] ?? 0;
  const at = axis < 0 ? axis + shape.length : axis;
  return one(
    shape.filter((_, i) => i !== at),
    Number(attribute(call, 'output_type') ?? DTYPE.int64),
  );
};

const tile: Infer = call => {
  const { shape, dtype } = input(call, 0);
  return one(
    numbers(call, 1).map((times, i) => times * dim(shape, i)),
    dtype,
  );
};

/** Outputs with the shapes of these inputs, in float32. */
const likeInputs =
  (...of: readonly number[]): Infer =>
  call =>
    of.map(index => ({ shape: input(call, index).shape, dtype: DTYPE.float }));

/** Outputs with the shapes of inputs, then a number for each row of input `rows`. */
const withRows =
  (rows: number, times: number, ...of: readonly number[]): Infer =>
  call => [
    ...likeInputs(...of)(call),
    ...Array.from({ length: times }, () => ({
      shape: [dim(input(call, rows).shape, 0)],
      dtype: DTYPE.float,
    })),
  ];

const nativeAttention: Infer = call => {
  const [batch, heads] = ['batch', 'heads'].map(name => Number(attribute(call, name)));
  const { shape } = input(call, 0);
  const lse = [(batch ?? 1) * (heads ?? 1), dim(shape, 0) / (batch ?? 1)];
  return [
    { shape, dtype: DTYPE.float },
    { shape: lse, dtype: DTYPE.float },
  ];
};

const nativeCrossEntropy: Infer = call => {
  const gradients = Number(attribute(call, 'gradients'));
  const whole = (index: number, least: number): DryTensor => ({
    shape: gradients >= least ? input(call, index).shape : [0, 0],
    dtype: DTYPE.float,
  });
  return [{ shape: input(call, 3).shape, dtype: DTYPE.float }, whole(0, 1), whole(1, 2)];
};

const nativeLinear: Infer = call =>
  one([dim(input(call, 0).shape, 0), dim(input(call, 1).shape, 0)], DTYPE.float);

const nativeLinearInputGradient: Infer = call =>
  one([dim(input(call, 0).shape, 0), dim(input(call, 1).shape, 1)], DTYPE.float);

const nativeLinearWeightGradient: Infer = call => {
  const outputs = dim(input(call, 0).shape, 1);
  return [
    { shape: [outputs, dim(input(call, 1).shape, 1)], dtype: DTYPE.float },
    { shape: [outputs], dtype: DTYPE.float },
  ];
};

/** The fused ops of the addon (src/engine/native/ops_*.inc). */
const NATIVE_RULES: readonly (readonly [string, Infer])[] = [
  ['GroundAdamW', () => one([], DTYPE.float)],
  ['GroundAttention', nativeAttention],
  ['GroundAttentionGradient', likeInputs(1, 2, 3)],
  ['GroundCachedAttention', likeInputs(0)],
  ['GroundGelu', likeInputs(0)],
  ['GroundGeluGradient', likeInputs(1, 2)],
  ['GroundLayerNorm', withRows(0, 2, 0)],
  ['GroundLayerNormGradient', likeInputs(1, 2, 2)],
  ['GroundLinear', nativeLinear],
  ['GroundLinearCrossEntropy', nativeCrossEntropy],
  ['GroundLinearInputGradient', nativeLinearInputGradient],
  ['GroundLinearWeightGradient', nativeLinearWeightGradient],
  ['GroundRmsNorm', withRows(0, 1, 0)],
  ['GroundRmsNormGradient', likeInputs(1, 2)],
  ['GroundRotary', likeInputs(0)],
  [
    'GroundSumRows',
    call => one([Number(attribute(call, 'count')), dim(input(call, 0).shape, 1)], DTYPE.float),
  ],
  ['GroundSwiGlu', likeInputs(0)],
  ['GroundSwiGluGradient', likeInputs(0, 0)],
];

/** For each op of TensorFlow that our models reach through tfjs. */
const RULES: ReadonlyMap<string, Infer> = new Map([
  ...[
    'Abs Ceil Cos Erf Exp Expm1 Floor Identity Log Log1p LogSoftmax LogicalNot Neg Reciprocal Relu Round Rsqrt Sigmoid',
    'Sign Sin Softmax Softplus Sqrt Square Tanh ZerosLike OnesLike',
  ].flatMap(names => names.split(' ').map(name => [name, same] as const)),
  ...'Add AddN AddV2 Div FloorDiv Maximum Minimum Mod Mul Pow RealDiv SquaredDifference Sub'
    .split(' ')
    .map(name => [name, elementwise] as const),
  ...'Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr NotEqual'
    .split(' ')
    .map(name => [name, comparison] as const),
  ...'All Any Max Mean Min Prod Sum'.split(' ').map(name => [name, reduction] as const),
  ['ArgMax', argmax],
  ['BatchMatMulV2', matMul],
  ['BroadcastTo', call => one(numbers(call, 1), input(call, 0).dtype)],
  ['Cast', call => one(input(call, 0).shape, Number(attribute(call, 'DstT')))],
  ['ConcatV2', concat],
  ['ExpandDims', expandDims],
  ['Fill', call => one(numbers(call, 0), input(call, 1).dtype)],
  ['GatherV2', gather],
  ['IsFinite', call => one(input(call, 0).shape, DTYPE.bool)],
  ['IsNan', call => one(input(call, 0).shape, DTYPE.bool)],
  ['MatMul', matMul],
  ['OneHot', oneHot],
  ['Pack', call => one([call.inputs.length, ...input(call, 0).shape], input(call, 0).dtype)],
  ['PadV2', pad],
  ['Range', range],
  ['Reshape', reshape],
  ['Select', call => one(input(call, 1).shape, input(call, 1).dtype)],
  ['SelectV2', call => one(broadcast(...call.inputs.map(tensor => tensor.shape)), input(call, 1).dtype)],
  ['Slice', slice],
  ['SplitV', split],
  ['StatelessRandomUniform', call => one(numbers(call, 0), DTYPE.float)],
  ['Tile', tile],
  ['Transpose', transpose],
  ['UnsortedSegmentSum', segmentSum],
  ...NATIVE_RULES,
]);
