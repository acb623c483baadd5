import { createRequire } from 'node:module';
import util from 'node:util';
import { GroundError, messageOf } from '../errors.ts';
import { damageOf, type InstalledEngine } from './installed.ts';
import { replaceSlowKernels } from './kernels.ts';
import type { NativeAddon, NativeLoader } from './native/binding.ts';
import * as tf from './tf.ts';

const REPAIR = 'run `ground setup --force` to build the engine again';

/**
 * Loads the addon, starts libtensorflow and makes it the backend of tfjs.
 *
 * @param threads threads of one op and of a graph
 * @param gpu whether a GPU may be used
 * @returns whether one is in use
 * @throws GroundError('engine') when a file is missing or damaged, or the library cannot be loaded
 */
export async function startTensorflow(
  installed: InstalledEngine,
  threads: number,
  gpu: boolean,
): Promise<{ readonly gpu: boolean }> {
  const addon = loadAddon(installed);
  try {
    addon.open({ intraOpThreads: threads, interOpThreads: threads, gpu });
  } catch (cause) {
    throw new GroundError('engine', `libtensorflow does not start: ${messageOf(cause)}`, {
      hint: REPAIR,
      cause,
    });
  }
  restoreUtilFunctions();
  const [{ NodeJSKernelBackend: Backend }] = await Promise.all([
    import('@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js'),
    import('@tensorflow/tfjs-node-gpu/dist/register_all_kernels.js'),
  ]);
  replaceSlowKernels();
  // tfjs's type of a binding has SavedModel functions too, which nothing here calls.
  const binding = addon as unknown as ConstructorParameters<typeof Backend>[0];
  tf.registerBackend('tensorflow', () => new Backend(binding, 'ground'));
  if (!(await tf.setBackend('tensorflow'))) {
    throw new GroundError('engine', 'TensorFlow.js does not accept libtensorflow as its backend', {
      hint: REPAIR,
    });
  }
  return { gpu: addon.isUsingGpuDevice() };
}

/** The addon of an installed engine, not yet opened. Loads libtensorflow into the process. */
export function loadAddon(installed: InstalledEngine): NativeAddon {
  const damage = damageOf(installed);
  if (damage) throw new GroundError('engine', `the installed engine is damaged: ${damage}`, { hint: REPAIR });
  quietLibrary();
  try {
    const require = createRequire(import.meta.url);
    const loader = require(installed.loader.path) as NativeLoader;
    for (const library of installed.libraries.slice(0, 1)) loader.load(library.path);
    return require(installed.addon.path) as NativeAddon;
  } catch (cause) {
    throw new GroundError(
      'engine',
      `libtensorflow ${installed.version} cannot be loaded: ${messageOf(cause).split('\n')[0]}`,
      { hint: REPAIR, cause },
    );
  }
}

/** libtensorflow reads these once, when it is loaded, and writes to stderr by itself; what the user has set stays. */
function quietLibrary(): void {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  process.env.TF_CPP_MIN_VLOG_LEVEL ??= '0';
}

/** tfjs-node 4.22 calls functions of `util` that Node 23 has removed. */
function restoreUtilFunctions(): void {
  const removed: Record<string, (value: unknown) => boolean> = {
    isNullOrUndefined: value => value === null || value === undefined,
    isArray: value => Array.isArray(value),
  };
  for (const [name, replacement] of Object.entries(removed)) {
    if (!(name in util)) Object.defineProperty(util, name, { value: replacement, configurable: true });
  }
}
