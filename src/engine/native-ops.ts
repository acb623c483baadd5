/** Fused ops of the addon: one kernel where TensorFlow.js would run many. Each has a composed twin in nn/. */
import { GroundError } from '../errors.ts';
import { tensorflowBackend } from './backend.ts';
import type { OpAttribute } from './native/binding.ts';
import type * as tf from './tf.ts';

/** Values of an op's attributes by their type. */
export interface NativeAttributes {
  readonly int?: Readonly<Record<string, number>>;
  readonly float?: Readonly<Record<string, number>>;
  readonly bool?: Readonly<Record<string, boolean>>;
  readonly ints?: Readonly<Record<string, readonly number[]>>;
  readonly floats?: Readonly<Record<string, readonly number[]>>;
}

let composed = 0;

/**
 * Whether the running engine has the fused ops: libtensorflow on the CPU, with an addon that was compiled against C++
 * headers, outside `composedOnly`.
 */
export function hasNativeOps(): boolean {
  if (composed > 0) return false;
  const binding = tensorflowBackend()?.binding;
  return binding !== undefined && binding.fusedOps !== null && !binding.isUsingGpuDevice();
}

/** Runs `f` with the composed twins of all fused ops: for exports and comparisons. */
export function composedOnly<T>(f: () => T): T {
  composed++;
  try {
    return f();
  } finally {
    composed--;
  }
}

/** Runs a fused op. Its tensors belong to the surrounding scope; it is on no gradient tape. Throws TensorFlow's message. */
export function nativeOp(
  name: string,
  inputs: readonly tf.Tensor[],
  attributes: NativeAttributes,
  outputs: number,
): tf.Tensor[] {
  const backend = tensorflowBackend();
  if (!backend) throw new GroundError('engine', `op ${name} runs on libtensorflow alone`);
  const { binding } = backend;
  const listed = <T>(
    values: Readonly<Record<string, T>> | undefined,
    type: number,
    of: (value: T) => OpAttribute['value'],
  ) =>
    Object.entries(values ?? {}).map(([key, value]): OpAttribute => ({ name: key, type, value: of(value) }));
  const all = [
    ...listed(attributes.int, binding.TF_ATTR_INT, value => value),
    ...listed(attributes.float, binding.TF_ATTR_FLOAT, value => value),
    ...listed(attributes.bool, binding.TF_ATTR_BOOL, value => value),
    ...listed(attributes.ints, binding.TF_ATTR_INT, value => [...value]),
    ...listed(attributes.floats, binding.TF_ATTR_FLOAT, value => [...value]),
  ];
  return binding
    .executeOp(name, all, backend.getInputTensorIds(inputs), outputs)
    .map(metadata => backend.createOutputTensor(metadata));
}
