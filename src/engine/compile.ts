import { GroundError, messageOf } from '../errors.ts';
import { type BackendAccess, tensorflowBackend } from './backend.ts';
import { DryBinding } from './dry/binding.ts';
import { encodeGraph, type GraphAttribute, type GraphNode, type NodeOutput } from './graphdef.ts';
import { type CompileMode, explainXla } from './mode.ts';
import type { Binding, OpAttribute, TensorMetadata } from './native/binding.ts';
import { composedOnly } from './native-ops.ts';
import * as tf from './tf.ts';

/**
 * A function over tensors that libtensorflow runs as one graph.
 *
 * tfjs reaches libtensorflow only through the binding's `createTensor` and `executeOp`. When `f` is called for the first
 * time, a binding that computes shapes only and writes those calls down stands in for the real one; what it wrote is a
 * TensorFlow graph, registered as a function on the eager context and from then on executed by one call. So nothing is
 * computed while recording, and no more memory is taken than the graph itself needs.
 */
export class CompiledFunctions {
  readonly #recorded = new Map<string, Recorded>();
  readonly #limit: number;
  readonly #listener: RecordingListener;
  readonly #mode: CompileMode;

  /**
   * @param limit how many recordings are kept; the one unused for longest makes room
   * @param mode `off` records nothing
   */
  constructor(limit = 32, listener: RecordingListener = {}, mode: CompileMode = 'graph') {
    this.#limit = limit;
    this.#listener = listener;
    this.#mode = mode;
  }

  /**
   * Computes `f()`. Everything that may differ between two calls with the same `key` must come from `inputs`, by
   * identity: `f` reads those very tensors, or values of parameters that are among them. Shapes and dtypes of the
   * inputs are part of the key. Where the engine is not libtensorflow, `f` simply runs.
   */
  call(key: string, inputs: readonly tf.Tensor[], f: () => tf.Tensor[]): tf.Tensor[] {
    const backend = tensorflowBackend();
    if (!backend || backend.binding.eagerOnly || this.#mode === 'off') return tf.tidy(f);
    const fullKey = keyWithShapes(key, inputs);
    const known = this.#recorded.get(fullKey);
    if (known) {
      this.#recorded.delete(fullKey);
      this.#recorded.set(fullKey, known);
      return this.#run(known, backend, inputs);
    }
    const recorded = record(backend, key, inputs, f, { mode: this.#mode, listener: this.#listener });
    this.#recorded.set(fullKey, recorded);
    const oldest = this.#recorded.keys().next();
    if (this.#recorded.size > this.#limit && !oldest.done) {
      this.#recorded.get(oldest.value)?.dispose(backend);
      this.#recorded.delete(oldest.value);
    }
    return this.#run(recorded, backend, inputs);
  }

  /** Whether such a call has been recorded, and not been forgotten since. */
  knows(key: string, inputs: readonly tf.Tensor[]): boolean {
    return this.#recorded.has(keyWithShapes(key, inputs));
  }

  #run(recorded: Recorded, backend: BackendAccess, inputs: readonly tf.Tensor[]): tf.Tensor[] {
    this.#listener.ran?.(recorded.name);
    return recorded.run(backend, inputs);
  }

  dispose(): void {
    const backend = tensorflowBackend();
    for (const recorded of this.#recorded.values()) {
      if (backend) recorded.dispose(backend);
    }
    this.#recorded.clear();
  }
}

function keyWithShapes(key: string, inputs: readonly tf.Tensor[]): string {
  return `${key} ${inputs.map(t => `${t.dtype[0]}${t.shape.join('x')}`).join(' ')}`;
}

/** Follows what is recorded and which of it runs. */
export interface RecordingListener {
  recorded?(graph: RecordedGraph): void;
  /** @param name of the recorded graph */
  ran?(name: string): void;
}

interface Recorded {
  readonly name: string;
  run(backend: BackendAccess, inputs: readonly tf.Tensor[]): tf.Tensor[];
  dispose(backend: BackendAccess): void;
}

/** A function as it was recorded. */
export interface RecordedGraph {
  /** Its name on the eager context. */
  readonly name: string;
  readonly key: string;
  /** In the order in which they ran eagerly. */
  readonly nodes: readonly GraphNode[];
  /** Placeholders, in the order of the function's inputs; captured tensors come last. */
  readonly inputNodes: readonly string[];
  readonly outputNodes: readonly string[];
}

const observers = new Set<(graph: RecordedGraph) => void>();

/** Shows every function recorded from now on, before it first runs, until the returned function is called. */
export function observeRecordings(observer: (graph: RecordedGraph) => void): () => void {
  observers.add(observer);
  return () => observers.delete(observer);
}

const RUN_EAGERLY = 'use `--set engine.compile=off`, which runs op by op';

let functionsMade = 0;

/** Type attributes that tfjs leaves to the eager runtime to infer from the first input; a graph must have them. */
const IMPLIED_TYPES: Readonly<Record<string, string>> = { ExpandDims: 'T' };

function record(
  backend: BackendAccess,
  key: string,
  inputs: readonly tf.Tensor[],
  f: () => tf.Tensor[],
  { mode, listener }: { readonly mode: CompileMode; readonly listener: RecordingListener },
): Recorded {
  const inputIds = backend.getInputTensorIds(inputs);
  if (new Set(inputIds).size < inputIds.length) {
    throw new GroundError('engine', `two inputs of the recorded function "${key}" share their storage`, {
      hint: 'copy the values of one: what `f` reads could not be told apart on later calls',
    });
  }
  const real = backend.binding;
  const shapes = new DryBinding({ outside: real });
  const recorder = new Recorder(key, shapes, inputIds);
  backend.binding = { ...shapes, ...recorder.calls };
  let outputNodes: string[];
  try {
    const outputs = mode === 'xla' ? composedOnly(() => tf.tidy(f)) : tf.tidy(f);
    // Asking for the numbers writes values that tfjs has kept back: that too must be recorded.
    outputNodes = backend.getInputTensorIds(outputs).map(id => recorder.outputNode(id));
    tf.dispose(outputs);
  } finally {
    backend.binding = real;
  }
  const name = `ground_${key.replace(/\W/g, '_')}_${functionsMade++}`;
  const { captured, nodes, inputNodes } = recorder;
  const graph = { name, key, nodes, inputNodes, outputNodes };
  for (const observer of observers) observer(graph);
  listener.recorded?.(graph);
  real.registerFunction(name, encodeGraph(nodes), inputNodes, outputNodes);
  const attributes: OpAttribute[] =
    mode === 'xla' ? [{ name: '_XlaMustCompile', type: real.TF_ATTR_BOOL, value: true }] : [];
  const execute = (access: BackendAccess, ids: number[]): TensorMetadata[] => {
    try {
      return access.binding.executeOp(name, attributes, ids, outputNodes.length);
    } catch (cause) {
      throw mode === 'xla' ? explainXla(key, cause) : cause;
    }
  };
  return {
    name,
    run(access, tensors) {
      const ids = [...access.getInputTensorIds(tensors), ...captured];
      return execute(access, ids).map(metadata => access.createOutputTensor(metadata));
    },
    dispose: access => access.binding.removeFunction(name),
  };
}

/** Forwards calls to a binding of shapes and keeps a graph node of each. */
class Recorder {
  /** What stands in for the binding's own methods. */
  readonly calls: Required<Pick<Binding, 'createTensor' | 'executeOp' | 'tensorDataSync' | 'after'>> = {
    createTensor: (shape, dtype, values) => this.#createTensor(shape, dtype, values),
    executeOp: (op, attributes, inputIds, outputs) => this.#executeOp(op, attributes, inputIds, outputs),
    tensorDataSync: id => this.#tensorDataSync(id),
    after: (id, dependency) => this.#after(id, dependency),
  };
  readonly nodes: GraphNode[] = [];
  readonly inputNodes: string[] = [];
  /** Tensors that `f` reads although they are no inputs and were not made by it: handed in at each run as they were. */
  readonly captured: number[] = [];
  readonly #key: string;
  readonly #binding: DryBinding;
  readonly #sourceOf = new Map<number, string>();

  constructor(key: string, binding: DryBinding, inputIds: readonly number[]) {
    this.#key = key;
    this.#binding = binding;
    for (const id of inputIds) this.#placeholder(id);
  }

  #createTensor(shape: number[], dtype: number, values: tf.backend_util.BackendValues): number {
    const id = this.#binding.createTensor(shape, dtype, values);
    if (!ArrayBuffer.isView(values)) {
      throw new GroundError('engine', `"${this.#key}" cannot be recorded: it creates a tensor of strings`, {
        hint: RUN_EAGERLY,
      });
    }
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
    const attributes: Record<string, GraphAttribute> = {
      dtype: { kind: 'type', value: dtype },
      value: { kind: 'tensor', value: { dtype, shape, bytes } },
    };
    const name = this.#add('Const', [], attributes, [{ dtype, shape }]);
    this.#sourceOf.set(id, name);
    return id;
  }

  #executeOp(op: string, attributes: OpAttribute[], inputIds: number[], outputs: number): TensorMetadata[] {
    const made = this.#shapesOf(op, attributes, inputIds, outputs);
    const sources = inputIds.map(id => this.#source(id));
    const attrs = Object.fromEntries(attributes.map(a => [a.name, graphAttribute(this.#binding, op, a)]));
    const implied = IMPLIED_TYPES[op];
    if (implied !== undefined && !attrs[implied]) {
      attrs[implied] = { kind: 'type', value: this.#binding.tensorDtype(inputIds[0] as number) };
    }
    const name = this.#add(op, sources, attrs, made);
    for (const [i, metadata] of made.entries()) {
      this.#sourceOf.set(metadata.id, i === 0 ? name : `${name}:${i}`);
    }
    return made;
  }

  #shapesOf(op: string, attributes: OpAttribute[], inputIds: number[], outputs: number): TensorMetadata[] {
    try {
      return this.#binding.executeOp(op, attributes, inputIds, outputs);
    } catch (cause) {
      const why = `op ${op} of "${this.#key}" cannot be recorded: ${messageOf(cause)}`;
      throw new GroundError('engine', why, { hint: RUN_EAGERLY, cause });
    }
  }

  /** Nodes that differ in what they wait for are not merged by TensorFlow, nor is what is computed from them. */
  #after(id: number, dependency: number): TensorMetadata {
    const sources = [this.#source(id), `^${this.#source(dependency).split(':')[0]}`];
    const { dtype, shape } = this.#binding.tensor(id);
    const made = this.#binding.declare(shape, dtype);
    const name = this.#add('Identity', sources, { T: { kind: 'type', value: dtype } }, [made]);
    this.#sourceOf.set(made.id, name);
    return made;
  }

  #tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array {
    const source = this.#sourceOf.get(id);
    if (source !== undefined) {
      const op = this.nodes.find(node => node.name === source.split(':')[0])?.op;
      throw new GroundError(
        'engine',
        `"${this.#key}" cannot be recorded: it reads the result of op ${op} back`,
        {
          hint: RUN_EAGERLY,
        },
      );
    }
    return this.#binding.tensorDataSync(id);
  }

  /** The node that yields tensor `id` as an output of the graph: an Identity, since an input may be an output too. */
  outputNode(id: number): string {
    const source = this.#source(id);
    const { dtype, shape } = this.#binding.tensor(id);
    return this.#add('Identity', [source], { T: { kind: 'type', value: dtype } }, [{ dtype, shape }]);
  }

  #source(id: number): string {
    const known = this.#sourceOf.get(id);
    if (known !== undefined) return known;
    this.captured.push(id);
    return this.#placeholder(id);
  }

  #placeholder(id: number): string {
    const { dtype, shape } = this.#binding.tensor(id);
    const name = this.#add('Placeholder', [], { dtype: { kind: 'type', value: dtype } }, [{ dtype, shape }]);
    this.inputNodes.push(name);
    this.#sourceOf.set(id, name);
    return name;
  }

  #add(
    op: string,
    inputs: readonly string[],
    attributes: Record<string, GraphAttribute>,
    outputs: readonly NodeOutput[],
  ): string {
    const name = `n${this.nodes.length}`;
    this.nodes.push({ name, op, inputs, attributes, outputs });
    return name;
  }
}

/** An attribute as tfjs hands it to an op, as a graph keeps it. Throws for a kind that no kernel of tfjs uses. */
function graphAttribute(binding: Binding, op: string, { name, type, value }: OpAttribute): GraphAttribute {
  const numbers = (): number[] => (value as readonly number[]).map(Number);
  if (type === binding.TF_ATTR_SHAPE) return { kind: 'shape', value: numbers() };
  if (Array.isArray(value)) {
    if (type === binding.TF_ATTR_INT) return { kind: 'ints', value: numbers() };
    if (type === binding.TF_ATTR_FLOAT) return { kind: 'floats', value: numbers() };
    if (type === binding.TF_ATTR_STRING) return { kind: 'strings', value: value.map(String) };
  } else {
    if (type === binding.TF_ATTR_INT) return { kind: 'int', value: Number(value) };
    if (type === binding.TF_ATTR_FLOAT) return { kind: 'float', value: Number(value) };
    if (type === binding.TF_ATTR_BOOL) return { kind: 'bool', value: Boolean(value) };
    if (type === binding.TF_ATTR_TYPE) return { kind: 'type', value: Number(value) };
    if (type === binding.TF_ATTR_STRING) return { kind: 'string', value: String(value) };
  }
  throw new GroundError(
    'engine',
    `op ${op} cannot be recorded: its attribute ${name} is of an unknown kind`,
    {
      hint: RUN_EAGERLY,
    },
  );
}
