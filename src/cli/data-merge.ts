import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ConflictRule } from '../data/merge.ts';
import { printReport } from './data-build.ts';
import { parseShare } from './data-values.ts';
import { type CommonOptions, withCommon } from './options.ts';
import { createOutput } from './output.ts';
import { withProgress } from './progress.ts';

interface MergeFlags extends CommonOptions {
  readonly out: string;
  readonly byContent?: boolean;
  readonly sameObject: string;
  readonly onConflict: ConflictRule;
  readonly overwrite?: boolean;
}

/** Adds `ground data merge`. */
export function registerDataMerge(data: Command): void {
  withCommon(
    data
      .command('merge')
      .description('several datasets to one: what they say of an image becomes one record')
      .argument('<dirs...>', 'the datasets; where they disagree the first one counts')
      .requiredOption('--out <dir>', 'folder of the merged dataset')
      .option('--by-content', 'join images by their bytes too, where ids differ')
      .addOption(
        new Option('--on-conflict <rule>', 'one id, two images: keep both apart, skip the later, or fail')
          .choices(['apart', 'skip', 'fail'])
          .default('apart'),
      )
      .option('--same-object <iou>', 'boxes of one label that overlap this much are one object', '0.95')
      .option('--overwrite', 'replace a dataset that is already there, once the new one is complete'),
  ).action(merge);
}

async function merge(dirs: readonly string[], flags: MergeFlags): Promise<void> {
  const { mergeDatasets } = await import('../data/merge.ts');
  const out = createOutput(flags);
  const { manifest, report } = await withProgress('merging', 'records', onProgress =>
    mergeDatasets(dirs, {
      out: flags.out,
      byContent: flags.byContent === true,
      conflicts: flags.onConflict,
      sameObject: parseShare('--same-object', flags.sameObject),
      overwrite: flags.overwrite === true,
      onProgress,
    }),
  );
  const shards = manifest.shards.length;
  out.line(`${flags.out}: ${manifest.rows} records in ${shards} shard${shards === 1 ? '' : 's'}`);
  printReport(out, report);
  out.result({ dir: resolve(flags.out), rows: manifest.rows, shards, report });
}
