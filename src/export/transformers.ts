/** A trained model as a folder of ONNX files in the layout of transformers.js: one file a piece, and what goes with them. */
import { mkdir } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { writeDirectoryAtomic } from '../atomic.ts';
import { CLIP_NORMALISATION, tileNormalisation } from '../data/normalise.ts';
import { tokenizerCompanions } from '../data/tokenizer-files.ts';
import { stopTokens } from '../eval/answer.ts';
import type { ModelConfig } from '../models/config.ts';
import { compareDecoding, DECODED, type Difference, requireClose } from './check.ts';
import { examplePrompts } from './example.ts';
import { type ExportSource, requireReplaceable, writeText } from './ferret.ts';
import { writeTokenizer } from './huggingface.ts';
import { type ExportViews, requireLength } from './network.ts';
import { lowerGraph } from './onnx/lower.ts';
import { storeWeights, type WeightType } from './onnx/weights.ts';
import { type WrittenModel, writeOnnx } from './onnx/write.ts';
import { openOnnxModel } from './onnx-model.ts';
import { ONNX_FOLDER, type OnnxSettings, partFile, SETTINGS_FILE } from './onnx-settings.ts';
import { PART_NAMES, recordPart, WIDE_INPUTS } from './parts.ts';
import { partsReadme } from './parts-readme.ts';
import { unifyRecordings } from './unify.ts';

export interface TransformersOptions {
  /** The folder to make. An earlier export there is replaced, anything else is left alone. */
  readonly out: string;
  /** Longest sequence; the model's max_length by default. */
  readonly length?: number;
  /** By default the views that the checkpoint's stage was trained with. */
  readonly views?: ExportViews;
  /** How weights are stored; fp32 by default. */
  readonly dtype?: WeightType;
  /** Runs the files in onnxruntime and compares; true by default. */
  readonly check?: boolean;
  /** `ground`'s own version, written into the files. */
  readonly version: string;
}

/** One file that was written. */
export interface WrittenPart extends WrittenModel {
  readonly file: string;
}

/** What was written and how it compares. */
export interface TransformersReport {
  readonly out: string;
  readonly checkpoint: string;
  readonly views: ExportViews;
  readonly length: number;
  readonly dtype: WeightType;
  readonly files: readonly WrittenPart[];
  /** Null where the check was not asked for. Only fp32 has to be close; of the others it is told how far they are off. */
  readonly differences: readonly Difference[] | null;
}

/**
 * Writes onnx/ with a file for each piece of the network, config.json, generation_config.json, preprocessor_config.json,
 * the tokenizer's files, ground.json, from which `ground predict --onnx` answers, and a README.md. The folder appears
 * complete or not at all.
 *
 * @throws GroundError('export') when a kernel has no counterpart, or fp32 files give other scores than the model
 */
export async function exportTransformers(
  loaded: ExportSource,
  options: TransformersOptions,
): Promise<TransformersReport> {
  const { model, recipe, checkpoint, stage, step, tokenizer } = loaded;
  const { out, check = true, dtype = 'fp32' } = options;
  const { config } = model;
  const length = options.length ?? config.max_length;
  const views = options.views ?? recipe.stage.views;
  requireLength(config, length);
  await requireReplaceable(out);
  // Run, stage and checkpoint; where they lie on this machine concerns nobody who gets the files.
  const origin = checkpoint.split(sep).slice(-3).join('/');
  return writeDirectoryAtomic(out, async folder => {
    await mkdir(join(folder, ONNX_FOLDER));
    const files: WrittenPart[] = [];
    for (const part of PART_NAMES) {
      const graph = lowerGraph(unifyRecordings(recordPart(model, part, views, length)), WIDE_INPUTS);
      const file = partFile(part, dtype);
      const description = {
        name: `${config.name} ${part}`,
        producer: { name: 'ground', version: options.version },
        metadata: { checkpoint: origin, stage: `${stage}`, step: `${step}`, views, dtype },
      };
      const stored = storeWeights(graph, dtype);
      const written = await writeOnnx(join(folder, ONNX_FOLDER), stored, description, file);
      files.push({ ...written, file: `${ONNX_FOLDER}/${file}` });
    }
    const settings: OnnxSettings = {
      format: 1,
      dtype,
      views,
      seed: recipe.stage.seed,
      grounding_prompt: recipe.stage.grounding_prompt,
      checkpoint: origin,
      stage,
      step,
      model: { ...config, tokenizer: 'tokenizer.json', max_length: Math.min(length, config.max_length) },
    };
    await writeJson(join(folder, SETTINGS_FILE), settings);
    await writeJson(join(folder, 'config.json'), configOf(loaded, dtype, files));
    await writeJson(join(folder, 'preprocessor_config.json'), preprocessorOf(config));
    const companions = await tokenizerCompanions(config.tokenizer);
    await writeTokenizer(folder, config.tokenizer, tokenizer, companions);
    await writeJson(join(folder, 'generation_config.json'), {
      bos_token_id: tokenizer.beginId,
      eos_token_id: [...stopTokens(tokenizer, config.template)],
      pad_token_id: tokenizer.unknownId ?? tokenizer.endId,
      max_length: settings.model.max_length,
      do_sample: false,
    });
    const differences = check ? await checkParts(folder, loaded, settings) : null;
    await writeText(join(folder, 'README.md'), partsReadme(settings, files, differences));
    return { out, checkpoint, views, length, dtype, files, differences };
  });
}

/** Prompts about two rendered scenes of different lengths, and tokens decoded after them. */
async function checkParts(
  folder: string,
  { model, tokenizer }: ExportSource,
  settings: OnnxSettings,
): Promise<Difference[]> {
  const { views, dtype } = settings;
  const context = { model: settings.model, tokenizer, views, seed: 0 };
  const batch = await examplePrompts(context, settings.model.max_length - DECODED, 2);
  const onnx = await openOnnxModel(folder);
  try {
    const differences = await compareDecoding(onnx, model, batch);
    if (dtype === 'fp32') requireClose(differences);
    return differences;
  } finally {
    await onnx.close();
  }
}

/** The model as transformers.js reads configurations: the decoder's sizes below text_config, and how its files are stored. */
function configOf(
  { model: { config }, tokenizer }: ExportSource,
  dtype: WeightType,
  files: readonly WrittenPart[],
): object {
  const { llm, global_encoder, local_encoder } = config;
  const clip = { model_type: 'clip_vision_model', ...global_encoder };
  return {
    architectures: ['FerretV2ForConditionalGeneration'],
    model_type: 'ferret_v2',
    image_token_index: tokenizer.idOf('<image>') ?? null,
    region_token_index: tokenizer.regionId,
    text_config: { model_type: llm.attention_bias ? 'qwen2' : 'llama', ...llm },
    vision_config: clip,
    tile_vision_config:
      config.tile_encoder === 'global_encoder' ? clip : { model_type: 'dinov2', ...local_encoder },
    tie_word_embeddings: llm.tie_word_embeddings,
    'transformers.js_config': {
      dtype,
      kv_cache_dtype: 'float32',
      use_external_data_format: Object.fromEntries(
        files.map(({ file, dataBytes }) => [file.slice(ONNX_FOLDER.length + 1), dataBytes > 0n]),
      ),
    },
  };
}

function preprocessorOf(model: ModelConfig): object {
  const { image } = model;
  const ofTiles = tileNormalisation(model);
  const size = { height: image.side, width: image.side };
  return {
    image_processor_type: 'CLIPImageProcessor',
    do_convert_rgb: true,
    do_resize: true,
    size,
    resample: 3,
    do_center_crop: false,
    do_pad: image.resize === 'pad',
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: CLIP_NORMALISATION.mean,
    image_std: CLIP_NORMALISATION.std,
    tiles: {
      size,
      grids: image.grids,
      image_mean: ofTiles.mean,
      image_std: ofTiles.std,
    },
  };
}

function writeJson(file: string, value: object): Promise<unknown> {
  return writeText(file, `${JSON.stringify(value, null, 2)}\n`);
}
