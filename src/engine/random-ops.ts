import { tensorflowBackend } from './backend.ts';
import { dtypeNumber } from './kernels.ts';
import type { OpAttribute } from './native/binding.ts';
import { philoxUniform } from './philox.ts';
import * as tf from './tf.ts';

/**
 * Uniform float32 numbers in [0, 1) that follow from a seed, int32 [2], alone: TensorFlow's StatelessRandomUniform, on
 * WebAssembly the same numbers from JavaScript. Has no gradient.
 */
export function statelessUniform(shape: readonly number[], seed: tf.Tensor1D): tf.Tensor {
  const backend = tensorflowBackend();
  if (!backend) {
    const [first = 0, second = 0] = seed.dataSync<'int32'>();
    const count = shape.reduce((product, n) => product * n, 1);
    return tf.tensor(philoxUniform(first, second, count), [...shape], 'float32');
  }
  const { binding } = backend;
  const attribute = (name: string, dtype: tf.DataType): OpAttribute => ({
    name,
    type: binding.TF_ATTR_TYPE,
    value: dtypeNumber(binding, dtype),
  });
  const attributes = [attribute('dtype', 'float32'), attribute('T', 'int32'), attribute('Tseed', 'int32')];
  return tf.tidy(() =>
    backend.executeSingleOutput('StatelessRandomUniform', attributes, [
      tf.tensor1d([...shape], 'int32'),
      seed,
    ]),
  );
}
