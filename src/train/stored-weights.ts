/** A checkpoint's weights on the disk as if they were in one file, one tensor at a time. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { GroundError } from '../errors.ts';
import { openSafetensors, type SafetensorsFile, type TensorInfo } from '../models/safetensors.ts';
import { FROZEN, WEIGHTS } from './checkpoint.ts';

/** Tensors of a checkpoint by name; close it when done. */
export interface Weights {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** As `SafetensorsFile`'s. */
  readFloat32(name: string): Promise<Float32Array<ArrayBuffer>>;
  readBytes(name: string): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** Opens what a stage trained and what it left alone. Throws GroundError('model' or 'io'). */
export async function openWeights(checkpoint: string): Promise<Weights> {
  const files: SafetensorsFile[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(files.map(file => file.close()));
  };
  try {
    for (const name of [WEIGHTS, FROZEN]) {
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
