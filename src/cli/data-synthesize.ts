import { resolve } from 'node:path';
import type { Command } from 'commander';
import { parseWhole } from './data-values.ts';
import { type CommonOptions, withCommon } from './options.ts';
import { createOutput } from './output.ts';
import { withProgress } from './progress.ts';

interface SynthesizeFlags extends CommonOptions {
  readonly out: string;
  readonly seed: string;
  readonly count?: string;
  readonly exclude: readonly string[];
  readonly overwrite?: boolean;
}

/** Adds `ground data synthesize`. */
export function registerDataSynthesize(data: Command): void {
  withCommon(
    data
      .command('synthesize')
      .description(
        'make questions that align text, boxes and crops of objects, as TinyGroundingGPT was trained on',
      )
      .argument('<dataset...>', 'datasets with objects')
      .requiredOption('--out <dir>', 'folder of the new dataset')
      .option('--seed <n>', 'the same seed gives the same bytes', '0')
      .option('--count <n>', 'at most so many samples')
      .option('--exclude <dataset...>', 'datasets for evaluation: none of their images is used', [])
      .option('--overwrite', 'replace a dataset that is already there, once the new one is complete'),
  ).action(synthesizeData);
}

async function synthesizeData(datasets: readonly string[], flags: SynthesizeFlags): Promise<void> {
  const { synthesize } = await import('../data/synthesis/synthesize.ts');
  const out = createOutput(flags);
  const seed = parseWhole('--seed', flags.seed, 0);
  const count = flags.count === undefined ? undefined : parseWhole('--count', flags.count, 1);
  const { manifest, report } = await withProgress('looking at images', 'images', onScan =>
    withProgress('writing', 'samples', onWrite =>
      synthesize({
        datasets,
        exclude: flags.exclude,
        out: flags.out,
        seed,
        ...(count === undefined ? {} : { count }),
        overwrite: flags.overwrite === true,
        onScan,
        onWrite,
      }),
    ),
  );
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  out.line(`${flags.out}: ${report.rows} samples of ${report.images} images, ${report.labels} labels`);
  out.line(
    `the largest label has ${percent(report.largestLabel)} of them (limit ${percent(report.labelShare)})`,
  );
  out.table(
    ['task', 'samples', 'to choose from'],
    Object.entries(report.tasks).map(([task, samples]) => [
      task,
      samples,
      report.candidates[task as keyof typeof report.candidates],
    ]),
  );
  const leftOut = Object.entries(report.leftOut);
  if (leftOut.length > 0) out.table(['images left out', 'images'], leftOut);
  out.result({ dir: resolve(flags.out), shards: manifest.shards.length, ...report });
}
