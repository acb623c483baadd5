/** Adapters of a checkpoint as the PEFT library saves them: a folder with adapter_config.json for each network. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError, writeDirectoryAtomic, writeStream } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import { FOLDERS, type FolderName, placeOf } from '../models/huggingface/names.ts';
import { encodeSafetensors, type TensorEntry } from '../models/safetensors.ts';
import type { LayerAdapter } from '../train/checkpoint.ts';
import { requireWhole } from '../train/find.ts';
import { openWeights, storedAdapters, type Weights } from '../train/stored-weights.ts';

export interface PeftReport {
  readonly out: string;
  readonly checkpoint: string;
  readonly folders: readonly {
    readonly folder: FolderName;
    /** Linear layers with an adapter. */
    readonly layers: number;
    readonly ranks: readonly number[];
    readonly bytes: number;
  }[];
}

/**
 * Writes `out`/llm, `out`/clip and so on, one for each network with adapters, replacing an earlier export there. Throws
 * GroundError('export') when the checkpoint has no adapters, 'checkpoint' when it is damaged.
 */
export async function exportPeft(options: {
  readonly checkpoint: string;
  readonly verified?: boolean;
  readonly out: string;
  /** False: the adapters that training goes on with, not their running average. */
  readonly average?: boolean;
}): Promise<PeftReport> {
  const { checkpoint, out, average = true } = options;
  if (options.verified !== true) await requireWhole(checkpoint);
  const adapters = await storedAdapters(checkpoint);
  if (adapters.length === 0) {
    throw new GroundError('export', `${checkpoint} has no adapters`, {
      hint: 'train a stage with `lora`, or use ground export safetensors for the weights',
    });
  }
  const source = await openWeights(checkpoint, { average });
  try {
    const folders = FOLDERS.flatMap(folder => {
      const own = adapters.filter(({ layer }) => placeOf(`${layer}.weight`).folder === folder);
      return own.length === 0 ? [] : [{ folder, adapters: own }];
    });
    const bytes = new Map<FolderName, number>();
    await writeDirectoryAtomic(out, async temporary => {
      for (const { folder, adapters: own } of folders) {
        const path = join(temporary, folder);
        await mkdir(path).catch(thrown => {
          throw ioError(thrown, 'create', path);
        });
        const config = `${JSON.stringify(peftConfig(folder, own), null, 2)}\n`;
        await writeStream(join(path, 'adapter_config.json'), sink => sink(new TextEncoder().encode(config)));
        const written = await writeStream(join(path, 'adapter_model.safetensors'), sink =>
          encodeSafetensors(sink, entriesOf(own, source), { format: 'pt' }),
        );
        bytes.set(folder, written.bytes);
      }
    });
    return {
      out,
      checkpoint,
      folders: folders.map(({ folder, adapters: own }) => ({
        folder,
        layers: own.length,
        ranks: [...new Set(own.map(({ rank }) => rank))],
        bytes: bytes.get(folder) ?? 0,
      })),
    };
  } finally {
    await source.close();
  }
}

/** The layer's name in its own network. */
function nameOf({ layer }: LayerAdapter): string {
  return placeOf(`${layer}.weight`).name.replace(/\.weight$/, '');
}

function entriesOf(adapters: readonly LayerAdapter[], source: Weights): TensorEntry[] {
  return adapters.flatMap(adapter =>
    ['lora_A', 'lora_B'].map((matrix): TensorEntry => {
      const parameter = `${adapter.layer}.${matrix}.weight`;
      const info = source.tensors.get(parameter);
      if (!info) throw new GroundError('export', `the checkpoint has no ${parameter}`);
      return {
        name: `base_model.model.${nameOf(adapter)}.${matrix}.weight`,
        dtype: info.dtype,
        shape: info.shape,
        data: () => source.readBytes(parameter),
      };
    }),
  );
}

/** Rank, scale and layers in PEFT's words; ranks that differ from the first layer's are patterns. */
function peftConfig(folder: FolderName, adapters: readonly LayerAdapter[]): object {
  const [first] = adapters as [LayerAdapter];
  const others = (key: 'rank' | 'alpha') =>
    Object.fromEntries(adapters.filter(a => a[key] !== first[key]).map(a => [nameOf(a), a[key]]));
  return {
    peft_type: 'LORA',
    task_type: folder === 'llm' ? 'CAUSAL_LM' : 'FEATURE_EXTRACTION',
    base_model_name_or_path: null,
    inference_mode: true,
    r: first.rank,
    lora_alpha: first.alpha,
    lora_dropout: first.dropout,
    target_modules: adapters.map(nameOf),
    rank_pattern: others('rank'),
    alpha_pattern: others('alpha'),
    bias: 'none',
    fan_in_fan_out: false,
    use_rslora: false,
    use_dora: false,
    modules_to_save: null,
  };
}
