import type { GraphBuilder } from '../builder.ts';
import type { LoweredCall, LoweringTable } from './lowering.ts';

/** Matrix products. */
export const LINEAR: LoweringTable = {
  BatchMatMul: (call, g) => matMul(call, g),

  Einsum: (call, g) => g.node('Einsum', [...call.list], { equation: call.string('equation') }),

  _FusedMatMul: (call, g) => {
    let product = matMul(call, g);
    if (call.has('bias')) product = g.node('Add', [product, call.input('bias')]);
    return activate(call, g, product);
  },
};

function matMul(call: LoweredCall, g: GraphBuilder): string {
  const [transposeA, transposeB] = [call.flag('transposeA'), call.flag('transposeB')];
  const [rankA, rankB] = [call.value('a').shape.length, call.value('b').shape.length];
  // Gemm reads a transposed matrix as it lies, so that weights keep their [out, in] layout.
  if (rankA === 2 && rankB === 2 && (transposeA || transposeB)) {
    return g.node('Gemm', [call.input('a'), call.input('b')], {
      transA: transposeA ? 1n : 0n,
      transB: transposeB ? 1n : 0n,
    });
  }
  const a = transposeA ? g.transpose(call.input('a'), swapLast(rankA)) : call.input('a');
  const b = transposeB ? g.transpose(call.input('b'), swapLast(rankB)) : call.input('b');
  return g.node('MatMul', [a, b]);
}

function swapLast(rank: number): number[] {
  return [...Array.from({ length: rank - 2 }, (_, axis) => axis), rank - 1, rank - 2];
}

function activate(call: LoweredCall, g: GraphBuilder, x: string): string {
  const activation = call.string('activation');
  switch (activation) {
    case 'linear':
      return x;
    case 'relu':
      return g.node('Relu', [x]);
    case 'relu6':
      return g.node('Clip', [x, g.scalar(0, 'float32'), g.scalar(6, 'float32')]);
    case 'elu':
      return g.node('Elu', [x]);
    case 'sigmoid':
      return g.node('Sigmoid', [x]);
    case 'leakyrelu':
      return g.node('LeakyRelu', [x], { alpha: call.number('leakyreluAlpha') });
    case 'prelu':
      return g.node('PRelu', [x, call.input('preluActivationWeights')]);
    default:
      throw call.failure(`ONNX has no activation ${activation}`);
  }
}
