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
    const products = productsOfNode(node, outputs);
    if (products.length > 0) flops += products.reduce((sum, product) => sum + flopsOf(product), 0);
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
    for (const product of productsOfNode(node, outputs)) {
      const key = JSON.stringify(product);
      const before = sums.get(key)?.flops ?? 0;
      sums.set(key, { product, flops: before + flopsOf(product) });
    }
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

/** The matrix products that an op consists of; none for an op that streams memory. */
function productsOfNode(node: GraphNode, outputs: ReadonlyMap<string, NodeOutput>): Product[] {
  const shapeOf = (index: number): readonly number[] => outputs.get(node.inputs[index] ?? '')?.shape ?? [];
  switch (node.op) {
    case 'MatMul':
    case 'BatchMatMulV2':
      return [matrixProduct(node, shapeOf(0))];
    case 'GroundAttention':
      return attentionProducts(node, shapeOf(0), 2);
    case 'GroundAttentionGradient':
      return attentionProducts(node, shapeOf(1), 5);
    case 'GroundLinear':
    case 'GroundLinearInputGradient':
    case 'GroundLinearWeightGradient':
      return [linearProduct(node, shapeOf(0), shapeOf(1))];
    case 'GroundLinearCrossEntropy': {
      const [rows = 0, inner = 0] = shapeOf(0);
      const columns = shapeOf(1)[0] ?? 0;
      const count = 1 + Number(node.attributes.gradients?.value ?? 0);
      return Array.from({ length: count }, () => ({ batch: 1, rows, inner, columns }));
    }
    default:
      return [];
  }
}

/** Scores and what is done with them, [length, width] × [width, length] for every head; half of it under a causal mask. */
function attentionProducts(
  node: GraphNode,
  [all = 0, wide = 0]: readonly number[],
  times: number,
): Product[] {
  const attribute = (name: string): number => Number(node.attributes[name]?.value ?? 1);
  const [batch, heads] = [attribute('batch'), attribute('heads')];
  const length = all / batch;
  const columns = node.attributes.causal?.value === true ? Math.ceil(length / 2) : length;
  return Array.from({ length: times }, () => ({
    batch: batch * heads,
    rows: length,
    inner: wide / heads,
    columns,
  }));
}

/** The product of a fused linear layer or of one of its gradients, [rows, inner] × [inner, columns]. */
function linearProduct(
  { op, outputs }: GraphNode,
  [first = 0, second = 0]: readonly number[],
  [, other = 0]: readonly number[],
): Product {
  const columns = outputs[0]?.shape[1] ?? 0;
  // The gradient of the weight adds over rows, the other two over the width of their first input.
  return op === 'GroundLinearWeightGradient'
    ? { batch: 1, rows: second, inner: first, columns: other }
    : { batch: 1, rows: first, inner: second, columns };
}

function matrixProduct(node: GraphNode, shape: readonly number[]): Product {
  const turned = ['transpose_a', 'adj_x'].some(name => node.attributes[name]?.value === true);
  const made = node.outputs[0]?.shape ?? [];
  return {
    batch: made.slice(0, -2).reduce((n, length) => n * length, 1),
    rows: made.at(-2) ?? 1,
    inner: shape.at(turned ? -2 : -1) ?? 1,
    columns: made.at(-1) ?? 1,
  };
}
