import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { GroundError } from '../errors.ts';
import type { InferenceModel } from '../eval/load.ts';
import type { Difference } from '../export/check.ts';
import type { ExportReport } from '../export/ferret.ts';
import type { ExportDtype } from '../export/huggingface.ts';
import type { WeightType } from '../export/onnx/weights.ts';
import type { TransformersReport } from '../export/transformers.ts';
import { type ModelOptions, modelPath, openModel, withModel } from './model.ts';
import { type CommonOptions, type EngineOptions, wholeNumber, withCommon, withEngine } from './options.ts';
import { createOutput, type Output } from './output.ts';

interface OnnxOptions extends CommonOptions, EngineOptions, ModelOptions {
  readonly out: string;
  readonly length?: number;
  readonly views?: 'global' | 'global+local';
  readonly dtype: WeightType;
  readonly singleFile?: boolean;
  readonly check: boolean;
  readonly merge: boolean;
}

interface SafetensorsOptions extends CommonOptions, EngineOptions, ModelOptions {
  readonly out: string;
  readonly dtype: ExportDtype;
  readonly lora?: string;
  readonly merge: boolean;
}

interface LoraOptions extends CommonOptions, ModelOptions {
  readonly out: string;
}

/** Adds `ground export onnx`, `ground export safetensors` and `ground export lora`. */
export function register(program: Command): void {
  const parent = program.command('export').description('write a trained model for other runtimes');
  const safetensors = parent
    .command('safetensors')
    .description('Hugging Face folders that load in transformers: clip, dinov2, llm; and ferret, the rest')
    .requiredOption('--out <dir>', 'the folder to write; an earlier export there is replaced')
    .addOption(
      new Option('--dtype <dtype>', 'source: as the checkpoint has them')
        .choices(['source', 'float32', 'bfloat16', 'float16'])
        .default('source'),
    )
    .option('--lora <dir>', 'merge this PEFT adapter into the language model first, in float32');
  withCommon(withEngine(withMerge(withModel(safetensors)))).action((options: SafetensorsOptions) =>
    exportSafetensors(options, createOutput(options)),
  );
  const adapters = parent
    .command('lora')
    .description("the stage's adapters alone, as the PEFT library saves them: one folder a network")
    .requiredOption('--out <dir>', 'the folder to write; an earlier export there is replaced');
  withCommon(withModel(adapters)).action((options: LoraOptions) =>
    exportLora(options, createOutput(options)),
  );
  const command = parent
    .command('onnx')
    .description(
      'ONNX files as transformers.js has them, compared with the model in onnxruntime before they appear',
    )
    .requiredOption('--out <dir>', 'the folder to write; an earlier export there is replaced')
    .option(
      '--length <n>',
      "longest sequence, visual tokens included (default: the model's max_length)",
      wholeNumber,
    )
    .addOption(
      new Option(
        '--views <views>',
        'which views of an image the network takes (default: as trained)',
      ).choices(['global', 'global+local']),
    )
    .addOption(
      new Option('--dtype <dtype>', 'how weights are stored; sums are float32 always')
        .choices(['fp32', 'fp16', 'int8'])
        .default('fp32'),
    )
    .option('--single-file', 'one model.onnx of the whole network without keys and values instead; fp32')
    .option('--no-check', 'skip the comparison, which needs onnxruntime-node');
  withCommon(withEngine(withMerge(withModel(command)))).action((options: OnnxOptions) =>
    exportOnnx(options, createOutput(options)),
  );
}

/** Adds `--merge` and `--no-merge`. */
function withMerge(command: Command): Command {
  return command
    .option('--merge', "make the stage's adapters (lora) part of the weights, in float32", true)
    .option('--no-merge', 'onnx: adapters stay beside the weights; safetensors: without them');
}

/** The model that is exported. Says what merging its adapters does to its scores, where it has any. */
async function openExported(
  options: ModelOptions & EngineOptions & { readonly merge: boolean },
  out: Output,
): Promise<{ loaded: InferenceModel; difference: number | null }> {
  const kept = await openModel(options, out);
  const { adapters } = kept;
  if (adapters === 0 || !options.merge) return { loaded: kept, difference: null };
  const { exampleScores, largestDifference } = await import('../export/merged.ts');
  let before: Float32Array;
  try {
    before = await exampleScores(kept);
  } finally {
    kept.dispose();
  }
  const { engine, device, ema } = options;
  const same = { engine, device, checkpoint: kept.checkpoint, ...(ema === undefined ? {} : { ema }) };
  const loaded = await openModel(same, { ...out, note: () => undefined }, 'merge');
  const difference = largestDifference(before, await exampleScores(loaded));
  out.line(
    `merged ${adapters} adapters in float32; largest difference of a score: max |Δ| = ${difference.toExponential(2)}`,
  );
  return { loaded, difference };
}

async function exportOnnx(options: OnnxOptions, out: Output): Promise<void> {
  if (options.singleFile === true && options.dtype !== 'fp32') {
    throw new GroundError('usage', `--single-file stores fp32 and no ${options.dtype}`, {
      hint: 'leave one of --single-file and --dtype out',
    });
  }
  const { loaded, difference } = await openExported(options, out);
  try {
    const manifest: { version: string } = createRequire(import.meta.url)('../../package.json');
    const how = {
      out: resolve(options.out),
      check: options.check,
      version: manifest.version,
      ...(options.length === undefined ? {} : { length: options.length }),
      ...(options.views === undefined ? {} : { views: options.views }),
    };
    if (options.singleFile === true) {
      const { exportFerret } = await import('../export/ferret.ts');
      show(await exportFerret(loaded, how), difference, out);
    } else {
      const { exportTransformers } = await import('../export/transformers.ts');
      showParts(await exportTransformers(loaded, { ...how, dtype: options.dtype }), difference, out);
    }
  } finally {
    loaded.dispose();
  }
}

async function exportSafetensors(options: SafetensorsOptions, out: Output): Promise<void> {
  const { resolveCheckpoint } = await import('../train/find.ts');
  const { exportHuggingFace } = await import('../export/huggingface.ts');
  const { storedAdapters } = await import('../train/stored-weights.ts');
  const { path, warnings } = await resolveCheckpoint(modelPath(options), { best: options.best === true });
  for (const warning of warnings) out.note(`warning: ${warning}`);
  const average = await usesAverage(path, options);
  let mergeDifference: number | null = null;
  if (options.merge && (await storedAdapters(path)).length > 0) {
    const { run: _run, stage: _stage, best: _best, ...rest } = options;
    const { loaded, difference } = await openExported({ ...rest, checkpoint: path }, out);
    loaded.dispose();
    mergeDifference = difference;
  }
  const report = await exportHuggingFace({
    checkpoint: path,
    verified: true,
    out: resolve(options.out),
    dtype: options.dtype,
    merge: options.merge,
    average,
    ...(options.lora === undefined ? {} : { lora: resolve(options.lora) }),
  });
  out.line(`${relative('.', report.out) || '.'}: from ${relative('.', path) || '.'}`);
  out.table(
    ['folder', 'tensors', 'MB', 'stored as'],
    report.folders.map(f => [f.folder, f.tensors, (f.bytes / 1e6).toFixed(1), f.dtypes.join(' ')]),
  );
  if (report.lora) {
    const { weights, largestChange } = report.lora;
    out.line(
      `merged an adapter into ${weights} weights; the largest change of a value is ${largestChange.toExponential(2)}`,
    );
  }
  out.result({ ...report, ...(mergeDifference === null ? {} : { mergeDifference }) });
}

/** Whether the running average is what is exported. Throws `checkpoint` where --ema asks for one that is not there. */
async function usesAverage(checkpoint: string, { ema }: ModelOptions): Promise<boolean> {
  const { AVERAGE } = await import('../train/checkpoint.ts');
  if (ema === true && !existsSync(join(checkpoint, AVERAGE))) {
    throw new GroundError('checkpoint', `${checkpoint} has no running average of its weights`, {
      hint: 'leave out --ema, or train with `ema: {decay: 0.999}` in the stage',
    });
  }
  return ema !== false;
}

async function exportLora(options: LoraOptions, out: Output): Promise<void> {
  const { resolveCheckpoint } = await import('../train/find.ts');
  const { exportPeft } = await import('../export/peft.ts');
  const { path, warnings } = await resolveCheckpoint(modelPath(options), { best: options.best === true });
  for (const warning of warnings) out.note(`warning: ${warning}`);
  const average = await usesAverage(path, options);
  const report = await exportPeft({ checkpoint: path, verified: true, out: resolve(options.out), average });
  out.line(`${relative('.', report.out) || '.'}: from ${relative('.', path) || '.'}`);
  out.table(
    ['folder', 'layers', 'rank', 'MB'],
    report.folders.map(f => [f.folder, f.layers, f.ranks.join(' '), (f.bytes / 1e6).toFixed(1)]),
  );
  out.result(report);
}

function showParts(report: TransformersReport, mergeDifference: number | null, out: Output): void {
  out.line(
    `${relative('.', report.out) || '.'}: weights as ${report.dtype}, sequences up to ${report.length}, ` +
      `from ${relative('.', report.checkpoint)}`,
  );
  out.table(
    ['file', 'nodes', 'weights', 'MB'],
    report.files.map(({ file, nodes, parameters, modelBytes, dataBytes }) => [
      file,
      nodes,
      parameters,
      ((Number(dataBytes) + modelBytes) / 1e6).toFixed(2),
    ]),
  );
  showDifferences(report.differences, out);
  const merged = mergeDifference === null ? {} : { mergeDifference };
  const files = report.files.map(file => ({ ...file, dataBytes: Number(file.dataBytes) }));
  out.result({ ...report, ...merged, files });
}

function show(report: ExportReport, mergeDifference: number | null, out: Output): void {
  const megabytes = (Number(report.dataBytes) + report.modelBytes) / 1e6;
  out.line(
    `${relative('.', report.out) || '.'}: ${report.nodes} nodes, ${report.parameters} weights, ${megabytes.toFixed(1)} MB, ` +
      `sequences up to ${report.length}, from ${relative('.', report.checkpoint)}`,
  );
  showDifferences(report.differences, out);
  const merged = mergeDifference === null ? {} : { mergeDifference };
  out.result({ ...report, ...merged, dataBytes: Number(report.dataBytes) });
}

function showDifferences(differences: readonly Difference[] | null, out: Output): void {
  if (differences) {
    out.table(
      ['compared on', 'tokens', 'tiles', 'regions', 'largest difference', 'relative', 'other next tokens'],
      differences.map(d => [
        d.sample,
        d.tokens,
        d.tiles,
        d.regions,
        d.absolute.toExponential(1),
        d.relative.toExponential(1),
        d.otherTokens,
      ]),
    );
  } else {
    out.line('not compared with the model (--no-check)');
  }
}
