import type { GraphBuilder } from '../builder.ts';
import type { LoweredCall, Lowering, LoweringTable } from './lowering.ts';

/** Kernels that reduce, normalise or accumulate along axes. */
export const REDUCTIONS: LoweringTable = {
  All: logical('ReduceMin'),
  Any: logical('ReduceMax'),
  ArgMax: argument('ArgMax'),
  ArgMin: argument('ArgMin'),
  Max: (call, g) => reduce(call, g, 'ReduceMax', call.input('x'), 'reductionIndices'),
  Mean: (call, g) => {
    const x = call.value('x').dtype === 'float32' ? call.input('x') : g.cast(call.input('x'), 'float32');
    return reduce(call, g, 'ReduceMean', x);
  },
  Min: (call, g) => reduce(call, g, 'ReduceMin', call.input('x')),
  Prod: (call, g) => reduce(call, g, 'ReduceProd', call.input('x')),
  Sum: (call, g) => reduce(call, g, 'ReduceSum', call.input('x')),

  Cumsum: (call, g) => {
    const axis = call.axis('axis', call.value('x').shape.length);
    return g.node('CumSum', [call.input('x'), g.scalar(axis, 'int64')], {
      exclusive: call.flag('exclusive') ? 1n : 0n,
      reverse: call.flag('reverse') ? 1n : 0n,
    });
  },

  LogSoftmax: (call, g) => {
    const axis = call.axis('axis', call.output.shape.length);
    return g.node('LogSoftmax', [call.input('logits')], { axis: BigInt(axis) });
  },

  Softmax: (call, g) => {
    const axis = call.axis('dim', call.output.shape.length);
    return g.node('Softmax', [call.input('logits')], { axis: BigInt(axis) });
  },

  // Along the last axis.
  TopK: (call, g) => {
    const [values, indices] = g.nodeOf('TopK', [call.input('x'), g.extents([call.extent('k')])], 2, {
      axis: -1n,
      largest: 1n,
      sorted: call.flag('sorted') ? 1n : 0n,
    }) as [string, string];
    return [values, g.cast(indices, 'int32')];
  },
};

function reduce(call: LoweredCall, g: GraphBuilder, op: string, x: string, attribute = 'axis'): string {
  const rank = call.value('x').shape.length;
  const axes = call.numbers(attribute)?.map(axis => (axis < 0 ? axis + rank : axis));
  // No axes at all: nothing to reduce, whereas ONNX would reduce everything.
  if (axes?.length === 0 || rank === 0) return x;
  const keepdims = call.flag('keepDims') ? 1n : 0n;
  return g.node(op, axes ? [x, g.ints(axes)] : [x], { keepdims });
}

function logical(op: string): Lowering {
  return (call, g) => g.cast(reduce(call, g, op, g.cast(call.input('x'), 'int32')), 'bool');
}

function argument(op: string): Lowering {
  return (call, g) => {
    const axis = call.axis('axis', call.value('x').shape.length);
    return g.cast(g.node(op, [call.input('x')], { axis: BigInt(axis), keepdims: 0n }), 'int32');
  };
}
