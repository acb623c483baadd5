/**
 * A checkpoint as Hugging Face folders: clip/, dinov2/ and llm/ load in transformers, ferret/ holds what no published
 * network has. Weights pass through memory one tensor at a time.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError, writeDirectoryAtomic, writeStream } from '../atomic.ts';
import { loadTokenizer, type Tokenizer } from '../data/tokenizer.ts';
import { tokenizerCompanions } from '../data/tokenizer-files.ts';
import { GroundError } from '../errors.ts';
import type { ModelConfig } from '../models/config.ts';
import { type Dtype, isFloating, narrow } from '../models/dtypes.ts';
import { FOLDERS, type FolderName, placeOf } from '../models/huggingface/names.ts';
import { type Provenance, parseProvenance } from '../models/huggingface/provenance.ts';
import { configText, huggingFaceConfigs } from '../models/huggingface/write-config.ts';
import { encodeSafetensors, type TensorEntry } from '../models/safetensors.ts';
import { requireWhole } from '../train/find.ts';
import { openWeights, storedAdapters, type Weights, withoutAdapters } from '../train/stored-weights.ts';
import { type LoraAdapter, openLora } from './lora.ts';

/** Values as the checkpoint has them, or all of one dtype. */
export type ExportDtype = 'source' | 'float32' | 'float16' | 'bfloat16';

const DTYPES: Readonly<Record<Exclude<ExportDtype, 'source'>, Dtype>> = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
};

const TORCH_NAMES: Partial<Record<Dtype, string>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  F64: 'float64',
};

export interface SafetensorsReport {
  readonly out: string;
  readonly checkpoint: string;
  readonly folders: readonly {
    readonly folder: FolderName;
    readonly tensors: number;
    readonly bytes: number;
    readonly dtypes: readonly Dtype[];
  }[];
  /** The stage's own adapters: on how many layers, and the largest change of a value where they were merged. */
  readonly adapters?: { readonly layers: number; readonly largestChange: number | null };
  /** The adapter that was merged, how many weights it changed and the largest change of a value. */
  readonly lora?: { readonly folder: string; readonly weights: number; readonly largestChange: number };
}

/** What merging has done so far; known only when every tensor has been written. */
interface Merging {
  readonly adapter: LoraAdapter;
  largestChange: number;
}

/**
 * Writes `out`, replacing an earlier export there. Throws GroundError('checkpoint') on a damaged checkpoint and 'export'
 * on a network that transformers does not have, or a value that the dtype cannot hold.
 */
export async function exportHuggingFace(options: {
  readonly checkpoint: string;
  /** It was read in full just now and is whole. */
  readonly verified?: boolean;
  readonly out: string;
  readonly dtype: ExportDtype;
  /** Folder of a PEFT adapter of the language model, merged into its weights in float32. */
  readonly lora?: string;
  /** False: the layers without the adapters that the checkpoint has for them. */
  readonly merge?: boolean;
  /** False: the weights that training goes on with, not their running average. */
  readonly average?: boolean;
}): Promise<SafetensorsReport> {
  const { checkpoint, out, dtype, merge = true, average = true } = options;
  if (options.verified !== true) await requireWhole(checkpoint);
  const model: ModelConfig = JSON.parse(await readFile(join(checkpoint, 'model.json'), 'utf8'));
  const tokenizerFile = join(checkpoint, 'tokenizer.json');
  const tokenizer = loadTokenizer(tokenizerFile);
  const companions = await tokenizerCompanions(tokenizerFile);
  const origin = companions.get('huggingface.json');
  const provenance = origin === undefined ? null : parseProvenance(new TextDecoder().decode(origin));
  const adapters = await storedAdapters(checkpoint);
  const source = withoutAdapters(await openWeights(checkpoint, { average }), adapters, merge);
  let merging: Merging | null = null;
  try {
    if (options.lora !== undefined) merging = { adapter: await openLora(options.lora), largestChange: 0 };
    const entries = entriesByFolder(source, dtype, provenance, merging);
    checkTargets(merging, entries.llm);
    const configs = configsOf(model, entries, tokenizer, provenance);
    const bytes = new Map<FolderName, number>();
    await writeDirectoryAtomic(out, async temporary => {
      for (const folder of FOLDERS) {
        const path = join(temporary, folder);
        await mkdir(path).catch(thrown => {
          throw ioError(thrown, 'create', path);
        });
        await writeText(join(path, 'config.json'), configText(configs[folder]));
        const written = await writeStream(join(path, 'model.safetensors'), sink =>
          encodeSafetensors(sink, entries[folder], { format: 'pt' }),
        );
        bytes.set(folder, written.bytes);
      }
      await writeTokenizer(join(temporary, 'llm'), tokenizerFile, tokenizer, companions);
    });
    return {
      out,
      checkpoint,
      folders: FOLDERS.map(folder => ({
        folder,
        tensors: entries[folder].length,
        bytes: bytes.get(folder) ?? 0,
        dtypes: [...new Set(entries[folder].map(entry => entry.dtype))].sort(),
      })),
      ...(adapters.length > 0 && {
        adapters: { layers: adapters.length, largestChange: merge ? source.largestChange : null },
      }),
      ...(merging && {
        lora: {
          folder: merging.adapter.folder,
          weights: merging.adapter.targets.length,
          largestChange: merging.largestChange,
        },
      }),
    };
  } finally {
    await merging?.adapter.close();
    await source.close();
  }
}

/** Every tensor under its name at Hugging Face, read and converted when it is written. */
function entriesByFolder(
  source: Weights,
  dtype: ExportDtype,
  provenance: Provenance | null,
  merging: Merging | null,
): Readonly<Record<FolderName, TensorEntry[]>> {
  const merged = new Set(merging?.adapter.targets);
  const entries: Record<FolderName, TensorEntry[]> = { clip: [], dinov2: [], llm: [], ferret: [] };
  const hasText = [...source.tensors.keys()].some(name => name.startsWith('text_encoder.'));
  const bare = provenance?.bareVision === true && !hasText;
  for (const [parameter, { dtype: stored, shape }] of source.tensors) {
    const { folder, name } = placeOf(parameter);
    const target = dtype === 'source' || !isFloating(stored) ? stored : DTYPES[dtype];
    entries[folder].push({
      name: folder === 'clip' && bare ? name.replace(/^vision_model\./, '') : name,
      dtype: target,
      shape,
      data: async () => {
        const changes = merging !== null && folder === 'llm' && merged.has(name);
        if (target === stored && !changes) return source.readBytes(parameter);
        const values = await source.readFloat32(parameter);
        if (changes) {
          const change = await merging.adapter.merge(name, shape, values);
          merging.largestChange = Math.max(merging.largestChange, change);
        }
        return narrow(target, values, `tensor ${parameter}`);
      },
    });
  }
  return entries;
}

/** An adapter of another model must be refused before anything is written. */
function checkTargets(merging: Merging | null, llm: readonly TensorEntry[]): void {
  const names = new Set(llm.map(entry => entry.name));
  const missing = merging?.adapter.targets.filter(name => !names.has(name)) ?? [];
  if (missing.length === 0) return;
  throw new GroundError(
    'export',
    `${merging?.adapter.folder}: the language model has no ${missing.slice(0, 3).join(', ')}` +
      (missing.length > 3 ? `, … (${missing.length} in all)` : ''),
    { hint: 'the adapter was trained for another model' },
  );
}

function configsOf(
  model: ModelConfig,
  entries: Readonly<Record<FolderName, readonly TensorEntry[]>>,
  tokenizer: Tokenizer,
  provenance: Provenance | null,
): Readonly<Record<FolderName, object>> {
  const written = (folder: FolderName) => ({
    dtype: TORCH_NAMES[commonDtype(entries[folder])] ?? 'float32',
    beginId: tokenizer.beginId,
    endId: tokenizer.endId,
    provenance,
  });
  const { tokenizer: _, ...choices } = model;
  return {
    clip: huggingFaceConfigs(model, written('clip')).clip,
    dinov2: huggingFaceConfigs(model, written('dinov2')).dinov2,
    llm: huggingFaceConfigs(model, written('llm')).llm,
    ferret: choices,
  };
}

/** The dtype of most values. */
function commonDtype(entries: readonly TensorEntry[]): Dtype {
  const sizes = new Map<Dtype, number>();
  for (const { dtype, shape } of entries) {
    sizes.set(dtype, (sizes.get(dtype) ?? 0) + shape.reduce((n, side) => n * side, 1));
  }
  return [...sizes].sort(([, a], [, b]) => b - a)[0]?.[0] ?? 'F32';
}

/** Writes a tokenizer.json with what lies beside it; a tokenizer_config.json always, which other runtimes need. */
export async function writeTokenizer(
  folder: string,
  file: string,
  tokenizer: Tokenizer,
  companions: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  const json = new Uint8Array(await readFile(file));
  await writeStream(join(folder, 'tokenizer.json'), sink => sink(json));
  for (const [name, bytes] of companions) {
    if (name !== 'huggingface.json') await writeStream(join(folder, name), sink => sink(bytes));
  }
  if (companions.has('tokenizer_config.json')) return;
  const token = (id: number | null): string | undefined => (id === null ? undefined : tokenizer.tokenOf(id));
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: token(tokenizer.beginId),
    eos_token: token(tokenizer.endId),
    unk_token: token(tokenizer.unknownId),
    clean_up_tokenization_spaces: false,
  };
  await writeText(join(folder, 'tokenizer_config.json'), `${JSON.stringify(config, null, 2)}\n`);
}

async function writeText(path: string, text: string): Promise<void> {
  await writeStream(path, sink => sink(new TextEncoder().encode(text)));
}
