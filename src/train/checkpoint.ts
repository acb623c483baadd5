/**
 * A checkpoint is a folder that appears by rename, complete and verified, or not at all. It alone suffices to continue
 * training, to predict and to export: weights, optimizer, counters, the data's position, recipe, model, tokenizer.
 */
import { mkdir, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  ioError,
  removeDirectory,
  type Sink,
  type Written,
  writeDirectoryAtomic,
  writeStream,
} from '../atomic.ts';
import type { CompileMode } from '../engine/mode.ts';
import { GroundError } from '../errors.ts';
import { linkOrCopy } from '../link.ts';
import type { ModelConfig } from '../models/config.ts';
import { type Dtype, itemSize } from '../models/dtypes.ts';
import { encodeSafetensors, type TensorEntry } from '../models/safetensors.ts';
import type { GuardState } from './guards.ts';
import { MANIFEST, manifestText } from './integrity.ts';
import { checkpointName } from './rundir.ts';

/** Raised when an older `ground` could no longer read what is written; 1 had all weights in one file. */
export const STATE_FORMAT = 2;

/** Weights that the stage trains, or all of them where nothing is frozen. */
export const WEIGHTS = 'model.safetensors';
/** Weights that the stage leaves alone: one file on the disk, and a name of it in every checkpoint. */
export const FROZEN = 'frozen.safetensors';
export const MOMENTS = 'optimizer.safetensors';
/** Running averages of the weights that the stage trains; there only where its recipe asks for them. */
export const AVERAGE = 'ema.safetensors';
/** Which file has which tensor, as Hugging Face writes it for weights in several files. */
export const WEIGHT_INDEX = 'model.safetensors.index.json';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Values of one parameter or moment, row-major. */
export interface NamedArray {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/**
 * As `NamedArray`; `data` may be fetched only when it is written, so that the engine's copy need not be doubled at once.
 * What is fetched belongs to whoever fetched it: nobody writes there any more.
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
  /** How its steps ran; absent in checkpoints from before there was a choice. */
  readonly compile?: CompileMode;
  readonly seeds: Readonly<Record<string, number>>;
  /** Where the loader goes on; only the loader knows what it means. */
  readonly loader: Json;
  readonly firstLoss: number | null;
  /** Of the last steps, oldest first: what the reported last loss averages. */
  readonly lastLosses: readonly number[];
  /** Held-out scores of this very step; absent where it was not scored. */
  readonly scores?: Readonly<Record<string, number>>;
  /** The score that says which checkpoint of the stage is best; absent where the recipe names none. */
  readonly metric?: Metric;
  /** Fingerprints of what was read besides the recipe; going on with other content would be another run. */
  readonly inputs?: Inputs;
  /** What the guards remember. */
  readonly guards?: GuardState;
  /** The adapters among the weights; absent where there are none. */
  readonly adapters?: readonly LayerAdapter[];
  /** Version of the `ground` that wrote it. */
  readonly version?: string;
}

/** By which score checkpoints are compared. */
export interface Metric {
  readonly score: string;
  readonly goal: 'max' | 'min';
}

/** The low-rank adapter of one linear layer. */
export interface LayerAdapter {
  /** Name of the module whose weight it changes: llm.model.layers.0.self_attn.q_proj. */
  readonly layer: string;
  readonly rank: number;
  /** The change is scaled by alpha / rank. */
  readonly alpha: number;
  readonly dropout: number;
}

/** SHA-256 in hexadecimal. */
export interface Inputs {
  readonly tokenizer: string;
  /** Of each source of the recipe's `data`, in order: its dataset's manifest.json, which lists every shard's checksum. */
  readonly data: readonly string[];
}

/** The file of the weights that a stage does not train, which its checkpoints share. */
export interface FrozenFile {
  readonly path: string;
  readonly written: Written;
  /** When its content changed last: a file that was changed since is not linked to. */
  readonly mtimeMs: number;
  /** Names of its tensors. */
  readonly tensors: readonly string[];
}

export interface CheckpointContent {
  readonly state: CheckpointState;
  /** Every parameter by name but those of `frozen`. */
  readonly model: ReadonlyMap<string, NamedArraySource>;
  /** Where the other parameters lie already. */
  readonly frozen?: FrozenFile;
  /** AdamW's moments of the trainable parameters, by parameter name. */
  readonly optimizer: {
    readonly m: ReadonlyMap<string, NamedArraySource>;
    readonly v: ReadonlyMap<string, NamedArraySource>;
  };
  /** Running averages of the trainable parameters, by parameter name. */
  readonly average?: ReadonlyMap<string, NamedArraySource>;
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

/**
 * Writes `stageDir/checkpoint-<step>`, replacing one of the same step; it is published once the disk has all of it.
 * It is not read again here: a file just written is read from memory, which says nothing of the disk. Loading compares
 * every byte with the checksums. Throws GroundError('io') when the disk is full or not writable, leaving nothing behind.
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
    return [...written.values()].reduce((sum, file) => sum + file.bytes, 0);
  });
  return { path, bytes, seconds: (performance.now() - started) / 1000 };
}

/** Writes everything and returns what was written, which is all but the linked file. */
async function writeFiles(folder: string, content: CheckpointContent): Promise<Map<string, Written>> {
  const written = new Map<string, Written>();
  const add = async (name: string, fill: (sink: Sink) => Promise<void>): Promise<void> => {
    written.set(name, await writeStream(join(folder, name), fill));
  };
  const addText = (name: string, text: string): Promise<void> =>
    add(name, sink => sink(new TextEncoder().encode(text)));
  const { frozen, average } = content;
  const moments = [...entries('m.', content.optimizer.m), ...entries('v.', content.optimizer.v)];
  // Side by side: flushing costs a disk about the same for one file as for ten.
  const results = await Promise.allSettled([
    add(WEIGHTS, sink => encodeSafetensors(sink, entries('', content.model))),
    add(MOMENTS, sink => encodeSafetensors(sink, moments)),
    ...(average ? [add(AVERAGE, sink => encodeSafetensors(sink, entries('', average)))] : []),
    addText('state.json', jsonText({ format: STATE_FORMAT, ...content.state })),
    addText('recipe.yaml', content.recipe),
    addText('model.json', jsonText({ ...content.modelConfig, tokenizer: 'tokenizer.json' })),
    add('tokenizer.json', sink => sink(content.tokenizer)),
    ...[...(content.companions ?? [])].map(([name, bytes]) => add(name, sink => sink(bytes))),
    ...(frozen ? [addText(WEIGHT_INDEX, weightIndex([...content.model.keys()], frozen))] : []),
  ]);
  // All have ended: nothing writes into a folder that is about to be removed.
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  if (frozen) await linkOrCopy(frozen.path, join(folder, FROZEN));
  const listed = new Map(written);
  if (frozen) listed.set(FROZEN, frozen.written);
  const manifest = manifestText(listed);
  await writeStream(join(folder, MANIFEST), sink => sink(new TextEncoder().encode(manifest)));
  return written;
}

/** Lets other readers of safetensors find every tensor of a model in two files. */
function weightIndex(trained: readonly string[], frozen: FrozenFile): string {
  const files = [
    ...trained.map(name => [name, WEIGHTS] as const),
    ...frozen.tensors.map(name => [name, FROZEN] as const),
  ];
  files.sort(([a], [b]) => (a < b ? -1 : 1));
  return jsonText({ metadata: {}, weight_map: Object.fromEntries(files) });
}

/** Written by a trial save, bytes: enough to need room and a write of its own. */
const TRIAL_BYTES = 1 << 18;

/**
 * Does once, small, all that saving does in a stage's folder: a folder, a file, flush, read back, rename, delete. Hours
 * of work are not for finding out that one of these is not possible. Throws GroundError('io').
 */
export async function trySaving(stageDir: string): Promise<void> {
  const path = join(stageDir, `${checkpointName(0)}.trial`);
  await writeDirectoryAtomic(path, async folder => {
    const trial = new Uint8Array(TRIAL_BYTES).fill(0x5a);
    await writeStream(join(folder, 'trial'), sink => sink(trial), { readBack: true });
  });
  await removeDirectory(path);
}

/** Bytes that a checkpoint of this content takes, but for its small JSON files. */
function contentBytes(content: CheckpointContent): number {
  const { model, optimizer, average = new Map<string, NamedArraySource>() } = content;
  const sizes = [model, optimizer.m, optimizer.v, average].flatMap(map =>
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

function jsonText(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
