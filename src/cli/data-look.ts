import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { DatasetSummary } from '../data/inspect.ts';
import { STORED_TASKS, type TaskName } from '../data/tasks/names.ts';
import { GroundError } from '../errors.ts';
import { type RenderingFlags, renderingOf, taskOption, withRendering } from './data-rendering.ts';
import { registerDataShow } from './data-show.ts';
import { parseWhole } from './data-values.ts';
import { type CommonOptions, outputFile, withCommon } from './options.ts';
import { createOutput, type Output } from './output.ts';
import { withProgress } from './progress.ts';

interface PreviewFlags extends CommonOptions, RenderingFlags {
  readonly out: string;
  readonly count: string;
  readonly columns: string;
  readonly side: string;
  readonly seed?: string;
  readonly rows?: string;
  readonly task?: TaskName;
}

/** Adds `ground data inspect`, `preview` and `show`. */
export function registerDataLook(data: Command): void {
  withCommon(
    data.command('inspect').description('count what is in a dataset').argument('<dir>', 'the dataset'),
  ).action(inspect);

  const command = data
    .command('preview')
    .description('draw a contact sheet: images with masks, boxes, phrases, captions, conversations')
    .argument('<dir>', 'the dataset')
    .requiredOption('--out <file>', 'PNG to write')
    .option('--count <n>', 'how many rows', '12')
    .option('--rows <numbers>', 'these rows, such as 3,17, instead of --count')
    .option('--columns <n>', 'images beside each other', '4')
    .option('--side <pixels>', 'size of an image', '320')
    .option('--seed <n>', 'draw the rows at random instead of taking the first')
    .addOption(taskOption());
  withCommon(withRendering(command)).action(preview);

  registerDataShow(data);
}

async function inspect(dir: string, flags: CommonOptions): Promise<void> {
  const [{ inspectDataset }, { openDataset }] = await Promise.all([
    import('../data/inspect.ts'),
    import('../data/dataset.ts'),
  ]);
  const out = createOutput(flags);
  // Linked images need not be there to be counted.
  const dataset = await openDataset(dir, { readLinks: false });
  try {
    const summary = await withProgress('reading', 'rows', onProgress =>
      inspectDataset(dataset, done => onProgress(done, dataset.rows)),
    );
    out.result({ dir: resolve(dir), ...summary });
    await printSummary(out, dir, summary);
  } finally {
    await dataset.close();
  }
}

async function printSummary(out: Output, dir: string, summary: DatasetSummary): Promise<void> {
  const { BOX_SIDES, SPREADS } = await import('../data/inspect.ts');
  const { builder, source, rows, shards, bytes, areas, boxSides, conversationKinds } = summary;
  const { splits, labels, predicates } = summary;
  out.line(`${dir}: made by ${builder.name} (ground ${builder.version}) from ${JSON.stringify(source)}`);
  out.line(`${rows} rows, ${shards} shard${shards === 1 ? '' : 's'}, ${(bytes / 2 ** 20).toFixed(1)} MB`);
  const { objects, namedAlone, masks, crowds, textAlone, linked } = summary;
  if (textAlone + linked > 0) out.line(`${textAlone} rows of text alone, ${linked} with linked images`);
  out.line(`${objects} objects: ${namedAlone} named alone, ${masks} with masks, ${crowds} crowds`);
  out.line(`box areas: ${areas.small} below 32², ${areas.medium} below 96², ${areas.large} above`);
  const others = Object.entries({
    attributes: summary.attributes,
    expressions: summary.expressions,
    relations: summary.relations,
    'described regions': summary.describedRegions,
    spans: summary.spans,
    'absent labels': summary.absentLabels,
  }).filter(([, count]) => count > 0);
  if (others.length > 0) out.line(others.map(([name, count]) => `${count} ${name}`).join(', '));
  if (summary.conversations > 0) {
    const kinds = Object.entries(conversationKinds).filter(([, count]) => count > 0);
    const named = kinds.map(([kind, count]) => `${count} ${kind}`).join(', ');
    out.line(`${summary.conversations} conversations (${named}) of ${summary.rounds} rounds`);
    const { boxesInTurns, points, regionBoxes, freeForms } = summary;
    out.line(
      `in them: ${boxesInTurns} boxes; pointed at with ${points} points, ${regionBoxes} boxes, ${freeForms} free forms`,
    );
  }
  const rounded = (value: number) => Number(value.toFixed(3));
  out.table(
    ['', 'min', 'median', 'mean', 'max'],
    SPREADS.map(name => {
      const { min, median, mean, max } = summary[name];
      return [name, ...[min, median, mean, max].map(rounded)];
    }),
  );
  if (objects > 0) {
    out.table(
      ['side of box', 'objects'],
      boxSides.map((count, i) => [
        i < BOX_SIDES.length ? `below ${BOX_SIDES[i]}` : `${BOX_SIDES.at(-1)} on`,
        count,
      ]),
    );
  }
  if (Object.keys(splits).some(split => split !== '')) {
    out.table(
      ['split', 'rows'],
      Object.entries(splits).map(([split, count]) => [split === '' ? '(none)' : split, count]),
    );
  }
  for (const [title, counts] of Object.entries({ label: labels, relation: predicates })) {
    const entries = Object.entries(counts);
    if (entries.length > 0) out.table([title, 'count'], entries);
  }
}

async function preview(dir: string, flags: PreviewFlags): Promise<void> {
  const [{ previewDataset }, { Transcriber }, { openDataset }, { writeFileAtomic }] = await Promise.all([
    import('../data/preview.ts'),
    import('../data/preview/transcript.ts'),
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
  const sizes = {
    count: parseWhole('--count', flags.count, 1),
    columns: parseWhole('--columns', flags.columns, 1),
    side: parseWhole('--side', flags.side, 1),
    ...(flags.seed === undefined ? {} : { seed: parseWhole('--seed', flags.seed, 0) }),
    ...(flags.rows === undefined
      ? {}
      : { rows: flags.rows.split(',').map(row => parseWhole('--rows', row, 0)) }),
  };
  const rendering = await renderingOf(dir, flags);
  const dataset = await openDataset(dir);
  try {
    const chosen = flags.task ?? flags.recipe;
    const transcriber =
      dataset.rows === 0
        ? null
        : await Transcriber.open(dataset, rendering, tasksShown(flags, rendering.stage.data));
    const png = await previewDataset(dataset, {
      ...sizes,
      ...(transcriber ? { transcriber } : {}),
      objects: chosen === undefined,
    });
    await writeFileAtomic(file, png);
  } finally {
    await dataset.close();
  }
  out.line(`wrote ${flags.out}`);
  out.result({ file: resolve(flags.out) });
}

/** The task that is asked for, those of the recipe, or those about stored conversations. */
function tasksShown(
  { task, recipe }: PreviewFlags,
  data: readonly { readonly task: TaskName }[],
): readonly TaskName[] {
  if (task !== undefined) return [task];
  if (recipe === undefined) return [...STORED_TASKS];
  return [...new Set(data.map(source => source.task))].filter(name => name !== 'contrastive');
}
