import { GroundError } from '../../errors.ts';
import type { RecordedGraph } from '../compile.ts';
import type { Binding, OpAttribute, TensorMetadata } from '../native/binding.ts';
import { DTYPE, tensorBytes } from './dtypes.ts';
import { type DryTensor, inferOutputs } from './shapes.ts';

/** One call of a recorded function. */
export interface DryCallOfFunction {
  readonly graph: RecordedGraph;
  /** Bytes of all tensors alive when it began, its inputs among them. */
  readonly liveBytes: number;
  /** Bytes of the tensors it was called with. */
  readonly inputBytes: number;
}

/** Constants up to this many numbers keep them: more than any shape, list of axes or list of parts needs. */
const KEPT_VALUES = 4096;

/** Ids are never shared between bindings, so that one may stand before another. Far beyond what an addon counts to. */
let nextId = 2 ** 40;

export interface DryBindingOptions {
  /** Knows the tensors that are not this binding's own: those from before a recording. */
  readonly outside?: Binding;
  /** Functions are never recorded on it: each op runs by itself, as on an engine without functions. */
  readonly eagerOnly?: boolean;
  /** The fused ops of the engine whose part is played; by default those of `outside`. */
  readonly fusedOps?: string | null;
}

/**
 * A binding that computes shapes and nothing else: tensors are names with a shape, and however large they are, they
 * take no memory. Counts what a real one would hold.
 */
export class DryBinding implements Binding {
  readonly TF_FLOAT = DTYPE.float;
  readonly TF_INT32 = DTYPE.int32;
  readonly TF_INT64 = DTYPE.int64;
  readonly TF_BOOL = DTYPE.bool;
  readonly TF_COMPLEX64 = DTYPE.complex64;
  readonly TF_STRING = DTYPE.string;
  readonly TF_RESOURCE = DTYPE.resource;
  readonly TF_UINT8 = DTYPE.uint8;
  readonly TF_ATTR_STRING = 0;
  readonly TF_ATTR_INT = 1;
  readonly TF_ATTR_FLOAT = 2;
  readonly TF_ATTR_BOOL = 3;
  readonly TF_ATTR_TYPE = 4;
  readonly TF_ATTR_SHAPE = 5;
  readonly TF_ATTR_FUNC = 8;
  readonly TF_Version = 'dry';
  /** Calls of recorded functions, in order. */
  readonly calls: DryCallOfFunction[] = [];
  readonly eagerOnly: boolean;
  /** Those of the engine that will run what is written down here. */
  readonly fusedOps: string | null;
  readonly #outside: Binding | undefined;
  readonly #tensors = new Map<number, DryTensor>();
  readonly #adopted = new Map<number, DryTensor>();
  readonly #graphs = new Map<string, RecordedGraph>();
  #liveBytes = 0;
  #peakBytes = 0;

  constructor({ outside, eagerOnly = false, fusedOps }: DryBindingOptions = {}) {
    this.#outside = outside;
    this.eagerOnly = eagerOnly;
    this.fusedOps = fusedOps ?? outside?.fusedOps ?? null;
  }

  /** Bytes of all tensors alive. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Most bytes that were alive at once since the start or the last `resetPeak`. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  resetPeak(): void {
    this.#peakBytes = this.#liveBytes;
  }

  /** Tells what a function that will be registered looks like: its shapes are in the recording, not in a GraphDef. */
  expect(graph: RecordedGraph): void {
    this.#graphs.set(graph.name, graph);
  }

  /** A tensor of a shape, without values. */
  declare(shape: readonly number[], dtype: number = DTYPE.float): TensorMetadata {
    return this.#add({ shape, dtype });
  }

  readonly createTensor = (
    shape: number[],
    dtype: number,
    values: Parameters<Binding['createTensor']>[2],
  ): number => {
    const kept =
      ArrayBuffer.isView(values) && values.length <= KEPT_VALUES
        ? { values: Array.from(values, Number) }
        : {};
    return this.#add({ shape, dtype, ...kept }).id;
  };

  readonly deleteTensor = (id: number): void => {
    const tensor = this.#tensors.get(id);
    if (!tensor) {
      this.#outside?.deleteTensor(id);
      return;
    }
    this.#liveBytes -= tensorBytes(tensor);
    this.#tensors.delete(id);
  };

  /** Zeros: nothing was computed. */
  readonly tensorDataSync = (id: number): Float32Array | Int32Array | Uint8Array => {
    if (!this.#tensors.has(id) && this.#outside) return this.#outside.tensorDataSync(id);
    const { shape, dtype, values } = this.tensor(id);
    const size = shape.reduce((n, length) => n * length, 1);
    if (dtype === DTYPE.float) return values ? Float32Array.from(values) : new Float32Array(size);
    if (dtype === DTYPE.int32) return values ? Int32Array.from(values) : new Int32Array(size);
    return new Uint8Array(size);
  };

  readonly tensorDtype = (id: number): number => {
    return this.tensor(id).dtype;
  };

  readonly executeOp = (
    op: string,
    attributes: OpAttribute[],
    inputIds: number[],
    outputs: number,
  ): TensorMetadata[] => {
    const inputs = inputIds.map(id => this.tensor(id));
    const graph = this.#graphs.get(op);
    if (!graph) return inferOutputs({ op, attributes, inputs, outputs }).map(tensor => this.#add(tensor));
    const inputBytes = inputs.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    this.calls.push({ graph, liveBytes: this.#liveBytes, inputBytes });
    const nodes = new Map(graph.nodes.map(node => [node.name, node]));
    return graph.outputNodes.map(name => {
      const output = nodes.get(name)?.outputs[0];
      if (output) return this.#add(output);
      throw new GroundError('engine', `the shape of an output of ${graph.key} is not known`);
    });
  };

  readonly registerFunction = (name: string): void => {
    if (!this.#graphs.has(name)) throw new GroundError('engine', `function ${name} was not announced`);
  };

  readonly removeFunction = (name: string): void => {
    this.#graphs.delete(name);
  };

  readonly getNumOfTensors = (): number => {
    return this.#tensors.size;
  };

  readonly isUsingGpuDevice = (): boolean => {
    return false;
  };

  /** Shape and dtype of a tensor, this binding's own or one from outside. */
  tensor(id: number): DryTensor {
    const tensor = this.#tensors.get(id) ?? this.#adopted.get(id);
    if (tensor) return tensor;
    if (!this.#outside) throw new GroundError('engine', `tensor ${id} does not exist`);
    const adopted = describeTensor(this.#outside, id);
    this.#adopted.set(id, adopted);
    return adopted;
  }

  #add(tensor: DryTensor): TensorMetadata {
    const id = nextId++;
    this.#tensors.set(id, tensor);
    this.#liveBytes += tensorBytes(tensor);
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return { id, shape: [...tensor.shape], dtype: tensor.dtype };
  }
}

/** What there is to know of a tensor of another binding. An Identity tells its shape, which a binding does not. */
function describeTensor(binding: Binding, id: number): DryTensor {
  const dtype = binding.tensorDtype(id);
  const type = { name: 'T', type: binding.TF_ATTR_TYPE, value: dtype };
  const [same] = binding.executeOp('Identity', [type], [id], 1);
  if (!same) throw new GroundError('engine', `tensor ${id} has no shape`);
  binding.deleteTensor(same.id);
  const { shape } = same;
  const small = shape.reduce((n, length) => n * length, 1) <= KEPT_VALUES;
  return small ? { shape, dtype, values: Array.from(binding.tensorDataSync(id), Number) } : { shape, dtype };
}
