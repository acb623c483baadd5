import { type EngineInfo, startEngine } from '../../src/engine/engine.ts';

/** The fastest engine there is on this machine: libtensorflow where it is set up, else WebAssembly. */
export function startTestEngine(): Promise<EngineInfo> {
  return startEngine({ engine: 'auto', device: 'cpu' });
}
