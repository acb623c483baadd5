import * as tf from './tf.ts';

/** Products smaller than this many multiplications are not worth a transposed copy. */
const WORTH_TRANSPOSING = 1 << 14;

/**
 * tfjs's wasm backend hands a product of two matrices to XNNPACK only when neither is transposed; else it runs a plain
 * loop, ten times slower. A transposed copy costs far less than that, and backward passes are full of them.
 */
export function replaceSlowWasmKernels(): void {
  const multiply = kernelOf(tf.BatchMatMul);
  const transpose = kernelOf(tf.Transpose);
  if (replaced.has(multiply)) return;
  const kernelFunc: tf.KernelFunc = call => {
    const { a, b } = call.inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
    const { transposeA, transposeB } = call.attrs as { transposeA?: boolean; transposeB?: boolean };
    const size = tf.util.sizeFromShape(a.shape) * (b.shape[transposeB ? 0 : 1] ?? 0);
    if (a.shape.length !== 2 || b.shape.length !== 2 || size < WORTH_TRANSPOSING) return multiply(call);
    const { backend } = call;
    const turned = (x: tf.TensorInfo): tf.TensorInfo =>
      transpose({ inputs: { x }, backend, attrs: { perm: [1, 0] } }) as tf.TensorInfo;
    const left = transposeA ? turned(a) : a;
    const right = transposeB ? turned(b) : b;
    const out = multiply({
      inputs: { a: left, b: right },
      backend,
      attrs: { transposeA: false, transposeB: false },
    });
    // What a kernel makes beside its result is its own to free.
    if (left !== a) (backend as tf.KernelBackend).disposeData(left.dataId);
    if (right !== b) (backend as tf.KernelBackend).disposeData(right.dataId);
    return out;
  };
  replaced.add(kernelFunc);
  tf.unregisterKernel(tf.BatchMatMul, 'wasm');
  tf.registerKernel({ kernelName: tf.BatchMatMul, backendName: 'wasm', kernelFunc });
}

/** Kernels of ours: starting the engine again must not wrap them once more. */
const replaced = new WeakSet<tf.KernelFunc>();

function kernelOf(name: string): tf.KernelFunc {
  const config = tf.getKernel(name, 'wasm');
  if (config === undefined) throw new Error(`the wasm backend has no kernel ${name}`);
  return config.kernelFunc;
}
