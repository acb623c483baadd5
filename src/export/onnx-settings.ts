/** What an exported folder says of itself, and what its files are called. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { GroundError, messageOf } from '../errors.ts';
import type { ModelConfig } from '../models/config.ts';
import type { ExportViews } from './network.ts';
import { WEIGHT_TYPES, type WeightType } from './onnx/weights.ts';
import type { PartName } from './parts.ts';

/** Where an exported folder says what it is. */
export const SETTINGS_FILE = 'ground.json';
/** The folder of the graphs, as transformers.js has it. */
export const ONNX_FOLDER = 'onnx';

/** What answering takes beside the graphs. */
export interface OnnxSettings {
  readonly format: 1;
  readonly dtype: WeightType;
  readonly views: ExportViews;
  readonly seed: number;
  readonly grounding_prompt: string;
  /** Run, stage and checkpoint that it was exported from. */
  readonly checkpoint: string;
  readonly stage: number;
  readonly step: number;
  /** Its tokenizer is the tokenizer.json beside, its max_length what the decoder has positions for. */
  readonly model: ModelConfig;
}

/** The file name of a graph: transformers.js finds a type of weights by its suffix, and float32 has none. */
export function partFile(part: PartName, dtype: WeightType): string {
  return dtype === 'fp32' ? `${part}.onnx` : `${part}_${dtype}.onnx`;
}

/** As far as reading the folder relies on it; the model is the exporter's own and taken as it is. */
const settingsShape = z.looseObject({
  format: z.literal(1),
  dtype: z.enum(WEIGHT_TYPES),
  views: z.enum(['global', 'global+local']),
  seed: z.number(),
  grounding_prompt: z.string(),
  checkpoint: z.string(),
  stage: z.number(),
  step: z.number(),
  model: z.looseObject({ tokenizer: z.string(), max_length: z.number(), llm: z.looseObject({}) }),
});

/** Reads ground.json; the tokenizer's path is absolute. Throws GroundError('usage') where there is none, 'export' on a damaged one. */
export function readSettings(folder: string): OnnxSettings {
  const file = join(folder, SETTINGS_FILE);
  if (!existsSync(file)) {
    const isFolder = existsSync(folder);
    throw new GroundError(
      'usage',
      isFolder
        ? `${folder} is no folder that ground export onnx wrote: it has no ${SETTINGS_FILE}`
        : `there is no folder ${folder}`,
      {
        hint: existsSync(join(folder, 'model.onnx'))
          ? 'a file of --single-file cannot generate: export again without that flag'
          : 'ground export onnx --run NAME --out DIR writes one',
      },
    );
  }
  const damaged = (why: string, cause?: unknown): GroundError =>
    new GroundError('export', `${file} is damaged: ${why}`, { hint: 'export again', cause });
  let settings: OnnxSettings;
  try {
    settings = JSON.parse(readFileSync(file, 'utf8')) as OnnxSettings;
  } catch (cause) {
    throw damaged(messageOf(cause), cause);
  }
  if (settings?.format !== undefined && settings.format !== 1) {
    throw new GroundError('export', `${file} has format ${String(settings.format)}, expected 1`, {
      hint: 'export again with this version of ground',
    });
  }
  const [issue] = settingsShape.safeParse(settings).error?.issues ?? [];
  if (issue) throw damaged(`${issue.path.join('.') || 'it'}: ${issue.message}`);
  return { ...settings, model: { ...settings.model, tokenizer: join(folder, settings.model.tokenizer) } };
}
