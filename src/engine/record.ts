import { GroundError } from '../errors.ts';
import { composedOnly } from './native-ops.ts';
import * as tf from './tf.ts';

/** The element types a recording knows: those of TensorFlow.js without string and complex64. */
export type RecordedType = 'float32' | 'int32' | 'bool';

/** What a tensor was, without its values. `id` is unique within one recording. */
export interface RecordedValue {
  readonly id: number;
  readonly shape: readonly number[];
  readonly dtype: RecordedType;
}

/** An attribute of a kernel: plain data. */
export type RecordedAttribute = number | string | boolean | null | readonly RecordedAttribute[];

/** One kernel that ran. */
export interface RecordedCall {
  readonly kernel: string;
  /** Value ids by input name; kernels that take a list (Concat, Pack, AddN) have the names '0', '1', …, in order. */
  readonly inputs: Readonly<Record<string, number>>;
  readonly attrs: Readonly<Record<string, RecordedAttribute>>;
  readonly outputs: readonly RecordedValue[];
  /** The line of code that asked for it, as far as the stack tells ("nn/attention.ts:31:12"), for messages. */
  readonly where: string;
}

/** A tensor that f used but neither computed nor got as input: a weight, or a table made on the spot. */
export interface RecordedConstant extends RecordedValue {
  /** The name given by `options.names`: a parameter's. */
  readonly name: string | undefined;
  /** A copy of the values, row-major. Weights are read only now, so that a recording holds no second copy of them. */
  read(): Float32Array | Int32Array | Uint8Array;
}

/** What one run of a function did, as data: a graph in the order of execution. */
export interface Recording {
  readonly calls: readonly RecordedCall[];
  readonly inputs: Readonly<Record<string, RecordedValue>>;
  readonly outputs: Readonly<Record<string, RecordedValue>>;
  readonly constants: ReadonlyMap<number, RecordedConstant>;
}

export interface RecordOptions {
  /** Names of constants, by their tensor: those of the model's parameters. */
  readonly names?: ReadonlyMap<tf.Tensor, string>;
}

/**
 * Runs `f` once and records the outermost TensorFlow.js kernels it runs, on whichever engine is in use: what a kernel
 * calls inside itself is its own affair, what the forward function of a `tf.customGrad` calls is seen. Results are
 * disposed of, the graph is what is wanted.
 *
 * @param inputs tensors that stand for the graph's inputs; everything else that `f` reads becomes a constant
 * @param f a pure function of `inputs` and constants; must not read values back (`dataSync`) to decide anything
 * Fused ops of the addon are left out of it: their composed twins are kernels that other runtimes know.
 *
 * @throws GroundError('export') naming a kernel that works on strings or complex numbers; whatever `f` throws
 */
export function recordKernels(
  inputs: Readonly<Record<string, tf.Tensor>>,
  f: () => Record<string, tf.Tensor>,
  options: RecordOptions = {},
): Recording {
  const engine = tf.engine();
  const original = engine.runKernel;
  const calls: RecordedCall[] = [];
  const constants = new Map<number, RecordedConstant>();
  const computed = new Set(Object.values(inputs).map(t => t.id));
  const firstNewId = probeTensorId();
  const { stackTraceLimit } = Error;
  let depth = 0;

  const capture = (tensor: tf.Tensor, kernel: string): number => {
    if (!computed.has(tensor.id) && !constants.has(tensor.id)) {
      // What f made itself may be gone by the end of its tidy: copy it now.
      const copy = tensor.id >= firstNewId ? readTensor(tensor) : undefined;
      constants.set(tensor.id, {
        ...describe(tensor, kernel),
        name: options.names?.get(tensor),
        read: () => copy ?? readTensor(tensor),
      });
    }
    return tensor.id;
  };

  engine.runKernel = <T extends tf.Tensor | tf.Tensor[]>(
    kernel: string,
    kernelInputs: tf.NamedTensorMap,
    attrs?: tf.NamedAttrMap,
  ): T => {
    const outermost = depth === 0;
    const inputIds: Record<string, number> = {};
    if (outermost) {
      for (const [name, tensor] of Object.entries(kernelInputs)) {
        if (tensor) inputIds[name] = capture(tensor, kernel);
      }
    }
    depth++;
    let result: T;
    try {
      result = original.call(engine, kernel, kernelInputs, attrs) as T;
    } finally {
      depth--;
    }
    if (outermost) {
      const outputs: readonly tf.Tensor[] = Array.isArray(result) ? result : [result];
      for (const output of outputs) computed.add(output.id);
      calls.push({
        kernel,
        inputs: inputIds,
        attrs: plainAttributes(attrs ?? {}),
        outputs: outputs.map(output => describe(output, kernel)),
        where: callSite(),
      });
    }
    return result;
  };

  // TensorFlow.js alone puts about ten frames between an op and its kernel.
  Error.stackTraceLimit = 30;
  try {
    const results = composedOnly(() => tf.tidy(f));
    const outputs: Record<string, RecordedValue> = {};
    for (const [name, tensor] of Object.entries(results)) {
      capture(tensor, 'the result');
      outputs[name] = describe(tensor, 'the result');
    }
    for (const tensor of Object.values(results)) {
      if (tensor.id >= firstNewId) tensor.dispose();
    }
    return {
      calls,
      inputs: Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, describe(t, 'the input')])),
      outputs,
      constants,
    };
  } finally {
    engine.runKernel = original;
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Ids are handed out in ascending order: tensors from this id on were made during the recording. */
function probeTensorId(): number {
  return tf.tidy(() => tf.scalar(0).id);
}

function readTensor(tensor: tf.Tensor): Float32Array | Int32Array | Uint8Array {
  return tensor.dataSync<'float32' | 'int32' | 'bool'>().slice();
}

function describe(tensor: tf.Tensor, kernel: string): RecordedValue {
  const { dtype } = tensor;
  if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool') {
    throw new GroundError(
      'export',
      `kernel ${kernel} (${callSite()}) works on ${dtype}, which cannot be recorded`,
    );
  }
  return { id: tensor.id, shape: [...tensor.shape], dtype };
}

function plainAttributes(attrs: tf.NamedAttrMap): Record<string, RecordedAttribute> {
  const plain: Record<string, RecordedAttribute> = {};
  for (const [name, value] of Object.entries(attrs)) {
    const copied = plainAttribute(value);
    if (copied !== undefined) plain[name] = copied;
  }
  return plain;
}

/** A copy of the attribute; undefined for one that is no data (functions, tensors). */
function plainAttribute(value: unknown): RecordedAttribute | undefined {
  if (
    value === null ||
    typeof value === 'number' ||
    typeof value === 'string' ||
    typeof value === 'boolean'
  ) {
    return value;
  }
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    return Array.from(value as ArrayLike<unknown>, item => plainAttribute(item) ?? null);
  }
  return undefined;
}

/** The innermost line of the stack outside TensorFlow.js and this folder, relative to src or dist. */
function callSite(): string {
  const lines = new Error().stack?.split('\n').slice(1) ?? [];
  for (const line of lines) {
    if (line.includes('node_modules') || line.includes('node:') || /[\\/]engine[\\/]/.test(line)) continue;
    const match = /([^\s()]+?:\d+:\d+)\)?$/.exec(line);
    if (match?.[1]) return match[1].replace(/^.*[\\/](?:src|dist)[\\/]/, '');
  }
  return 'unknown place';
}
