import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ExportFormat } from '../data/tables/export.ts';
import { type CommonOptions, outputFile, withCommon } from './options.ts';
import { createOutput } from './output.ts';
import { withProgress } from './progress.ts';

interface ExportFlags extends CommonOptions {
  readonly to: ExportFormat;
  readonly out: string;
}

/** Adds `ground data export`. */
export function registerDataExport(data: Command): void {
  withCommon(
    data
      .command('export')
      .description('write a dataset as a file or folder for other tools')
      .argument('<dir>', 'the dataset')
      .addOption(
        new Option('--to <format>', 'kind of file; jsonl is a folder with the images beside it')
          .choices(['parquet', 'arrow', 'jsonl'])
          .makeOptionMandatory(),
      )
      .requiredOption('--out <path>', 'file to write, or folder for jsonl'),
  ).action(exportData);
}

async function exportData(dir: string, flags: ExportFlags): Promise<void> {
  const [{ exportDataset }, { openDataset }] = await Promise.all([
    import('../data/tables/export.ts'),
    import('../data/dataset.ts'),
  ]);
  const file = flags.to === 'jsonl' ? resolve(flags.out) : outputFile('--out', flags.out);
  const out = createOutput(flags);
  const dataset = await openDataset(dir);
  try {
    await withProgress('writing', 'rows', onProgress =>
      exportDataset(dataset, file, flags.to, done => onProgress(done, dataset.rows)),
    );
  } finally {
    await dataset.close();
  }
  out.line(`wrote ${dataset.rows} rows to ${flags.out}`);
  out.result({ file: resolve(file), format: flags.to, rows: dataset.rows });
}
