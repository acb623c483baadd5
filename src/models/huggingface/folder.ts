/**
 * A local Hugging Face model folder: config.json and its weights, in one safetensors file or in shards that an index
 * lists. Nothing but headers is read until a tensor is asked for, so a folder may be far larger than memory.
 */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errorCode, ioError } from '../../atomic.ts';
import { GroundError, messageOf } from '../../errors.ts';
import { openSafetensors, type SafetensorsFile, type TensorInfo } from '../safetensors.ts';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

export type JsonObject = Readonly<Record<string, unknown>>;

/** An open folder. Close it when done. */
export interface HuggingFaceFolder {
  readonly path: string;
  readonly config: JsonObject;
  /** All tensors by name, whichever file holds them. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The file that holds a tensor, for messages. */
  fileOf(name: string): string;
  readBytes(name: string): Promise<Uint8Array<ArrayBuffer>>;
  readFloat32(name: string): Promise<Float32Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/**
 * Opens a folder and checks the header of every file of weights. Throws GroundError('model') that names the file:
 * without config.json, without safetensors, with a shard that the index names but that is missing or lacks a tensor.
 */
export async function openHuggingFace(path: string): Promise<HuggingFaceFolder> {
  const config = await readJsonObject(join(path, 'config.json'), 'a Hugging Face folder has a config.json');
  const files: SafetensorsFile[] = [];
  try {
    const home = await openWeights(path, files);
    const fileOf = (name: string): SafetensorsFile => {
      const file = home.get(name);
      if (file) return file;
      throw new GroundError('model', `${path} has no tensor ${name}`);
    };
    return {
      path,
      config,
      tensors: new Map([...home].map(([name, file]) => [name, file.info(name)])),
      fileOf: name => fileOf(name).file,
      readBytes: name => fileOf(name).readBytes(name),
      readFloat32: name => fileOf(name).readFloat32(name),
      close: () => closeAll(files),
    };
  } catch (thrown) {
    await closeAll(files);
    throw thrown;
  }
}

async function closeAll(files: readonly SafetensorsFile[]): Promise<void> {
  await Promise.all(files.map(file => file.close()));
}

/** Opens what holds the weights, adding to `files` what has to be closed; which file has which tensor. */
async function openWeights(path: string, files: SafetensorsFile[]): Promise<Map<string, SafetensorsFile>> {
  const names = await readdir(path);
  const home = new Map<string, SafetensorsFile>();
  const open = async (name: string): Promise<SafetensorsFile> => {
    const file = await openSafetensors(join(path, name));
    files.push(file);
    return file;
  };
  if (names.includes(INDEX)) {
    const listed = await readIndex(join(path, INDEX));
    for (const [shard, tensors] of listed) {
      if (!names.includes(shard)) throw missingShard(path, shard, tensors);
      const file = await open(shard);
      for (const tensor of tensors) {
        if (!file.tensors.has(tensor)) throw notInShard(path, shard, tensor);
      }
      for (const tensor of file.tensors.keys()) claim(home, tensor, file);
    }
    return home;
  }
  if (names.includes(SINGLE)) {
    const file = await open(SINGLE);
    for (const tensor of file.tensors.keys()) home.set(tensor, file);
    return home;
  }
  const pickled = names.find(name => /^pytorch_model.*\.bin$/.test(name));
  throw new GroundError(
    'model',
    `${path} has neither ${SINGLE} nor ${INDEX}${pickled === undefined ? '' : `, only ${pickled}`}`,
    {
      hint:
        pickled === undefined
          ? 'give the folder that holds config.json and the weights'
          : 'pickled weights are not read: convert them with save_pretrained(DIR, safe_serialization=True) of transformers',
    },
  );
}

function claim(home: Map<string, SafetensorsFile>, tensor: string, file: SafetensorsFile): void {
  const other = home.get(tensor);
  if (other) {
    throw new GroundError('model', `tensor ${tensor} is in both ${other.file} and ${basename(file.file)}`, {
      hint: 'download the folder again: its shards belong to different versions',
    });
  }
  home.set(tensor, file);
}

/** Tensor names by shard, as the index lists them. */
async function readIndex(file: string): Promise<Map<string, string[]>> {
  const hint = 'download the index again';
  const { weight_map: map } = await readJsonObject(file, hint);
  if (!isJsonObject(map)) throw new GroundError('model', `${file} has no weight_map`, { hint });
  const shards = new Map<string, string[]>();
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || shard !== basename(shard)) {
      throw new GroundError('model', `${file}: ${tensor} is in ${JSON.stringify(shard)}, which is no file`, {
        hint,
      });
    }
    shards.set(shard, [...(shards.get(shard) ?? []), tensor]);
  }
  return shards;
}

function missingShard(path: string, shard: string, tensors: readonly string[]): GroundError {
  return new GroundError(
    'model',
    `${join(path, shard)} is missing: ${INDEX} says that it holds ${tensors.length} tensors, such as ${tensors[0]}`,
    { hint: 'download the missing shard into the folder' },
  );
}

function notInShard(path: string, shard: string, tensor: string): GroundError {
  return new GroundError('model', `${join(path, shard)} has no tensor ${tensor}, but ${INDEX} says so`, {
    hint: 'download the folder again: index and shards belong to different versions',
  });
}

/** A file that holds a JSON object. Throws GroundError('model') naming it, with `hint` where it is missing. */
export async function readJsonObject(file: string, hint: string): Promise<JsonObject> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (thrown) {
    if (!['ENOENT', 'ENOTDIR'].includes(errorCode(thrown) ?? '')) throw ioError(thrown, 'read', file);
    throw new GroundError('model', `there is no ${file}`, { hint });
  }
  try {
    const parsed: unknown = JSON.parse(text);
    if (isJsonObject(parsed)) return parsed;
    throw new TypeError('it holds no object');
  } catch (cause) {
    throw new GroundError('model', `${file} is no JSON object: ${messageOf(cause)}`, { hint, cause });
  }
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
