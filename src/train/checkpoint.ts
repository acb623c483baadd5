/**
 * A checkpoint is a folder that appears by rename, complete and verified, or not at all. It alone suffices to continue
 * training, to predict and to export: weights, optimizer, counters, the data's position, recipe, model, tokenizer.
 */
import { mkdir, readFile, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ioError, type Sink, type Written, writeDirectoryAtomic, writeStream } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import type { ModelConfig } from '../models/config.ts';
import { type Dtype, itemSize } from '../models/dtypes.ts';
import { encodeSafetensors, openSafetensors, type TensorEntry } from '../models/safetensors.ts';
import { checkFolder, MANIFEST, manifestText, type Problem } from './integrity.ts';
import { checkpointName, describeProblems } from './rundir.ts';

/** Raised when an older `ground` could no longer read what is written. */
const STATE_FORMAT = 1;

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Values of one parameter or moment, row-major. */
export interface NamedArray {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/**
 * As `NamedArray`; `data` may be fetched only when it is written, so that the engine's copy need not be doubled at once.
 * Values of another floating-point dtype than F32 are raw little-endian bytes; they are widened when they are read.
 */
export interface NamedArraySource {
  readonly shape: readonly number[];
  readonly dtype?: Dtype;
  readonly data: ArrayBufferView | (() => ArrayBufferView | Promise<ArrayBufferView>);
}

/** Everything small that continuing needs. */
export interface CheckpointState {
  readonly stage: number;
  readonly stageName: string;
  /** Steps completed. */
  readonly step: number;
  /** Steps of the whole stage. */
  readonly steps: number;
  /** Samples and text tokens seen in this stage. */
  readonly samples: number;
  readonly tokens: number;
  /** Optimizer updates done, AdamW's t; fewer than `step` when updates were skipped. */
  readonly updates: number;
  readonly seeds: Readonly<Record<string, number>>;
  /** Where the loader goes on; only the loader knows what it means. */
  readonly loader: Json;
  readonly firstLoss: number | null;
  /** Of the last steps, oldest first: what the reported last loss averages. */
  readonly lastLosses: readonly number[];
}

export interface CheckpointContent {
  readonly state: CheckpointState;
  /** Every parameter by name, frozen ones too. */
  readonly model: ReadonlyMap<string, NamedArraySource>;
  /** AdamW's moments of the trainable parameters, by parameter name. */
  readonly optimizer: {
    readonly m: ReadonlyMap<string, NamedArraySource>;
    readonly v: ReadonlyMap<string, NamedArraySource>;
  };
  /** The resolved recipe, YAML. */
  readonly recipe: string;
  readonly modelConfig: ModelConfig;
  /** Bytes of tokenizer.json. */
  readonly tokenizer: Uint8Array;
  /** Small files that lie beside tokenizer.json and belong to it, by name. */
  readonly companions?: ReadonlyMap<string, Uint8Array>;
}

export interface SavedCheckpoint {
  readonly path: string;
  readonly bytes: number;
  readonly seconds: number;
}

export interface LoadedCheckpoint {
  readonly path: string;
  readonly state: CheckpointState;
  readonly model: ReadonlyMap<string, NamedArray>;
  /** Null when it was not asked for. */
  readonly optimizer: {
    readonly m: ReadonlyMap<string, NamedArray>;
    readonly v: ReadonlyMap<string, NamedArray>;
  } | null;
  readonly recipe: string;
  /** Its `tokenizer` is the checkpoint's own copy, absolute. */
  readonly modelConfig: ModelConfig;
}

/**
 * Writes `stageDir/checkpoint-<step>`, replacing one of the same step. It is checked before it is published. Throws
 * GroundError('io') when the disk is full or not writable, leaving nothing behind.
 */
export function saveCheckpoint(stageDir: string, content: CheckpointContent): Promise<SavedCheckpoint> {
  return writeCheckpoint(join(stageDir, checkpointName(content.state.step)), content);
}

/** As `saveCheckpoint`, into a folder of any name. */
export async function writeCheckpoint(path: string, content: CheckpointContent): Promise<SavedCheckpoint> {
  const started = performance.now();
  const parent = dirname(path);
  checkMoments(content);
  await mkdir(parent, { recursive: true }).catch(thrown => {
    throw ioError(thrown, 'create', parent);
  });
  await requireSpace(parent, contentBytes(content));
  const bytes = await writeDirectoryAtomic(path, async folder => {
    const written = await writeFiles(folder, content);
    const problems = await checkFolder(folder, { checksums: true });
    if (problems.length > 0) throw damaged(path, problems);
    return [...written.values()].reduce((sum, file) => sum + file.bytes, 0);
  });
  return { path, bytes, seconds: (performance.now() - started) / 1000 };
}

async function writeFiles(folder: string, content: CheckpointContent): Promise<Map<string, Written>> {
  const written = new Map<string, Written>();
  const add = async (name: string, fill: (sink: Sink) => Promise<void>): Promise<void> => {
    written.set(name, await writeStream(join(folder, name), fill));
  };
  const addText = (name: string, text: string): Promise<void> =>
    add(name, sink => sink(new TextEncoder().encode(text)));
  await add('model.safetensors', sink => encodeSafetensors(sink, entries('', content.model)));
  await add('optimizer.safetensors', sink =>
    encodeSafetensors(sink, [...entries('m.', content.optimizer.m), ...entries('v.', content.optimizer.v)]),
  );
  await addText('state.json', jsonText({ format: STATE_FORMAT, ...content.state }));
  await addText('recipe.yaml', content.recipe);
  await addText('model.json', jsonText({ ...content.modelConfig, tokenizer: 'tokenizer.json' }));
  await add('tokenizer.json', sink => sink(content.tokenizer));
  for (const [name, bytes] of content.companions ?? []) await add(name, sink => sink(bytes));
  const manifest = manifestText(written);
  await writeStream(join(folder, MANIFEST), sink => sink(new TextEncoder().encode(manifest)));
  return written;
}

/** What is wrong with a checkpoint: missing files, sizes, checksums. The empty list means that it is whole. */
export async function verifyCheckpoint(path: string): Promise<Problem[]> {
  return checkFolder(path, { checksums: true });
}

/**
 * Verifies a checkpoint, then reads it. Throws GroundError('checkpoint') naming the damaged files, or when a newer
 * `ground` wrote it. `optimizer: false` leaves the moments on the disk, for evaluation and export.
 */
export async function loadCheckpoint(
  path: string,
  options: { readonly optimizer?: boolean } = {},
): Promise<LoadedCheckpoint> {
  const problems = await verifyCheckpoint(path);
  if (problems.length > 0) throw damaged(path, problems);
  const { format, ...state } = await readJson<CheckpointState & { format: number }>(path, 'state.json');
  if (format !== STATE_FORMAT) {
    throw new GroundError('checkpoint', `${path} has format ${format}; this ground reads ${STATE_FORMAT}`, {
      hint: 'use the version of ground that wrote it, or a newer one',
    });
  }
  const modelConfig = await readJson<ModelConfig>(path, 'model.json');
  const model = await readArrays(join(path, 'model.safetensors'), '');
  const moments = join(path, 'optimizer.safetensors');
  const optimizer =
    options.optimizer === false
      ? null
      : { m: await readArrays(moments, 'm.'), v: await readArrays(moments, 'v.') };
  return {
    path,
    state,
    model,
    optimizer,
    recipe: await readFile(join(path, 'recipe.yaml'), 'utf8'),
    modelConfig: { ...modelConfig, tokenizer: join(path, modelConfig.tokenizer) },
  };
}

/** Bytes that a checkpoint of this content takes, but for its small JSON files. */
function contentBytes(content: CheckpointContent): number {
  const sizes = [content.model, content.optimizer.m, content.optimizer.v].flatMap(map =>
    [...map.values()].map(({ shape, dtype = 'F32' }) =>
      shape.reduce((product, n) => product * n, itemSize(dtype)),
    ),
  );
  return sizes.reduce((sum, n) => sum + n, content.tokenizer.byteLength);
}

/** Throws GroundError('io') when the volume of `folder` has less room than `bytes`. Call it before hours of work, too. */
export async function requireSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize, blocks } = await statfs(folder);
  const free = bavail * bsize;
  // Some network file systems report no size at all.
  if (blocks === 0 || free >= bytes) return;
  const mb = (n: number): string => `${(n / 1e6).toFixed(1)} MB`;
  throw new GroundError('io', `a checkpoint in ${folder} takes ${mb(bytes)}, but only ${mb(free)} are free`, {
    hint: 'free space there, lower checkpoint.keep, delete old runs (ground checkpoints prune), or write elsewhere',
  });
}

/** A moment without its parameter, or of another shape, would surface only when somebody resumes. */
function checkMoments({ model, optimizer }: CheckpointContent): void {
  for (const [kind, moments] of Object.entries(optimizer)) {
    for (const [name, { shape }] of moments) {
      const parameter = model.get(name);
      if (!parameter) throw new GroundError('checkpoint', `moment ${kind}.${name} belongs to no parameter`);
      if (parameter.shape.join() !== shape.join()) {
        throw new GroundError(
          'checkpoint',
          `moment ${kind}.${name} has shape [${shape}], its parameter [${parameter.shape}]`,
        );
      }
    }
  }
}

function entries(prefix: string, arrays: ReadonlyMap<string, NamedArraySource>): TensorEntry[] {
  return [...arrays].map(([name, { shape, dtype = 'F32', data }]) => ({
    name: prefix + name,
    dtype,
    shape,
    data,
  }));
}

async function readArrays(file: string, prefix: string): Promise<Map<string, NamedArray>> {
  const source = await openSafetensors(file);
  try {
    const arrays = new Map<string, NamedArray>();
    for (const [name, { shape }] of source.tensors) {
      if (!name.startsWith(prefix)) continue;
      arrays.set(name.slice(prefix.length), { shape, data: await source.readFloat32(name) });
    }
    return arrays;
  } finally {
    await source.close();
  }
}

/** Reads JSON whose checksum was verified: it has the shape that `saveCheckpoint` gave it. */
async function readJson<T>(path: string, file: string): Promise<T> {
  return JSON.parse(await readFile(join(path, file), 'utf8'));
}

function jsonText(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function damaged(path: string, problems: readonly Problem[]): GroundError {
  return new GroundError('checkpoint', `checkpoint ${path} is damaged: ${describeProblems(problems)}`, {
    hint: 'use an older checkpoint; `ground checkpoints verify` says which are whole',
  });
}
