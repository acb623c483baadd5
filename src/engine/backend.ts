import type { Binding, OpAttribute, TensorMetadata } from './native/binding.ts';
import * as tf from './tf.ts';

/** What the recorder of compiled steps uses of tfjs's Node backend. */
export interface BackendAccess {
  /** Assignable: a recorder stands in for the real binding while a step runs. */
  binding: Binding;
  /** The binding's numbers of tensors; writes values that tfjs has kept back until now. */
  getInputTensorIds(tensors: readonly tf.Tensor[]): number[];
  createOutputTensor(metadata: TensorMetadata): tf.Tensor;
  executeSingleOutput(op: string, attributes: OpAttribute[], inputs: tf.TensorInfo[]): tf.Tensor;
}

/** The libtensorflow backend, or undefined where another engine runs. */
export function tensorflowBackend(): BackendAccess | undefined {
  if (tf.getBackend() !== 'tensorflow') return undefined;
  // tfjs declares the two methods private although its own kernels call them.
  return tf.backend() as unknown as BackendAccess;
}
