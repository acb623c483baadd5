import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { GroundError } from '../errors.ts';
import * as tf from './tf.ts';
import { replaceSlowWasmKernels } from './wasm-kernels.ts';

/** Makes WebAssembly the backend of tfjs: slower than libtensorflow by an order of magnitude, but there everywhere. */
export async function startWasm(): Promise<void> {
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  const manifest = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json');
  wasm.setWasmPaths(join(dirname(manifest), 'dist') + sep);
  if (!(await tf.setBackend('wasm'))) {
    throw new GroundError('engine', 'this Node cannot run the WebAssembly engine', {
      hint: 'use Node 20.11 or newer, or run `ground setup` for the libtensorflow engine',
    });
  }
  replaceSlowWasmKernels();
}
