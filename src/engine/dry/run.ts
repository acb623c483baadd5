import { GroundError } from '../../errors.ts';
import { tensorflowBackend } from '../backend.ts';
import { observeRecordings } from '../compile.ts';
import { replaceSlowKernels } from '../kernels.ts';
import * as tf from '../tf.ts';
import { DryBinding } from './binding.ts';

/** What code on the shape-only engine may ask of it. */
export interface DryEngine {
  readonly binding: DryBinding;
  /** A float32 tensor that has a shape and no values. */
  tensor(shape: readonly number[]): tf.Tensor;
}

/**
 * Runs `f` on kernels that compute the shapes of libtensorflow's tensors and nothing else, so that a model far larger
 * than memory can be stepped through. Values read back are zeros. libtensorflow need not be there. Whichever engine ran
 * before runs again afterwards; `f` must not await, and must not touch tensors from outside. `eagerOnly`: functions are not
 * recorded, as on WebAssembly.
 */
export async function dryRun<T>(
  f: (engine: DryEngine) => T,
  options: { readonly eagerOnly?: boolean } = {},
): Promise<T> {
  const [{ NodeJSKernelBackend: Backend }] = await Promise.all([
    import('@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js'),
    import('@tensorflow/tfjs-node-gpu/dist/register_all_kernels.js'),
  ]);
  const previous = tf.engine().backendName;
  const started = tf.findBackend('tensorflow') !== null;
  // Where no engine has been started, the usual one is planned for: it has the fused ops.
  const fusedOps = options.eagerOnly ? null : started ? await runningFusedOps() : 'planned';
  const binding = new DryBinding({ ...options, fusedOps });
  if (!started) {
    replaceSlowKernels();
    // tfjs's type of a binding has SavedModel functions too, which nothing here calls.
    const stand = binding as unknown as ConstructorParameters<typeof Backend>[0];
    tf.registerBackend('tensorflow', () => new Backend(stand, 'ground'));
  }
  await tf.setBackend('tensorflow');
  const backend = tensorflowBackend();
  if (!backend) throw new GroundError('engine', 'TensorFlow.js does not accept the shape-only engine');
  const real = backend.binding;
  backend.binding = binding;
  const ignore = observeRecordings(graph => binding.expect(graph));
  try {
    return f({
      binding,
      tensor: shape => backend.createOutputTensor(binding.declare(shape)),
    });
  } finally {
    ignore();
    backend.binding = real;
    if (!started) tf.removeBackend('tensorflow');
    if (previous) await tf.setBackend(previous);
  }
}

/** The fused ops of the libtensorflow that has been started, whichever backend is chosen now. */
async function runningFusedOps(): Promise<string | null> {
  const chosen = tf.engine().backendName;
  await tf.setBackend('tensorflow');
  const backend = tensorflowBackend();
  if (chosen) await tf.setBackend(chosen);
  return backend?.binding.fusedOps ?? null;
}
