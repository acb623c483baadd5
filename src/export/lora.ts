/** A LoRA adapter (arXiv 2106.09685) in the layout of the PEFT library, to be merged into the weights it was trained for. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GroundError, messageOf } from '../errors.ts';
import { openSafetensors, type SafetensorsFile, type TensorInfo } from '../models/safetensors.ts';
import { addLowRank } from '../nn/lora.ts';

/** What merging needs of adapter_config.json; the other keys only matter to training. */
interface LoraConfig {
  readonly r: number;
  readonly lora_alpha: number;
  readonly use_rslora?: boolean;
}

/** Variants that change the product or come with other weights, and the values with which they are off. */
const UNSUPPORTED: Readonly<Record<string, readonly unknown[]>> = {
  use_dora: [false, null],
  fan_in_fan_out: [false],
  bias: ['none'],
  modules_to_save: [null],
  rank_pattern: [null],
  alpha_pattern: [null],
};

/** `base_model.model.<module>.lora_A.weight`, and with an adapter's name before `.weight` in older files. */
const KEY = /^base_model\.model\.(.+)\.lora_([AB])(?:\.default)?\.weight$/;

interface Pair {
  a?: string;
  b?: string;
}

/** An open adapter: W + scale · B · A for every weight it names. */
export class LoraAdapter {
  readonly folder: string;
  readonly #file: SafetensorsFile;
  readonly #pairs: ReadonlyMap<string, Pair>;
  readonly #config: LoraConfig;

  constructor(folder: string, file: SafetensorsFile, pairs: ReadonlyMap<string, Pair>, config: LoraConfig) {
    this.folder = folder;
    this.#file = file;
    this.#pairs = pairs;
    this.#config = config;
  }

  /** The weights it changes, by Hugging Face name. */
  get targets(): string[] {
    return [...this.#pairs.keys()].map(module => `${module}.weight`);
  }

  /**
   * Adds the adapter's change to a weight [out, in], in float32 and in place, and returns the largest change.
   * Throws GroundError('export') where the adapter's matrices do not fit.
   */
  async merge(name: string, shape: readonly number[], values: Float32Array): Promise<number> {
    const pair = this.#pairs.get(name.replace(/\.weight$/, ''));
    if (pair?.a === undefined || pair.b === undefined) return 0;
    const [rows = 0, columns = 0] = shape;
    const { r, lora_alpha: alpha, use_rslora: stabilized } = this.#config;
    this.#expectShape(pair.a, [r, columns]);
    this.#expectShape(pair.b, [rows, r]);
    const a = await this.#file.readFloat32(pair.a);
    const b = await this.#file.readFloat32(pair.b);
    const scale = alpha / (stabilized === true ? Math.sqrt(r) : r);
    return addLowRank({ values, columns }, a, b, scale);
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #expectShape(tensor: string, expected: readonly number[]): void {
    const { shape } = this.#file.tensors.get(tensor) as TensorInfo;
    if (shape.join() === expected.join()) return;
    throw new GroundError(
      'export',
      `${this.#file.file}: ${tensor} has shape [${shape}], the model needs [${expected}]`,
      { hint: 'the adapter was trained for another model, or its r is not that of adapter_config.json' },
    );
  }
}

/**
 * Opens a folder with adapter_config.json and adapter_model.safetensors. Throws GroundError('export') on a variant that
 * merging does not know (DoRA, trained biases, ranks by pattern), a tensor that is no LoRA matrix, or half a pair.
 */
export async function openLora(folder: string): Promise<LoraAdapter> {
  const config = await readConfig(join(folder, 'adapter_config.json'));
  const file = await openSafetensors(join(folder, 'adapter_model.safetensors'));
  try {
    const pairs = new Map<string, Pair>();
    for (const tensor of file.tensors.keys()) {
      const [, module, which] = KEY.exec(tensor) ?? [];
      if (module === undefined) {
        throw new GroundError('export', `${file.file}: ${tensor} is no LoRA matrix of a linear layer`, {
          hint: 'only adapters of linear layers in PEFT’s layout can be merged',
        });
      }
      pairs.set(module, { ...pairs.get(module), [which === 'A' ? 'a' : 'b']: tensor });
    }
    for (const [module, { a, b }] of pairs) {
      if (a === undefined || b === undefined) {
        throw new GroundError('export', `${file.file}: ${module} has lora_${a ? 'A' : 'B'} alone`, {
          hint: 'the adapter file is incomplete: save it again',
        });
      }
    }
    return new LoraAdapter(folder, file, pairs, config);
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

async function readConfig(path: string): Promise<LoraConfig> {
  let config: Record<string, unknown>;
  try {
    config = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new GroundError('export', `${path} cannot be read: ${messageOf(cause)}`, {
      hint: '--lora names a folder that the PEFT library saved',
      cause,
    });
  }
  for (const [key, off] of Object.entries(UNSUPPORTED)) {
    const value = config[key];
    const empty = typeof value === 'object' && value !== null && Object.keys(value).length === 0;
    if (value === undefined || empty || off.includes(value)) continue;
    throw new GroundError('export', `${path}: ${key} is ${JSON.stringify(value)}, which cannot be merged`, {
      hint: 'merge it with the library that trained it, and import the result',
    });
  }
  const { r, lora_alpha: alpha, use_rslora: stabilized } = config;
  if (typeof r !== 'number' || typeof alpha !== 'number' || !(r >= 1)) {
    throw new GroundError(
      'export',
      `${path}: r is ${JSON.stringify(r)}, lora_alpha ${JSON.stringify(alpha)}`,
      {
        hint: 'both must be numbers, r 1 or more',
      },
    );
  }
  return { r, lora_alpha: alpha, use_rslora: stabilized === true };
}
