import { GroundError } from '../errors.ts';
import { usableCores } from './cores.ts';
import { findInstalled, findStale, type InstalledEngine } from './installed.ts';
import { startTensorflow } from './tensorflow.ts';
import * as tf from './tf.ts';
import { startWasm } from './wasm.ts';

export interface EngineOptions {
  /** `auto` takes libtensorflow where `ground setup` has made it ready, WebAssembly elsewhere. */
  readonly engine?: 'auto' | 'tensorflow' | 'wasm';
  /** `auto` takes a GPU where the engine finds one; `gpu` insists. */
  readonly device?: 'auto' | 'cpu' | 'gpu';
  /**
   * Threads that compute. All usable cores by default. Results are the same to the last bit from run to run with the
   * same number, not with another one.
   */
  readonly threads?: number;
}

export interface EngineInfo {
  readonly name: 'tensorflow' | 'wasm';
  readonly device: 'cpu' | 'gpu';
  /** Of libtensorflow, or of TensorFlow.js. */
  readonly version: string;
  readonly threads: number;
}

let running: EngineInfo | undefined;
let tensorflowStarted: EngineInfo | undefined;

/**
 * Starts the kernels that compute. Calling it again with options that the running engine satisfies changes nothing;
 * another engine may be chosen, but libtensorflow keeps the device and threads of its first start.
 *
 * @throws GroundError('engine') when what is asked for explicitly is not there (never a quiet substitute), or what is
 *   installed is damaged
 */
export async function startEngine(options: EngineOptions = {}): Promise<EngineInfo> {
  const { engine = 'auto', device = 'auto' } = options;
  const threads = options.threads ?? usableCores();
  if (!Number.isInteger(threads) || threads < 1) {
    throw new GroundError('usage', `threads must be a whole number from 1 on, not ${threads}`);
  }
  if (engine === 'wasm') running = await wasmEngine(device);
  else {
    const installed = chooseInstalled(findInstalled(), device);
    if (installed) running = await tensorflowEngine(installed, device, threads);
    else if (engine === 'auto' && device !== 'gpu' && findStale().length === 0) {
      running = await wasmEngine(device);
    } else throw notSetUp(device);
  }
  return running;
}

function notSetUp(device: 'auto' | 'cpu' | 'gpu'): GroundError {
  if (device === 'gpu') {
    return new GroundError('engine', 'libtensorflow is not set up for GPUs', {
      hint: 'run `ground setup --device gpu`',
    });
  }
  // Quietly taking WebAssembly after an update of ground would make every run ten times slower.
  const why =
    findStale().length > 0
      ? 'libtensorflow was set up for another version of ground'
      : 'libtensorflow is not set up';
  return new GroundError('engine', why, { hint: 'run `ground setup`, or use the slower `--engine wasm`' });
}

/** Of the installed engines (newest first) the one for a device; one built for GPUs serves CPUs too. */
export function chooseInstalled(
  installed: readonly InstalledEngine[],
  device: 'auto' | 'cpu' | 'gpu',
): InstalledEngine | undefined {
  const gpu = installed.find(candidate => candidate.device === 'gpu');
  const cpu = installed.find(candidate => candidate.device === 'cpu');
  if (device === 'cpu') return cpu ?? gpu;
  return device === 'gpu' ? gpu : (gpu ?? cpu);
}

async function tensorflowEngine(
  installed: InstalledEngine,
  device: 'auto' | 'cpu' | 'gpu',
  threads: number,
): Promise<EngineInfo> {
  if (tensorflowStarted) {
    const same =
      tensorflowStarted.threads === threads && (device === 'auto' || device === tensorflowStarted.device);
    if (!same) {
      throw new GroundError(
        'engine',
        `${describeEngine(tensorflowStarted)} runs already and cannot be changed`,
        {
          hint: 'start another process for another device or number of threads',
        },
      );
    }
    await tf.setBackend('tensorflow');
    return tensorflowStarted;
  }
  const { gpu } = await startTensorflow(installed, threads, device !== 'cpu' && installed.device === 'gpu');
  if (device === 'gpu' && !gpu) {
    throw new GroundError('engine', 'libtensorflow finds no GPU on this machine', {
      hint: 'see `ground doctor`, or use `--device cpu`',
    });
  }
  tensorflowStarted = {
    name: 'tensorflow',
    device: gpu ? 'gpu' : 'cpu',
    version: installed.version,
    threads,
  };
  return tensorflowStarted;
}

async function wasmEngine(device: 'auto' | 'cpu' | 'gpu'): Promise<EngineInfo> {
  if (device === 'gpu') {
    throw new GroundError('engine', 'the WebAssembly engine cannot use a GPU', {
      hint: 'run `ground setup --device gpu` for the libtensorflow engine',
    });
  }
  await startWasm();
  // Its threads need web workers, which Node has not.
  return { name: 'wasm', device: 'cpu', version: tf.version_core, threads: 1 };
}

/** The running engine. @throws GroundError('engine') when none has been started */
export function engineInfo(): EngineInfo {
  if (!running) throw new GroundError('engine', 'the engine has not been started');
  return running;
}

/** One line for people: "libtensorflow 2.21.0 on the CPU, 2 threads". */
export function describeEngine(info: EngineInfo): string {
  const name = info.name === 'tensorflow' ? 'libtensorflow' : 'WebAssembly, TensorFlow.js';
  const threads = info.threads === 1 ? '1 thread' : `${info.threads} threads`;
  return `${name} ${info.version} on the ${info.device.toUpperCase()}, ${threads}`;
}
