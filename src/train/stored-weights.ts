/** A checkpoint's weights on the disk as if they were in one file, one tensor at a time. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GroundError } from '../errors.ts';
import { openSafetensors, type SafetensorsFile, type TensorInfo } from '../models/safetensors.ts';
import { addLowRank } from '../nn/lora.ts';
import { adaptedLayer } from './adapters.ts';
import { AVERAGE, type CheckpointState, FROZEN, type LayerAdapter, WEIGHTS } from './checkpoint.ts';

/** Tensors of a checkpoint by name; close it when done. */
export interface Weights {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** As `SafetensorsFile`'s. */
  readFloat32(name: string): Promise<Float32Array<ArrayBuffer>>;
  readBytes(name: string): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** Which weights of a checkpoint are meant. */
export interface StoredChoice {
  /** False: those that training goes on with, also where their running average is there. */
  readonly average?: boolean;
}

/** Opens what a stage trained and what it left alone, adapters included. Throws GroundError('model' or 'io'). */
export async function openWeights(
  checkpoint: string,
  { average = true }: StoredChoice = {},
): Promise<Weights> {
  const files: SafetensorsFile[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(files.map(file => file.close()));
  };
  try {
    // Of a name in two files the later one counts.
    for (const name of [WEIGHTS, FROZEN, ...(average ? [AVERAGE] : [])]) {
      const path = join(checkpoint, name);
      if (name === WEIGHTS || existsSync(path)) files.push(await openSafetensors(path));
    }
  } catch (thrown) {
    await close();
    throw thrown;
  }
  const owners = new Map(files.flatMap(file => [...file.tensors.keys()].map(name => [name, file] as const)));
  const owner = (name: string): SafetensorsFile => {
    const file = owners.get(name);
    if (!file) throw new GroundError('model', `${checkpoint} has no tensor ${name}`);
    return file;
  };
  return {
    tensors: new Map(files.flatMap(file => [...file.tensors])),
    readFloat32: async name => owner(name).readFloat32(name),
    readBytes: async name => owner(name).readBytes(name),
    close,
  };
}

/** The adapters that a checkpoint has. */
export async function storedAdapters(checkpoint: string): Promise<readonly LayerAdapter[]> {
  const state: CheckpointState = JSON.parse(await readFile(join(checkpoint, 'state.json'), 'utf8'));
  return state.adapters ?? [];
}

/** Weights without their adapters: those are part of the layers' weights, or left out. */
export interface MergedWeights extends Weights {
  /** Largest change of a value in the weights that have been read. */
  readonly largestChange: number;
}

/** Weights in which adapters are merged, layer by layer as they are read, in float32; `merge` false leaves them out. */
export function withoutAdapters(
  source: Weights,
  adapters: readonly LayerAdapter[],
  merge: boolean,
): MergedWeights {
  const byWeight = new Map(merge ? adapters.map(adapter => [`${adapter.layer}.weight`, adapter]) : []);
  let largestChange = 0;
  const readFloat32 = async (name: string): Promise<Float32Array<ArrayBuffer>> => {
    const values = await source.readFloat32(name);
    const adapter = byWeight.get(name);
    if (!adapter) return values;
    const { layer, rank, alpha } = adapter;
    const a = await source.readFloat32(`${layer}.lora_A.weight`);
    const b = await source.readFloat32(`${layer}.lora_B.weight`);
    const columns = source.tensors.get(name)?.shape[1] ?? 0;
    largestChange = Math.max(largestChange, addLowRank({ values, columns }, a, b, alpha / rank));
    return values;
  };
  const own = [...source.tensors].filter(([name]) => adaptedLayer(name) === undefined);
  return {
    tensors: new Map(
      own.map(([name, info]) => [name, byWeight.has(name) ? { ...info, dtype: 'F32' as const } : info]),
    ),
    readFloat32,
    readBytes: async name => {
      if (!byWeight.has(name)) return source.readBytes(name);
      const values = await readFloat32(name);
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    },
    get largestChange() {
      return largestChange;
    },
    close: () => source.close(),
  };
}
