import { DEFAULT_CACHE_BYTES } from '../../data/candidates.ts';
import type { TracedFunction, TracedStep } from './trace.ts';

/** Memory of a stage, bytes. All figures but the last two are sums of tensors. */
export interface PlannedMemory {
  readonly weights: number;
  /** Of what trains and is reached by the loss. */
  readonly gradients: number;
  /** AdamW's two moments. */
  readonly moments: number;
  /** Running averages of what trains; 0 where the recipe asks for none. */
  readonly average: number;
  /** Tensors of the largest micro-batch. */
  readonly batch: number;
  /** What the gradients' function holds beyond its results when it holds most: activations and what is computed from them. */
  readonly activations: number;
  /** What the update holds beyond weights, gradients and moments when it holds most: new values, and sums on the way. */
  readonly update: number;
  /** Most bytes of tensors alive at once, and when. */
  readonly peak: number;
  readonly peakIn: 'gradients' | 'update';
  /** By how much the process grows over an idle engine: the peak, what the allocator keeps, recorded functions, batches. */
  readonly resident: number;
}

/**
 * What libtensorflow's allocator keeps for tensors that come and go: holes between them, and chunks up to twice as long
 * as asked for. Measured on the tiny recipe with 4 to 32 samples: 1.0 to 1.4.
 */
const ALLOCATOR_SLACK = 1.25;
/** Bytes that TensorFlow keeps for each node of a recorded function: graph, optimised graph, kernel. Measured likewise. */
const NODE_BYTES = 6 * 1024;
/** Steps of batches that lie ready besides the one in use. */
const PREFETCHED = 2;
/** What `ground train` holds beside an idle engine and its tensors: images ready for use, once enough have been seen. */
const LOADER_BYTES = DEFAULT_CACHE_BYTES;

/**
 * Memory of a stage from its largest step.
 *
 * @param about how many micro-batches a step has, and every function that the stage will have recorded; those of the
 *   step by default
 */
export function planMemory(
  { training, functions, between, gradientBytes, batchBytes, averageBytes }: TracedStep,
  about: { readonly accumulate: number; readonly recorded?: readonly TracedFunction[] },
): PlannedMemory {
  const { accumulate, recorded = functions } = about;
  const parameters = training.modules.reduce((sum, m) => sum + m.parameters, 0);
  const trainable = training.modules.reduce((sum, m) => sum + m.trainable, 0);
  const most = (kind: TracedFunction['kind'], bytes: (f: TracedFunction) => number): number =>
    Math.max(0, ...functions.filter(f => f.kind === kind).map(bytes));
  const alive = (f: TracedFunction): number => f.around + f.peak.bytes + f.peak.constants;
  const held = (f: TracedFunction): number => f.peak.bytes - f.peak.results;
  const inGradients = most('gradients', alive);
  const peak = Math.max(between, inGradients, most('update', alive));
  const lasting = 4 * parameters + 8 * trainable + averageBytes;
  const nodes = recorded.reduce((sum, f) => sum + f.nodes, 0);
  // Without recorded functions there is one peak, and nothing tells apart what it holds.
  const eager = functions.length === 0;
  return {
    weights: 4 * parameters,
    gradients: gradientBytes,
    moments: 8 * trainable,
    average: averageBytes,
    batch: batchBytes,
    activations: eager ? Math.max(0, peak - lasting - batchBytes) : most('gradients', held),
    update: most('update', held),
    peak,
    peakIn: eager || inGradients === peak ? 'gradients' : 'update',
    resident:
      lasting +
      ALLOCATOR_SLACK * (peak - lasting) +
      nodes * NODE_BYTES +
      PREFETCHED * accumulate * batchBytes,
  };
}

/** Resident memory of `ground train` where an idle process with its engine holds `idle` bytes. */
export function processBytes(memory: PlannedMemory, idle: number): number {
  return idle + memory.resident + LOADER_BYTES;
}
