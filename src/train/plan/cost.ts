import type { RecordedGraph } from '../../engine/compile.ts';
import { tensorBytes } from '../../engine/dry/dtypes.ts';
import type { GraphNode, NodeOutput } from '../../engine/graphdef.ts';
import { readyOrder } from './liveness.ts';

/** What running a recorded function once takes. */
export interface GraphCost {
  /** Floating-point operations of matrix products, a multiplication and an addition counting as two. */
  readonly flops: number;
  /** Bytes that all other ops read and write. */
  readonly bytes: number;
  /** Ops that compute. */
  readonly ops: number;
}

/** One matrix product: [rows, inner] × [inner, columns], `batch` of them. */
export interface Product {
  readonly batch: number;
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
}

/** Nodes that only rename or hold. */
const FREE = new Set(['Const', 'ExpandDims', 'Identity', 'Placeholder', 'Reshape', 'Squeeze']);

export function flopsOf({ batch, rows, inner, columns }: Product): number {
  return 2 * batch * rows * inner * columns;
}

/** Adds up a function's ops, those left out that no output needs. */
export function graphCost(graph: RecordedGraph): GraphCost {
  const outputs = outputsByName(graph);
  let [flops, bytes, ops] = [0, 0, 0];
  for (const node of readyOrder(graph)) {
    if (FREE.has(node.op)) continue;
    ops++;
    const product = productOf(node, outputs);
    if (product) flops += flopsOf(product);
    else {
      const read = node.inputs.reduce((sum, name) => sum + bytesOf(outputs.get(name)), 0);
      bytes += read + node.outputs.reduce((sum, output) => sum + tensorBytes(output), 0);
    }
  }
  return { flops, bytes, ops };
}

/** The matrix products of a function, each shape once, those that take most operations first. */
export function productsOf(graph: RecordedGraph): { readonly product: Product; readonly flops: number }[] {
  const outputs = outputsByName(graph);
  const sums = new Map<string, { product: Product; flops: number }>();
  for (const node of readyOrder(graph)) {
    const product = productOf(node, outputs);
    if (!product) continue;
    const key = JSON.stringify(product);
    const before = sums.get(key)?.flops ?? 0;
    sums.set(key, { product, flops: before + flopsOf(product) });
  }
  return [...sums.values()].sort((a, b) => b.flops - a.flops);
}

function outputsByName(graph: RecordedGraph): ReadonlyMap<string, NodeOutput> {
  return new Map(
    graph.nodes.flatMap(node =>
      node.outputs.map((output, i) => [i === 0 ? node.name : `${node.name}:${i}`, output] as const),
    ),
  );
}

function bytesOf(output: NodeOutput | undefined): number {
  return output ? tensorBytes(output) : 0;
}

function productOf(node: GraphNode, outputs: ReadonlyMap<string, NodeOutput>): Product | undefined {
  if (node.op !== 'MatMul' && node.op !== 'BatchMatMulV2') return undefined;
  const shape = outputs.get(node.inputs[0] ?? '')?.shape ?? [];
  const turned = ['transpose_a', 'adj_x'].some(name => node.attributes[name]?.value === true);
  const made = node.outputs[0]?.shape ?? [];
  return {
    batch: made.slice(0, -2).reduce((n, length) => n * length, 1),
    rows: made.at(-2) ?? 1,
    inner: shape.at(turned ? -2 : -1) ?? 1,
    columns: made.at(-1) ?? 1,
  };
}
