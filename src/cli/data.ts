import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ScenePreset } from '../data/sources/scene-options.ts';
import { GroundError } from '../errors.ts';
import { registerDataBuild } from './data-build.ts';
import { registerDataExport } from './data-export.ts';
import { registerDataMerge } from './data-merge.ts';
import { registerDataSynthesize } from './data-synthesize.ts';
import { registerDataValidate } from './data-validate.ts';
import { parseRange, parseSizes, parseSplits, parseWhole } from './data-values.ts';
import { type CommonOptions, outputFile, withCommon } from './options.ts';
import { createOutput } from './output.ts';
import { withProgress } from './progress.ts';

interface SynthFlags extends CommonOptions {
  readonly out: string;
  readonly count: string;
  readonly seed: string;
  readonly preset: ScenePreset;
  readonly size?: string;
  readonly objects?: string;
  readonly scale?: string;
  readonly split?: string;
  readonly overwrite?: boolean;
}

interface PreviewFlags extends CommonOptions {
  readonly out: string;
  readonly count: string;
  readonly columns: string;
  readonly side: string;
  readonly seed?: string;
}

/** Adds `ground data synth`, `build`, `synthesize`, `validate`, `inspect`, `preview` and `export`. */
export function register(program: Command): void {
  const data = program.command('data').description('make datasets, and look at them');

  withCommon(
    data
      .command('synth')
      .description('render annotated scenes: a dataset that needs no download')
      .requiredOption('--out <dir>', 'folder of the dataset')
      .option('--count <n>', 'how many scenes', '1000')
      .option('--seed <n>', 'the same seed gives the same scenes', '0')
      .addOption(
        new Option('--preset <name>', 'how crowded they are')
          .choices(['easy', 'normal', 'hard'])
          .default('normal'),
      )
      .option('--size <sizes>', 'pixels: 96, 96x64, or several with commas')
      .option('--objects <min-max>', 'objects a scene')
      .option('--scale <min-max>', "side of an object as a share of the image's shorter side")
      .option(
        '--split <name=n,...>',
        'several datasets in sub-folders instead of --count, no scene in two of them',
      )
      .option('--overwrite', 'replace a dataset that is already there'),
  ).action(synth);

  registerDataBuild(data);
  registerDataSynthesize(data);
  registerDataMerge(data);

  registerDataValidate(data);

  withCommon(
    data.command('inspect').description('count what is in a dataset').argument('<dir>', 'the dataset'),
  ).action(inspect);

  withCommon(
    data
      .command('preview')
      .description('draw a contact sheet: images with masks, boxes, phrases and captions')
      .argument('<dir>', 'the dataset')
      .requiredOption('--out <file>', 'PNG to write')
      .option('--count <n>', 'how many images', '12')
      .option('--columns <n>', 'images in a row', '4')
      .option('--side <pixels>', 'size of an image', '320')
      .option('--seed <n>', 'draw the images at random instead of taking the first'),
  ).action(preview);

  registerDataExport(data);
}

async function synth(flags: SynthFlags): Promise<void> {
  const { buildScenes } = await import('../data/build.ts');
  const out = createOutput(flags);
  const seed = parseWhole('--seed', flags.seed, 0);
  const scenes = {
    preset: flags.preset,
    ...(flags.size === undefined ? {} : { sizes: parseSizes('--size', flags.size) }),
    ...(flags.objects === undefined ? {} : { objects: parseRange('--objects', flags.objects) }),
    ...(flags.scale === undefined ? {} : { scale: parseRange('--scale', flags.scale) }),
  };
  const parts =
    flags.split === undefined
      ? [{ dir: flags.out, count: parseWhole('--count', flags.count, 1), split: {} }]
      : parseSplits('--split', flags.split).map(({ name, count }) => {
          return { dir: join(flags.out, name), count, split: { split: name } };
        });
  const built = [];
  for (const { dir, count, split } of parts) {
    const manifest = await withProgress(`rendering ${dir}`, 'scenes', onProgress =>
      buildScenes({
        out: dir,
        count,
        seed,
        scenes: { ...scenes, ...split },
        overwrite: flags.overwrite === true,
        onProgress,
      }),
    );
    out.line(`${dir}: ${manifest.rows} scenes in ${shards(manifest.shards.length)}`);
    built.push({ dir: resolve(dir), rows: manifest.rows, shards: manifest.shards.length });
  }
  out.result({ datasets: built });
}

async function inspect(dir: string, flags: CommonOptions): Promise<void> {
  const [{ inspectDataset }, { openDataset }] = await Promise.all([
    import('../data/inspect.ts'),
    import('../data/dataset.ts'),
  ]);
  const out = createOutput(flags);
  const dataset = await openDataset(dir);
  try {
    const { labels, predicates, areas, builder, source, ...rest } = await withProgress(
      'reading',
      'rows',
      onProgress => inspectDataset(dataset, done => onProgress(done, dataset.rows)),
    );
    out.result({ dir: resolve(dir), builder, source, ...rest, areas, labels, predicates });
    out.line(`${dir}: made by ${builder.name} (ground ${builder.version}) from ${JSON.stringify(source)}`);
    const { rows, bytes, objects, crowds, masks, namedAlone, shards: files, ...spreads } = rest;
    out.line(`${rows} rows, ${shards(files)}, ${(bytes / 2 ** 20).toFixed(1)} MB`);
    out.line(`${objects} objects: ${namedAlone} named alone, ${masks} with masks, ${crowds} crowds`);
    out.line(`box areas: ${areas.small} below 32², ${areas.medium} below 96², ${areas.large} above`);
    const number = (value: number) => Number(value.toFixed(3));
    out.table(
      ['', 'min', 'median', 'mean', 'max'],
      Object.entries(spreads).map(([name, spread]) => [
        name,
        number(spread.min),
        number(spread.median),
        number(spread.mean),
        number(spread.max),
      ]),
    );
    for (const [title, counts] of Object.entries({ label: labels, relation: predicates })) {
      const entries = Object.entries(counts);
      if (entries.length > 0) out.table([title, 'count'], entries);
    }
  } finally {
    await dataset.close();
  }
}

async function preview(dir: string, flags: PreviewFlags): Promise<void> {
  const [{ previewDataset }, { openDataset }, { writeFileAtomic }] = await Promise.all([
    import('../data/preview.ts'),
    import('../data/dataset.ts'),
    import('../atomic.ts'),
  ]);
  if (!flags.out.toLowerCase().endsWith('.png')) {
    throw new GroundError('usage', `--out "${flags.out}" is no PNG file`, {
      hint: 'give a name that ends in .png',
    });
  }
  const file = outputFile('--out', flags.out);
  const out = createOutput(flags);
  const dataset = await openDataset(dir);
  try {
    const png = await previewDataset(dataset, {
      count: parseWhole('--count', flags.count, 1),
      columns: parseWhole('--columns', flags.columns, 1),
      side: parseWhole('--side', flags.side, 1),
      ...(flags.seed === undefined ? {} : { seed: parseWhole('--seed', flags.seed, 0) }),
    });
    await writeFileAtomic(file, png);
  } finally {
    await dataset.close();
  }
  out.line(`wrote ${flags.out}`);
  out.result({ file: resolve(flags.out) });
}

function shards(count: number): string {
  return `${count} shard${count === 1 ? '' : 's'}`;
}
