import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { SourceFormat, SourceInput, SourceReport } from '../data/sources/source.ts';
import { GroundError } from '../errors.ts';
import { parseWhole } from './data-values.ts';
import { type CommonOptions, withCommon } from './options.ts';
import { createOutput, type Output } from './output.ts';
import { withProgress } from './progress.ts';

interface BuildFlags extends CommonOptions {
  readonly from: string;
  readonly out: string;
  readonly limit?: string;
  readonly split?: string;
  readonly masks: boolean;
  readonly link?: boolean;
  readonly overwrite?: boolean;
}

/** Adds `ground data build`, whose flags are those that the formats read. */
export function registerDataBuild(data: Command): void {
  const build = withCommon(
    data
      .command('build')
      .description('annotation files and images to a dataset')
      .requiredOption('--from <format>', 'format of the annotations, see below')
      .requiredOption('--out <dir>', 'folder of the dataset')
      .option('--limit <n>', 'at most so many records')
      .option('--split <name>', 'only what the annotations call so: train, val, testA')
      .option('--no-masks', 'leave the masks out')
      .option('--link', 'keep the paths of the images instead of the images')
      .option('--overwrite', 'replace a dataset that is already there, once the new one is complete'),
  );
  // Formats load image libraries, which other commands need not wait for.
  data.hook('preSubcommand', async (_, command) => {
    if (command !== build) return;
    const { SOURCES } = await import('../data/sources/index.ts');
    for (const option of inputOptions(SOURCES)) build.addOption(option);
    build.addHelpText('after', `\n${formatHelp(SOURCES)}`);
    build.action((flags: BuildFlags) => buildDataset(SOURCES, flags, build.opts()));
  });
}

async function buildDataset(
  sources: readonly SourceFormat[],
  flags: BuildFlags,
  given: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { buildFrom } = await import('../data/build.ts');
  const out = createOutput(flags);
  const format = formatNamed(sources, flags.from);
  const { split, masks, link, overwrite } = flags;
  const limit = flags.limit === undefined ? undefined : parseWhole('--limit', flags.limit, 1);
  const { manifest, report } = await withProgress('building', 'records', onProgress =>
    buildFrom(format, {
      inputs: inputsGiven(sources, given),
      limit,
      split,
      masks,
      link,
      out: flags.out,
      overwrite: overwrite === true,
      onProgress,
    }),
  );
  const shards = manifest.shards.length;
  out.line(`${flags.out}: ${manifest.rows} records in ${shards} shard${shards === 1 ? '' : 's'}`);
  printReport(out, report);
  out.result({ dir: resolve(flags.out), rows: manifest.rows, shards, report });
}

function formatNamed(sources: readonly SourceFormat[], name: string): SourceFormat {
  const format = sources.find(source => source.name === name);
  if (format) return format;
  throw new GroundError('usage', `--from "${name}" is no format that is known`, {
    hint: `it must be one of ${sources.map(source => source.name).join(', ')}`,
  });
}

/** One option for each flag of all formats; which format reads it is checked once the format is known. */
function inputOptions(sources: readonly SourceFormat[]): Option[] {
  const options = new Map<string, Option>();
  for (const { flag, what } of sources.flatMap(source => source.inputs)) {
    if (options.has(flag)) continue;
    const readers = sources.filter(({ inputs }) => inputs.some(input => input.flag === flag));
    const option = new Option(
      `--${flag} <${PLACEHOLDERS[what]}>`,
      `read by ${readers.map(({ name }) => name).join(', ')}`,
    );
    option.argParser((value, previous: readonly string[] | undefined) => [...(previous ?? []), value]);
    options.set(flag, option);
  }
  return [...options.values()];
}

const PLACEHOLDERS = { file: 'file', folder: 'dir', value: 'word' };

/** The values of the formats' flags, of those that were given. */
function inputsGiven(
  sources: readonly SourceFormat[],
  given: Readonly<Record<string, unknown>>,
): Record<string, readonly string[]> {
  return Object.fromEntries(
    inputOptions(sources).flatMap(option => {
      const values = given[option.attributeName()];
      return Array.isArray(values) ? [[option.long?.slice(2) ?? '', values]] : [];
    }),
  );
}

/** What every format reads, for the help text. */
function formatHelp(sources: readonly SourceFormat[]): string {
  const width = Math.max(...sources.flatMap(({ inputs }) => inputs.map(input => usageOf(input).length)));
  const blocks = sources.map(({ name, describes, inputs }) =>
    [
      `  ${name}: ${describes}`,
      ...inputs.map(input => `    ${usageOf(input).padEnd(width)}  ${input.help}${remarksOf(input)}`),
    ].join('\n'),
  );
  return `Formats, and what they read:\n\n${blocks.join('\n\n')}\n`;
}

function usageOf({ flag, what }: SourceInput): string {
  return `--${flag} <${PLACEHOLDERS[what]}>`;
}

function remarksOf({ required, many, choices }: SourceInput): string {
  const remarks = [
    ...(choices ? [choices.join(' | ')] : []),
    ...(required ? ['required'] : []),
    ...(many ? ['repeatable'] : []),
  ];
  return remarks.length === 0 ? '' : ` (${remarks.join(', ')})`;
}

/** What was read, left out and mended, as tables. */
export function printReport(out: Output, { counts, skipped, mended, examples }: SourceReport): void {
  const counted = Object.entries(counts);
  if (counted.length > 0) out.table(['read', 'number'], counted);
  for (const [title, reasons] of Object.entries({ 'left out': skipped, mended })) {
    const rows = Object.entries(reasons).map(([reason, times]) => [
      reason,
      times,
      examples[reason]?.[0] ?? '',
    ]);
    if (rows.length > 0) out.table([title, 'times', 'the first'], rows);
  }
}
