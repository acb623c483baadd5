import { readdir, readFile } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { errorCode, ioError, writeDirectoryAtomic, writeStream } from '../atomic.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import { GroundError } from '../errors.ts';
import type { ConversationBatch } from '../models/batch.ts';
import type { Ferret } from '../models/ferret.ts';
import { encodeSafetensors, type TensorEntry } from '../models/safetensors.ts';
import { Random } from '../random.ts';
import { compareSample, type Difference, requireClose, type WorkedSample, workSample } from './check.ts';
import { exampleBatch } from './example.ts';
import { type ExportViews, recordFerret } from './network.ts';
import { lowerGraph } from './onnx/lower.ts';
import { OPSET } from './onnx/model.ts';
import { openOnnx } from './onnx/run.ts';
import { MODEL_FILE, type WrittenModel, writeOnnx } from './onnx/write.ts';
import { SETTINGS_FILE } from './onnx-settings.ts';
import { readmeOf } from './readme.ts';
import { syntheticBatch } from './synthetic.ts';
import { unifyRecordings } from './unify.ts';

/** A trained model and where it comes from; an `InferenceModel` is one. */
export interface ExportSource {
  readonly model: Ferret;
  readonly tokenizer: Tokenizer;
  readonly recipe: {
    readonly stage: {
      readonly views: ExportViews;
      readonly seed: number;
      readonly grounding_prompt: string;
    };
  };
  readonly stage: number;
  readonly step: number;
  readonly checkpoint: string;
}

export interface ExportOptions {
  /** The folder to make. An earlier export there is replaced, anything else is left alone. */
  readonly out: string;
  /** Longest sequence; the model's max_length by default. */
  readonly length?: number;
  /** By default the views that the checkpoint's stage was trained with. */
  readonly views?: ExportViews;
  /** Runs the file in onnxruntime and compares; true by default. */
  readonly check?: boolean;
  /** `ground`'s own version, written into the file. */
  readonly version: string;
}

/** What was written and how it compares. */
export interface ExportReport extends WrittenModel {
  readonly out: string;
  readonly checkpoint: string;
  readonly views: ExportViews;
  readonly length: number;
  readonly inputs: readonly string[];
  /** Null where the check was not asked for. */
  readonly differences: readonly Difference[] | null;
}

/**
 * Writes the trained network as ONNX: model.onnx with model.onnx_data, model.json, tokenizer.json, a README.md that says
 * how to feed it and, when it is checked, one worked example. The folder appears complete or not at all.
 *
 * @throws GroundError('export') when a kernel has no counterpart, or the file gives other scores than the model
 */
export async function exportFerret(loaded: ExportSource, options: ExportOptions): Promise<ExportReport> {
  const { model, recipe, checkpoint, stage, step } = loaded;
  const { out, check = true } = options;
  const length = options.length ?? model.config.max_length;
  const views = options.views ?? recipe.stage.views;
  // Run, stage and checkpoint; where they lie on this machine concerns nobody who gets the file.
  const origin = checkpoint.split(sep).slice(-3).join('/');
  await requireReplaceable(out);
  const graph = lowerGraph(unifyRecordings(recordFerret(model, length, views)));
  return writeDirectoryAtomic(out, async folder => {
    const written = await writeOnnx(folder, graph, {
      name: model.config.name,
      producer: { name: 'ground', version: options.version },
      metadata: { checkpoint: origin, stage: `${stage}`, step: `${step}`, views, max_tokens: `${length}` },
    });
    const compared = check ? await checkFolder(folder, loaded, views, length) : null;
    if (compared) {
      await writeStream(join(folder, 'example.safetensors'), sink =>
        encodeSafetensors(sink, exampleEntries(compared.example)),
      );
    }
    await writeText(join(folder, 'model.json'), `${JSON.stringify(portable(loaded), null, 2)}\n`);
    const tokenizer = await readFile(model.config.tokenizer);
    await writeStream(join(folder, 'tokenizer.json'), sink => sink(tokenizer));
    const facts = {
      model: model.config,
      checkpoint: origin,
      stage,
      step,
      length,
      opset: OPSET,
      example: check,
    };
    await writeText(join(folder, 'README.md'), readmeOf(graph, facts));
    const inputs = graph.inputs.map(input => input.name);
    return { ...written, out, checkpoint, views, length, inputs, differences: compared?.differences ?? null };
  });
}

/** Compares on a rendered scene and on the smallest and an odd size, which the recording did not see. */
async function checkFolder(
  folder: string,
  loaded: ExportSource,
  views: ExportViews,
  length: number,
): Promise<{ differences: Difference[]; example: WorkedSample }> {
  const { model, tokenizer } = loaded;
  const context = { model: model.config, tokenizer, views, seed: 0 };
  const synthetic = (tokens: number, tiles: number, regions: number): ConversationBatch => {
    const sizes = { tokens, tiles: views === 'global' ? 0 : tiles, regions };
    return syntheticBatch(model.config, sizes, new Random('export', 'check'));
  };
  const example = await exampleBatch(context, length);
  const worked = workSample(model, example);
  const session = await openOnnx(folder);
  try {
    const differences = [await compareSample(session, example, worked)];
    for (const batch of [synthetic(1, 1, 1), synthetic(Math.floor(length / 3) + 1, 5, 3)]) {
      differences.push(await compareSample(session, batch, workSample(model, batch)));
    }
    requireClose(differences);
    return { differences, example: worked };
  } finally {
    await session.close();
  }
}

function exampleEntries({ inputs, logits }: WorkedSample): TensorEntry[] {
  const tensors = Object.entries(inputs).map(([name, tensor]) => ({ name: `in.${name}`, tensor }));
  return [...tensors, { name: 'out.logits', tensor: logits }].map(({ name, tensor }) => ({
    name,
    dtype: tensor.type === 'int32' ? 'I32' : 'F32',
    shape: tensor.shape,
    data: tensor.data,
  }));
}

/** The configuration with the tokenizer beside it. */
function portable({ model }: ExportSource): object {
  return { ...model.config, tokenizer: 'tokenizer.json' };
}

export function writeText(file: string, text: string): Promise<unknown> {
  return writeStream(file, sink => sink(new TextEncoder().encode(text)));
}

/** Throws GroundError('usage') when `out` is there and is no export: nothing of anybody's is overwritten. */
export async function requireReplaceable(out: string): Promise<void> {
  const names: string[] = await readdir(out).catch(thrown => {
    if (errorCode(thrown) === 'ENOENT') return [];
    throw ioError(thrown, 'list', out);
  });
  if (names.length === 0 || names.includes(MODEL_FILE) || names.includes(SETTINGS_FILE)) return;
  throw new GroundError('usage', `--out ${out} holds other files (${names.slice(0, 3).join(', ')})`, {
    hint: 'name a folder that does not exist yet, or that holds an earlier export',
  });
}
