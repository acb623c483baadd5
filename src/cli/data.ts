import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { SCENE_PRESETS, type ScenePreset } from '../data/sources/scene-options.ts';
import { registerDataBuild } from './data-build.ts';
import { registerDataExport } from './data-export.ts';
import { registerDataLook } from './data-look.ts';
import { registerDataMerge } from './data-merge.ts';
import { registerDataSynthesize } from './data-synthesize.ts';
import { registerDataValidate } from './data-validate.ts';
import { parseRange, parseSizes, parseSplits, parseWhole } from './data-values.ts';
import { type CommonOptions, withCommon } from './options.ts';
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

/** Adds `ground data synth`, `build`, `synthesize`, `validate`, `merge`, `inspect`, `preview`, `show` and `export`. */
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
          .choices(Object.keys(SCENE_PRESETS))
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

  registerDataLook(data);
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

function shards(count: number): string {
  return `${count} shard${count === 1 ? '' : 's'}`;
}
