import { createRequire } from 'node:module';
import { relative, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ExportReport } from '../export/ferret.ts';
import type { ExportDtype } from '../export/huggingface.ts';
import { type ModelOptions, modelPath, openModel, withModel } from './model.ts';
import { type CommonOptions, type EngineOptions, wholeNumber, withCommon, withEngine } from './options.ts';
import { createOutput, type Output } from './output.ts';

interface OnnxOptions extends CommonOptions, EngineOptions, ModelOptions {
  readonly out: string;
  readonly length?: number;
  readonly views?: 'global' | 'global+local';
  readonly check: boolean;
}

interface SafetensorsOptions extends CommonOptions, ModelOptions {
  readonly out: string;
  readonly dtype: ExportDtype;
  readonly lora?: string;
}

/** Adds `ground export onnx` and `ground export safetensors`. */
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
  withCommon(withModel(safetensors)).action((options: SafetensorsOptions) =>
    exportSafetensors(options, createOutput(options)),
  );
  const command = parent
    .command('onnx')
    .description('the whole network as ONNX, compared with the model in onnxruntime before it appears')
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
    .option('--no-check', 'skip the comparison, which needs onnxruntime-node');
  withCommon(withEngine(withModel(command))).action((options: OnnxOptions) =>
    exportOnnx(options, createOutput(options)),
  );
}

async function exportOnnx(options: OnnxOptions, out: Output): Promise<void> {
  const loaded = await openModel(options, out);
  try {
    const { exportFerret } = await import('../export/ferret.ts');
    const manifest: { version: string } = createRequire(import.meta.url)('../../package.json');
    const report = await exportFerret(loaded, {
      out: resolve(options.out),
      check: options.check,
      version: manifest.version,
      ...(options.length === undefined ? {} : { length: options.length }),
      ...(options.views === undefined ? {} : { views: options.views }),
    });
    show(report, out);
  } finally {
    loaded.dispose();
  }
}

async function exportSafetensors(options: SafetensorsOptions, out: Output): Promise<void> {
  const { resolveCheckpoint } = await import('../train/find.ts');
  const { exportHuggingFace } = await import('../export/huggingface.ts');
  const { path, warnings } = await resolveCheckpoint(modelPath(options), { best: options.best === true });
  for (const warning of warnings) out.note(`warning: ${warning}`);
  const report = await exportHuggingFace({
    checkpoint: path,
    verified: true,
    out: resolve(options.out),
    dtype: options.dtype,
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
  out.result(report);
}

function show(report: ExportReport, out: Output): void {
  const megabytes = (Number(report.dataBytes) + report.modelBytes) / 1e6;
  out.line(
    `${relative('.', report.out) || '.'}: ${report.nodes} nodes, ${report.parameters} weights, ${megabytes.toFixed(1)} MB, ` +
      `sequences up to ${report.length}, from ${relative('.', report.checkpoint)}`,
  );
  if (report.differences) {
    out.table(
      ['compared on', 'tokens', 'tiles', 'regions', 'largest difference', 'relative', 'other next tokens'],
      report.differences.map(d => [
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
  out.result({ ...report, dataBytes: Number(report.dataBytes) });
}
