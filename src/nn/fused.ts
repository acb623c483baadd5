import * as tf from '../engine/tf.ts';

/** What a fused operation's forward pass yields: its value, and all that the gradient will read. */
export interface Forward {
  readonly value: tf.Tensor;
  /** Every tensor that `backward` uses: whatever else the forward pass made is disposed before it runs. */
  readonly saved: readonly tf.Tensor[];
}

/**
 * One step on the tape made of several operations, with a gradient of its own. `backward` gets the gradient of the
 * value and the saved tensors and returns one gradient an input. All of them are computed whether asked for or not:
 * pass parameters only where their gradient costs nothing, or multiply by them outside.
 */
export function fused<T extends tf.Tensor>(
  inputs: readonly tf.Tensor[],
  forward: () => Forward,
  backward: (dy: tf.Tensor, saved: readonly tf.Tensor[]) => tf.Tensor[],
): T {
  const operation = tf.customGrad((...inputsAndSave) => {
    // The last argument is tfjs's save function; its type is a union with the inputs before it.
    const save = inputsAndSave[inputsAndSave.length - 1] as tf.GradSaveFunc;
    const { value, saved } = forward();
    save([...saved]);
    return { value, gradFunc: backward };
  });
  return operation(...inputs) as T;
}
