import type { backend_util } from '@tensorflow/tfjs-core';

/** Which tensor an op made: the number the addon knows it by, its shape and TensorFlow's dtype number. */
export interface TensorMetadata {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: number;
}

/** One attribute of an op; `type` is one of the binding's TF_ATTR constants, an array value sets a list. */
export interface OpAttribute {
  readonly name: string;
  readonly type: number;
  readonly value: boolean | number | object | string | number[];
}

/** The calls that make, run and delete tensors: all that a kernel of tfjs, or a recorder of kernels, needs. */
export interface Binding {
  /** Copies values into a new tensor. Throws where their bytes do not fit the shape. */
  createTensor(shape: number[], dtype: number, values: backend_util.BackendValues): number;
  /** Throws for a tensor that does not exist (any more). */
  deleteTensor(id: number): void;
  /** A copy of the values; waits for the device. */
  tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array;
  tensorDtype(id: number): number;
  /** Runs an op, or a registered function by its name. Throws `<op>: <TensorFlow's message>`. */
  executeOp(op: string, attributes: OpAttribute[], inputIds: number[], outputs: number): TensorMetadata[];
  /** Makes a serialized GraphDef callable by `executeOp(name, …)`. Inputs are Placeholder nodes, in order. */
  registerFunction(
    name: string,
    graphDef: Uint8Array,
    inputs: readonly string[],
    outputs: readonly string[],
  ): void;
  removeFunction(name: string): void;
  getNumOfTensors(): number;
  isUsingGpuDevice(): boolean;
  /** Whether functions must not be recorded; absent from the addon. */
  readonly eagerOnly?: boolean;
  /** An Identity of a tensor that waits for another to be computed; only where ops are recorded. */
  readonly after?: (id: number, dependency: number) => TensorMetadata;
  /** The instruction set of the fused ops ("avx512"), or null where the addon was compiled without them. */
  readonly fusedOps: string | null;

  readonly TF_FLOAT: number;
  readonly TF_INT32: number;
  readonly TF_INT64: number;
  readonly TF_BOOL: number;
  readonly TF_COMPLEX64: number;
  readonly TF_STRING: number;
  readonly TF_RESOURCE: number;
  readonly TF_UINT8: number;
  readonly TF_ATTR_STRING: number;
  readonly TF_ATTR_INT: number;
  readonly TF_ATTR_FLOAT: number;
  readonly TF_ATTR_BOOL: number;
  readonly TF_ATTR_TYPE: number;
  readonly TF_ATTR_SHAPE: number;
  readonly TF_ATTR_FUNC: number;
  readonly TF_Version: string;
}

/** Loads libtensorflow itself, before the addon that is linked with it, and keeps it from writing to stderr. */
export interface NativeLoader {
  /** Throws the dynamic linker's message. */
  load(library: string): void;
}

/** The compiled addon as it is loaded: a binding that has to be opened. */
export interface NativeAddon extends Binding {
  /** Starts libtensorflow; 0 threads means one per core. Closes what was open, with all its tensors. */
  open(options: {
    readonly intraOpThreads: number;
    readonly interOpThreads: number;
    readonly gpu: boolean;
  }): void;
  close(): void;
  /** TensorFlow's name of the GPU in use; empty without one. */
  gpuName(): string;
}
