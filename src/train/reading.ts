/** Checkpoints read back. Every file is read once: its checksum is computed from the bytes that are used. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { errorCode, ioError } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import type { ModelConfig } from '../models/config.ts';
import { openSafetensors, type SafetensorsFile } from '../models/safetensors.ts';
import { readWhole } from '../models/whole-files.ts';
import {
  AVERAGE,
  type CheckpointState,
  FROZEN,
  type FrozenFile,
  type Metric,
  MOMENTS,
  type NamedArray,
  STATE_FORMAT,
  WEIGHTS,
} from './checkpoint.ts';
import {
  checkFiles,
  checkFolder,
  checksumProblem,
  type FileList,
  type Problem,
  readManifest,
} from './integrity.ts';
import { DamagedCheckpoint } from './rundir.ts';

export interface LoadedCheckpoint {
  readonly path: string;
  readonly state: CheckpointState;
  /** Every parameter, frozen ones too. */
  readonly model: ReadonlyMap<string, NamedArray>;
  /** Null when it was not asked for. */
  readonly optimizer: {
    readonly m: ReadonlyMap<string, NamedArray>;
    readonly v: ReadonlyMap<string, NamedArray>;
  } | null;
  /** Running averages of what the stage trains; null where its recipe asks for none. */
  readonly average: ReadonlyMap<string, NamedArray> | null;
  /** The file that it shares with the other checkpoints of its stage; null where it has none. */
  readonly frozen: FrozenFile | null;
  readonly recipe: string;
  /** Its `tokenizer` is the checkpoint's own copy, absolute. */
  readonly modelConfig: ModelConfig;
}

/** What is wrong with a checkpoint: missing files, sizes, checksums. The empty list means that it is whole. */
export async function verifyCheckpoint(path: string): Promise<Problem[]> {
  return checkFolder(path, { checksums: true });
}

/** Formats that this `ground` reads. */
const FORMATS: readonly unknown[] = [1, STATE_FORMAT];

/**
 * Reads a checkpoint and verifies it on the way. Throws `DamagedCheckpoint` naming the damaged file, or
 * GroundError('checkpoint') when a newer `ground` wrote it. `optimizer: false` keeps no moments in memory, for evaluation
 * and export.
 */
export async function loadCheckpoint(
  path: string,
  options: { readonly optimizer?: boolean } = {},
): Promise<LoadedCheckpoint> {
  const files = await presentFiles(path);
  const reader = new VerifiedFolder(path, files);
  const { format, ...state } = await reader.json<CheckpointState & { format: unknown }>('state.json');
  if (!FORMATS.includes(format)) {
    throw new GroundError('checkpoint', `${path} has format ${format}; this ground reads ${STATE_FORMAT}`, {
      hint: 'use the version of ground that wrote it, or a newer one',
    });
  }
  const modelConfig = await reader.json<ModelConfig>('model.json');
  const recipe = await reader.text('recipe.yaml');
  // Before it is read: a file that changes meanwhile is not the one that was verified.
  const changed = FROZEN in files ? (await stat(join(path, FROZEN))).mtimeMs : 0;
  const arrays = await reader.tensors([
    WEIGHTS,
    ...(FROZEN in files ? [FROZEN] : []),
    ...(options.optimizer === false ? [] : [MOMENTS]),
    ...(AVERAGE in files ? [AVERAGE] : []),
  ]);
  const model = new Map([...(arrays.get(WEIGHTS) ?? []), ...(arrays.get(FROZEN) ?? [])]);
  const moments = arrays.get(MOMENTS) ?? null;
  await reader.rest();
  return {
    path,
    state,
    model,
    optimizer: moments && { m: below('m.', moments), v: below('v.', moments) },
    average: arrays.get(AVERAGE) ?? null,
    frozen: frozenFile(path, files, changed, [...(arrays.get(FROZEN) ?? new Map()).keys()]),
    recipe,
    modelConfig: { ...modelConfig, tokenizer: join(path, modelConfig.tokenizer) },
  };
}

function frozenFile(path: string, files: FileList, mtimeMs: number, tensors: string[]): FrozenFile | null {
  const listed = files[FROZEN];
  if (!listed) return null;
  const written = { bytes: listed.bytes, crc32c: Number.parseInt(listed.crc32c, 16) };
  return { path: join(path, FROZEN), written, mtimeMs, tensors };
}

/** What a list of checkpoints tells of one. */
export interface Summary {
  readonly scores: Readonly<Record<string, number>> | null;
  readonly metric: Metric | null;
}

/** Scores of a checkpoint; null where its state cannot be read. Reads one small file. */
export async function readSummary(path: string): Promise<Summary | null> {
  const files = await readManifest(path);
  if ('problem' in files) return null;
  try {
    const state = await new VerifiedFolder(path, files.list).json<CheckpointState>('state.json');
    return { scores: state.scores ?? null, metric: state.metric ?? null };
  } catch {
    return null;
  }
}

/** Steps that a checkpoint has behind it, and those of the whole stage. Reads one small file. */
export async function readSteps(path: string): Promise<Pick<CheckpointState, 'step' | 'steps'>> {
  const { step, steps } = await new VerifiedFolder(path, await presentFiles(path)).json<CheckpointState>(
    'state.json',
  );
  return { step, steps };
}

/** The manifest's list, once every file is known to be there with its size. */
async function presentFiles(path: string): Promise<FileList> {
  const files = await readManifest(path);
  if ('problem' in files) throw new DamagedCheckpoint(path, [files]);
  const problems = await checkFiles(path, files.list, { checksums: false });
  if (problems.length > 0) throw new DamagedCheckpoint(path, problems);
  return files.list;
}

/** Reads files of a checkpoint and compares what it read with the manifest. */
class VerifiedFolder {
  readonly #path: string;
  readonly #files: FileList;
  readonly #seen = new Set<string>();

  constructor(path: string, files: FileList) {
    this.#path = path;
    this.#files = files;
  }

  async text(file: string): Promise<string> {
    const bytes = await readFile(join(this.#path, file)).catch(thrown => {
      if (errorCode(thrown) === 'ENOENT') throw this.#damaged(file, 'is missing');
      throw ioError(thrown, 'read', join(this.#path, file));
    });
    this.#compare(file, crc32c(bytes));
    return bytes.toString('utf8');
  }

  /** What was written into the file, which has the shape that writing gave it: its checksum says so. */
  async json<T>(file: string): Promise<T> {
    return JSON.parse(await this.text(file));
  }

  /** The tensors of some files, by file. The next file is read while the one before it is compared. */
  async tensors(files: readonly string[]): Promise<Map<string, Map<string, NamedArray>>> {
    const opened: SafetensorsFile[] = [];
    const found = new Map<string, Map<string, NamedArray>>();
    try {
      for (const file of files) {
        opened.push(await this.#blaming(file, openSafetensors(join(this.#path, file))));
      }
      const wholes = readWhole(opened);
      for (const file of files) {
        const { value } = await this.#blaming(file, wholes.next());
        if (!value) throw new Error(`${file} was not read`);
        this.#compare(file, value.crc32c);
        found.set(file, value.arrays);
      }
    } finally {
      await Promise.all(opened.map(file => file.close()));
    }
    return found;
  }

  /** What cannot be understood in a file is damage of it. */
  async #blaming<T>(file: string, reading: Promise<T>): Promise<T> {
    return reading.catch(thrown => {
      if (!(thrown instanceof GroundError) || thrown.code !== 'model') throw thrown;
      throw this.#damaged(file, `cannot be read: ${thrown.message}`);
    });
  }

  /** Verifies the files that nobody asked for. */
  async rest(): Promise<void> {
    const others = Object.entries(this.#files).filter(([file]) => !this.#seen.has(file));
    const problems = await checkFiles(this.#path, Object.fromEntries(others), { checksums: true });
    if (problems.length > 0) throw new DamagedCheckpoint(this.#path, problems);
  }

  #compare(file: string, found: number): void {
    this.#seen.add(file);
    const expected = this.#files[file];
    const problem = expected ? checksumProblem(found, expected.crc32c) : 'is not in the manifest';
    if (problem !== undefined) throw this.#damaged(file, problem);
  }

  #damaged(file: string, problem: string): DamagedCheckpoint {
    return new DamagedCheckpoint(this.#path, [{ file, problem }]);
  }
}

/** The arrays whose names begin with a prefix, without it. */
function below(prefix: string, arrays: ReadonlyMap<string, NamedArray>): Map<string, NamedArray> {
  const found = new Map<string, NamedArray>();
  for (const [name, array] of arrays) {
    if (name.startsWith(prefix)) found.set(name.slice(prefix.length), array);
  }
  return found;
}
