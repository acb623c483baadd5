import type { RecordedGraph } from '../../engine/compile.ts';
import { tensorBytes } from '../../engine/dry/dtypes.ts';
import type { GraphNode } from '../../engine/graphdef.ts';

/** What a recorded function holds at the moment when it holds most, bytes; its inputs not counted. */
export interface PeakMemory {
  readonly bytes: number;
  /** Of these, results that it will return: gradients, new values and moments. */
  readonly results: number;
  /** The op that ran then. */
  readonly op: string;
  /** Held by the function itself, whether it runs or not. */
  readonly constants: number;
}

/** Ops whose result is their first input under another shape: nothing is copied. */
const VIEWS = new Set(['ExpandDims', 'Identity', 'Reshape', 'Squeeze']);
/** Ops that write over an input which nobody else will read. */
const IN_PLACE = new Set(
  [
    'Abs Add AddN AddV2 Cos Erf Exp Log Maximum Minimum Mul Neg Pow RealDiv Relu Rsqrt Sigmoid Sin Softmax Sqrt',
    'Square Sub Tanh',
  ].flatMap(names => names.split(' ')),
);

/** A piece of memory and how many readers it still has. */
interface Buffer {
  readonly bytes: number;
  readers: number;
  /** Not the function's to free: an input or a constant. */
  readonly foreign: boolean;
  result: boolean;
}

/**
 * Follows TensorFlow's executor through a graph: a tensor is freed after its last reader, element-wise ops write over
 * inputs that die with them, and what no output needs is not run. Its threads take nodes in no fixed order; of the
 * order in which they become ready and that of the recording, the one that holds more counts.
 */
export function peakMemory(graph: RecordedGraph): PeakMemory {
  const ready = readyOrder(graph);
  const needed = new Set(ready);
  const peaks = [ready, graph.nodes.filter(node => needed.has(node))].map(order => peakInOrder(graph, order));
  return peaks.reduce((a, b) => (b.bytes > a.bytes ? b : a));
}

function peakInOrder(graph: RecordedGraph, order: readonly GraphNode[]): PeakMemory {
  const readers = new Map<string, number>();
  for (const node of order) for (const name of node.inputs) readers.set(name, (readers.get(name) ?? 0) + 1);
  const results = new Set(graph.outputNodes);
  const buffers = new Map<string, Buffer>();
  let [live, kept, constants] = [0, 0, 0];
  let peak = { bytes: 0, results: 0, op: '' };
  const free = (buffer: Buffer): void => {
    if (buffer.readers > 0 || buffer.foreign || buffer.result) return;
    live -= buffer.bytes;
  };
  for (const node of order) {
    const read = node.inputs.flatMap(name => buffers.get(name) ?? []);
    const made = node.outputs.map((output, i) => {
      const bytes = tensorBytes(output);
      const foreign = node.op === 'Placeholder' || node.op === 'Const';
      if (node.op === 'Const') constants += bytes;
      const taken = VIEWS.has(node.op)
        ? read[0]
        : IN_PLACE.has(node.op)
          ? read.find(b => !b.foreign && !b.result && b.readers === 1 && b.bytes === bytes)
          : undefined;
      const buffer = taken ?? { bytes, readers: 0, foreign, result: false };
      if (!taken && !foreign) live += bytes;
      const name = outputName(node, i);
      buffer.readers += readers.get(name) ?? 0;
      buffers.set(name, buffer);
      return buffer;
    });
    if (results.has(node.name)) {
      for (const buffer of made) {
        // A result may be an input that is handed through, or be returned twice.
        if (!buffer.foreign && !buffer.result) kept += buffer.bytes;
        buffer.result = true;
      }
    }
    if (live > peak.bytes) peak = { bytes: live, results: kept, op: node.op };
    for (const buffer of read) buffer.readers--;
    for (const buffer of new Set([...read, ...made])) free(buffer);
  }
  return { ...peak, constants };
}

function outputName(node: GraphNode, index: number): string {
  return index === 0 ? node.name : `${node.name}:${index}`;
}

/** The node that an input comes from: "n5", "n5:1", or "^n5" where it is only waited for. */
function nodeOf(input: string): string {
  return input.replace(/^\^|:\d+$/g, '');
}

/** The nodes that some output needs, each after its inputs, first come, first served. */
export function readyOrder(graph: RecordedGraph): GraphNode[] {
  const byName = new Map(graph.nodes.map(node => [node.name, node]));
  const sources = (node: GraphNode): GraphNode[] =>
    [...new Set(node.inputs.map(nodeOf))].flatMap(name => byName.get(name) ?? []);
  const needed = new Set<GraphNode>();
  const open = graph.outputNodes.flatMap(name => byName.get(name) ?? []);
  for (let node = open.pop(); node; node = open.pop()) {
    if (needed.has(node)) continue;
    needed.add(node);
    open.push(...sources(node));
  }
  const waiting = new Map<GraphNode, number>();
  const followers = new Map<GraphNode, GraphNode[]>();
  const ready: GraphNode[] = [];
  for (const node of graph.nodes) {
    if (!needed.has(node)) continue;
    const before = sources(node);
    waiting.set(node, before.length);
    if (before.length === 0) ready.push(node);
    for (const source of before) followers.set(source, [...(followers.get(source) ?? []), node]);
  }
  // Grows while it is walked.
  for (const node of ready) {
    for (const follower of followers.get(node) ?? []) {
      const left = (waiting.get(follower) ?? 0) - 1;
      waiting.set(follower, left);
      if (left === 0) ready.push(follower);
    }
  }
  return ready;
}
