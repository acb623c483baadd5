import { createRequire } from 'node:module';
import { basename, relative, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { GroundError } from '../errors.ts';
import type { ExportReport } from '../export/ferret.ts';
import {
  type CommonOptions,
  DEFAULT_RECIPE,
  type EngineOptions,
  withCommon,
  withEngine,
  withRun,
} from './options.ts';
import { createOutput, type Output } from './output.ts';

interface OnnxOptions extends CommonOptions, EngineOptions {
  readonly run?: string;
  readonly checkpoint?: string;
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
    .option('--checkpoint <dir>', 'a checkpoint, or the folder of a stage or a run (newest checkpoint)')
    .requiredOption('--out <dir>', 'the folder to write; an earlier export there is replaced')
    .option(
      '--length <n>',
      "longest sequence, visual tokens included (default: the model's max_length)",
      Number,
    )
    .addOption(
      new Option(
        '--views <views>',
        'which views of an image the network takes (default: as trained)',
      ).choices(['global', 'global+local']),
    )
    .option('--no-check', 'skip the comparison, which needs onnxruntime-node');
  withCommon(withEngine(withRun(command))).action((options: OnnxOptions) =>
    exportOnnx(options, createOutput(options)),
  );
}

async function exportOnnx(options: OnnxOptions, out: Output): Promise<void> {
  if (options.run !== undefined && options.checkpoint !== undefined) {
    throw new GroundError('usage', '--run and --checkpoint both say what to export', {
      hint: 'give one of them',
    });
  }
  const source = options.checkpoint ?? resolve('checkpoints', options.run ?? basename(DEFAULT_RECIPE));
  const { startEngine } = await import('../engine/engine.ts');
  await startEngine({ engine: options.engine, device: options.device });
  const { loadForInference } = await import('../eval/load.ts');
  const { readResolvedRecipe } = await import('../config/resolved.ts');
  const { exportFerret } = await import('../export/ferret.ts');
  const loaded = await loadForInference(source, { read: readResolvedRecipe });
  try {
    for (const warning of loaded.warnings) out.note(`warning: ${warning}`);
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
