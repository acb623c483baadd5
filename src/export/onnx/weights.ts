/** Smaller weights: a graph whose parameters are stored in half precision or in eight bits. */
import { narrow } from '../../models/dtypes.ts';
import { bytesOf, ONNX_TYPES, type OnnxGraph, type OnnxInitializer, type OnnxNode } from './builder.ts';

/** How parameters are stored: as they are, halves, or eight bits with a scale for each few. Sums are float32 always. */
export type WeightType = 'fp32' | 'fp16' | 'int8';
export const WEIGHT_TYPES: readonly WeightType[] = ['fp32', 'fp16', 'int8'];

/** Weights that share a scale along the inner axis of a matrix product. */
const BLOCK = 32;
/** Matrices of fewer numbers, norms and biases are not worth a rounding. */
const SMALLEST = 256;

/** The graph with its parameters stored in another type. Tables that are no parameters stay as they are. */
export function storeWeights(graph: OnnxGraph, type: WeightType): OnnxGraph {
  if (type === 'fp32') return graph;
  return type === 'fp16' ? halved(graph) : quantized(graph);
}

/** Halves on the disk; a Cast gives each its name back, which runtimes fold when they load the file. */
function halved(graph: OnnxGraph): OnnxGraph {
  const casts: OnnxNode[] = [];
  const initializers = graph.initializers.map((tensor): OnnxInitializer => {
    if (!isLarge(tensor)) return tensor;
    const name = `${tensor.name}_half`;
    casts.push({
      op: 'Cast',
      inputs: [name],
      outputs: [tensor.name],
      attributes: { to: BigInt(ONNX_TYPES.float32) },
    });
    return { ...tensor, name, type: 'float16', read: () => halves(tensor) };
  });
  return { ...graph, nodes: [...casts, ...graph.nodes], initializers };
}

/**
 * Eight bits with float32 scales. A matrix [outputs, inputs] becomes the operand of onnxruntime's MatMulNBits, with a scale
 * for every 32 inputs of an output; a table that is looked up is read in bytes, with a scale a row.
 */
function quantized(graph: OnnxGraph): OnnxGraph {
  const matrices = new Set<string>();
  const tables = new Set<string>();
  const others = new Set<string>();
  for (const node of graph.nodes) {
    for (const [i, name] of node.inputs.entries()) {
      if (i === 1 && isProduct(node)) matrices.add(name);
      else if (i === 0 && isLookup(node)) tables.add(name);
      else others.add(name);
    }
  }
  const byName = new Map(graph.initializers.map(tensor => [tensor.name, tensor]));
  const chosen = (name: string | undefined): OnnxInitializer | undefined => {
    const tensor = byName.get(name ?? '');
    const isRead = !others.has(name ?? '');
    return tensor && isRead && isLarge(tensor) && tensor.shape.length === 2 ? tensor : undefined;
  };
  const initializers = graph.initializers.flatMap((tensor): OnnxInitializer[] => {
    if (chosen(tensor.name) === undefined) return [tensor];
    return [
      ...(matrices.has(tensor.name) ? blockParts(tensor) : []),
      ...(tables.has(tensor.name) ? rowParts(tensor) : []),
    ];
  });
  const nodes = graph.nodes.flatMap((node): OnnxNode[] => {
    if (isProduct(node)) {
      const tensor = chosen(node.inputs[1]);
      if (tensor) return [blockProduct(node, tensor)];
    }
    if (isLookup(node)) {
      const tensor = chosen(node.inputs[0]);
      if (tensor) return rowLookup(node, tensor);
    }
    return [node];
  });
  // The axis on which a looked-up row's scale is put beside it.
  const last = {
    name: LAST_AXIS,
    type: 'int64',
    shape: [1],
    read: () => bytesOf([-1], 'int64'),
  } satisfies OnnxInitializer;
  const isUsed = nodes.some(node => node.inputs.includes(LAST_AXIS));
  return { ...graph, nodes, initializers: isUsed ? [...initializers, last] : initializers };
}

const LAST_AXIS = 'int8_last_axis';

function isProduct({ op, attributes, inputs }: OnnxNode): boolean {
  return op === 'Gemm' && attributes.transA === 0n && attributes.transB === 1n && inputs.length === 2;
}

function isLookup({ op, attributes }: OnnxNode): boolean {
  return op === 'Gather' && attributes.axis === 0n;
}

function blockProduct(node: OnnxNode, { name, shape }: OnnxInitializer): OnnxNode {
  const [outputs = 0, inputs = 0] = shape;
  return {
    op: 'MatMulNBits',
    domain: 'com.microsoft',
    inputs: [node.inputs[0] ?? '', `${name}_int8`, `${name}_scales`],
    outputs: node.outputs,
    attributes: { K: BigInt(inputs), N: BigInt(outputs), bits: 8n, block_size: BigInt(BLOCK) },
  };
}

/** [outputs, blocks, 32] bytes, 128 standing for 0, and [outputs, blocks] scales; missing inputs are 0. */
function blockParts(tensor: OnnxInitializer): OnnxInitializer[] {
  const [outputs = 0, inputs = 0] = tensor.shape;
  const blocks = Math.ceil(inputs / BLOCK);
  return pair(`${tensor.name}_int8`, `${tensor.name}_scales`, () => {
    const values = floatsOf(tensor);
    const bytes = new Uint8Array(outputs * blocks * BLOCK).fill(128);
    const scales = new Float32Array(outputs * blocks);
    for (let i = 0; i < scales.length; i++) {
      const start = Math.floor(i / blocks) * inputs + (i % blocks) * BLOCK;
      const end = Math.min(start + BLOCK, (Math.floor(i / blocks) + 1) * inputs);
      const scale = scaleOf(values.subarray(start, end));
      scales[i] = scale;
      for (let j = start; j < end; j++) {
        bytes[i * BLOCK + j - start] = 128 + Math.round((values[j] ?? 0) / scale);
      }
    }
    return [bytes, scales];
  }).map((part, i) =>
    i === 0
      ? { ...part, type: 'uint8' as const, shape: [outputs, blocks, BLOCK] }
      : { ...part, shape: [outputs, blocks] },
  );
}

/** Rows of bytes that are looked up, made floats and multiplied by their scales, which are looked up too. */
function rowLookup(node: OnnxNode, { name }: OnnxInitializer): OnnxNode[] {
  const [, indices = ''] = node.inputs;
  const [out = ''] = node.outputs;
  const own = (part: string): string => `${out}_${part}`;
  const gather = (from: string, to: string): OnnxNode => ({
    op: 'Gather',
    inputs: [from, indices],
    outputs: [to],
    attributes: { axis: 0n },
  });
  return [
    gather(`${name}_rows`, own('bytes')),
    gather(`${name}_row_scales`, own('scales')),
    {
      op: 'Cast',
      inputs: [own('bytes')],
      outputs: [own('floats')],
      attributes: { to: BigInt(ONNX_TYPES.float32) },
    },
    { op: 'Unsqueeze', inputs: [own('scales'), LAST_AXIS], outputs: [own('factors')], attributes: {} },
    { op: 'Mul', inputs: [own('floats'), own('factors')], outputs: [out], attributes: {} },
  ];
}

/** [rows, width] signed bytes and [rows] scales. */
function rowParts(tensor: OnnxInitializer): OnnxInitializer[] {
  const [rows = 0, width = 0] = tensor.shape;
  return pair(`${tensor.name}_rows`, `${tensor.name}_row_scales`, () => {
    const values = floatsOf(tensor);
    const bytes = new Uint8Array(values.length);
    const scales = new Float32Array(rows);
    for (let row = 0; row < rows; row++) {
      const scale = scaleOf(values.subarray(row * width, (row + 1) * width));
      scales[row] = scale;
      for (let i = row * width; i < (row + 1) * width; i++) bytes[i] = Math.round((values[i] ?? 0) / scale);
    }
    return [bytes, scales];
  }).map((part, i) =>
    i === 0 ? { ...part, type: 'int8' as const, shape: [rows, width] } : { ...part, shape: [rows] },
  );
}

/** Two float32 tensors without shapes yet, made together where either is read; neither is kept. */
function pair(first: string, second: string, make: () => [Uint8Array, Float32Array]): OnnxInitializer[] {
  return [
    { name: first, type: 'float32', shape: [], read: () => make()[0] },
    { name: second, type: 'float32', shape: [], read: () => new Uint8Array(make()[1].buffer) },
  ];
}

/** What one step of a signed byte stands for, so that the largest of the values is 127 of them; 1 where all are 0. */
function scaleOf(values: Float32Array): number {
  const largest = values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  return largest === 0 ? 1 : Math.fround(largest / 127);
}

function halves(tensor: OnnxInitializer): Uint8Array {
  const half = narrow('F16', floatsOf(tensor), tensor.name);
  return new Uint8Array(half.buffer, half.byteOffset, half.byteLength);
}

function floatsOf(tensor: OnnxInitializer): Float32Array<ArrayBuffer> {
  return new Float32Array(Uint8Array.from(tensor.read()).buffer);
}

function isLarge({ trained, type, shape }: OnnxInitializer): boolean {
  const size = shape.reduce((n, d) => n * d, 1);
  return trained === true && type === 'float32' && shape.length > 1 && size >= SMALLEST;
}
