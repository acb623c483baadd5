import { createRequire } from 'node:module';
import { relative, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ExportReport } from '../export/ferret.ts';
import { type ModelOptions, openModel, withModel } from './model.ts';
import { type CommonOptions, type EngineOptions, wholeNumber, withCommon, withEngine } from './options.ts';
import { createOutput, type Output } from './output.ts';

interface OnnxOptions extends CommonOptions, EngineOptions, ModelOptions {
  readonly out: string;
  readonly length?: number;
  readonly views?: 'global' | 'global+local';
  readonly check: boolean;
}

/** Adds `ground export onnx`. */
export function register(program: Command): void {
  const command = program
    .command('export')
    .description('write a trained model for other runtimes')
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
