import { describe, expect, it } from 'vitest';
import type { RecordedGraph } from '../../../src/engine/compile.ts';
import type { GraphNode } from '../../../src/engine/graphdef.ts';
import { graphCost, productsOf } from '../../../src/train/plan/cost.ts';
import { peakMemory, readyOrder } from '../../../src/train/plan/liveness.ts';

/** A node that yields `size` float32 numbers. */
function node(name: string, op: string, inputs: readonly string[], shape: readonly number[]): GraphNode {
  return { name, op, inputs, attributes: {}, outputs: [{ shape, dtype: 1 }] };
}

function graph(nodes: readonly GraphNode[], ...outputNodes: string[]): RecordedGraph {
  const inputNodes = nodes.filter(n => n.op === 'Placeholder').map(n => n.name);
  return { name: 'f', key: 'f', nodes, inputNodes, outputNodes };
}

describe('peakMemory', () => {
  it('writes over what dies, and frees after the last reader', () => {
    // MatMul takes new memory each time; Exp and Mul write over their input.
    const nodes = [
      node('x', 'Placeholder', [], [100]),
      node('a', 'MatMul', ['x', 'x'], [100]),
      node('b', 'Exp', ['a'], [100]),
      node('c', 'Mul', ['b', 'x'], [100]),
      node('d', 'MatMul', ['c', 'c'], [10]),
    ];
    expect(peakMemory(graph(nodes, 'd'))).toEqual({ bytes: 440, results: 40, op: 'MatMul', constants: 0 });
  });

  it('keeps what a later op reads', () => {
    const nodes = [
      node('x', 'Placeholder', [], [100]),
      node('a', 'MatMul', ['x', 'x'], [100]),
      node('b', 'Exp', ['a'], [100]),
      node('c', 'Exp', ['b'], [100]),
      // Without this reader of `a`, one piece of memory would do.
      node('d', 'Mul', ['a', 'c'], [100]),
    ];
    expect(peakMemory(graph(nodes, 'd')).bytes).toBe(800);
  });

  it('counts neither inputs nor views, and constants apart', () => {
    const nodes = [
      node('x', 'Placeholder', [], [1000]),
      node('k', 'Const', [], [50]),
      node('a', 'Reshape', ['x', 'k'], [10, 100]),
      node('b', 'Add', ['a', 'k'], [10, 100]),
      node('c', 'Identity', ['b'], [10, 100]),
    ];
    expect(peakMemory(graph(nodes, 'c'))).toEqual({ bytes: 4000, results: 0, op: 'Add', constants: 200 });
  });

  it('leaves out what no result needs', () => {
    const nodes = [
      node('x', 'Placeholder', [], [4]),
      node('useless', 'MatMul', ['x', 'x'], [1000]),
      node('y', 'MatMul', ['x', 'x'], [4]),
    ];
    expect(peakMemory(graph(nodes, 'y')).bytes).toBe(16);
    expect(readyOrder(graph(nodes, 'y')).map(n => n.name)).toEqual(['x', 'y']);
  });

  it('never frees a result, nor writes over it', () => {
    const nodes = [
      node('x', 'Placeholder', [], [100]),
      node('a', 'MatMul', ['x', 'x'], [100]),
      node('out', 'Identity', ['a'], [100]),
      node('b', 'Exp', ['a'], [100]),
      node('c', 'Identity', ['b'], [100]),
    ];
    expect(peakMemory(graph(nodes, 'out', 'c')).bytes).toBe(800);
  });

  it('counts the second output of a node', () => {
    const nodes: GraphNode[] = [
      node('x', 'Placeholder', [], [10]),
      {
        name: 's',
        op: 'SplitV',
        inputs: ['x'],
        attributes: {},
        outputs: [
          { shape: [6], dtype: 1 },
          { shape: [4], dtype: 1 },
        ],
      },
      node('y', 'Exp', ['s:1'], [4]),
    ];
    // The first output has no reader: it is gone when Exp runs, which writes over the second.
    expect(peakMemory(graph(nodes, 'y'))).toMatchObject({ bytes: 40, op: 'SplitV' });
  });
});

describe('graphCost', () => {
  it('counts products by their operations and other ops by their bytes', () => {
    const nodes: GraphNode[] = [
      node('x', 'Placeholder', [], [3, 5]),
      node('w', 'Placeholder', [], [7, 5]),
      {
        ...node('y', 'MatMul', ['x', 'w'], [3, 7]),
        attributes: { transpose_b: { kind: 'bool', value: true } },
      },
      node('z', 'Exp', ['y'], [3, 7]),
      node('r', 'Reshape', ['z'], [21]),
    ];
    expect(graphCost(graph(nodes, 'r'))).toEqual({ flops: 2 * 3 * 5 * 7, bytes: 4 * 2 * 21, ops: 2 });
  });

  it('lists products by shape, the costly ones first', () => {
    const big = node('b', 'BatchMatMulV2', ['x', 'x'], [2, 4, 4]);
    const nodes = [
      node('x', 'Placeholder', [], [2, 4, 4]),
      big,
      { ...big, name: 'c' },
      node('m', 'MatMul', ['y', 'y'], [2, 2]),
      node('y', 'Placeholder', [], [2, 2]),
    ];
    expect(productsOf(graph(nodes, 'b', 'c', 'm'))).toEqual([
      { product: { batch: 2, rows: 4, inner: 4, columns: 4 }, flops: 2 * 2 * 2 * 64 },
      { product: { batch: 1, rows: 2, inner: 2, columns: 2 }, flops: 16 },
    ]);
  });
});
