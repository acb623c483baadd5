import type { Command } from 'commander';
import type { Transcript } from '../data/preview/transcript.ts';
import type { ImageRecord } from '../data/record.ts';
import { STORED_TASKS, TASK_NAMES, type TaskName } from '../data/tasks/names.ts';
import { type RenderingFlags, renderingOf, taskOption, withRendering } from './data-rendering.ts';
import { parseWhole } from './data-values.ts';
import { type CommonOptions, withCommon } from './options.ts';
import { createOutput, type Output } from './output.ts';

interface ShowFlags extends CommonOptions, RenderingFlags {
  readonly task?: TaskName;
  readonly tokens: boolean;
}

/** Label of what is not trained on, as PyTorch's losses leave it out. */
const IGNORED = -100;

/** Adds `ground data show`. */
export function registerDataShow(data: Command): void {
  const command = data
    .command('show')
    .description('print one row, and what a task makes of it, token by token')
    .argument('<dir>', 'the dataset')
    .argument('<row>', 'number of the row, from 0')
    .addOption(taskOption())
    .option('--no-tokens', 'leave the list of tokens out');
  withCommon(withRendering(command)).action(show);
}

async function show(dir: string, given: string, flags: ShowFlags): Promise<void> {
  const [{ openDataset }, { Transcriber, partsOf }] = await Promise.all([
    import('../data/dataset.ts'),
    import('../data/preview/transcript.ts'),
  ]);
  const out = createOutput(flags);
  const row = parseWhole('row', given, 0);
  const rendering = await renderingOf(dir, flags);
  const dataset = await openDataset(dir, { readLinks: false });
  try {
    const record = await dataset.read(row);
    const place = dataset.placeOf(row);
    const transcriber = await Transcriber.open(dataset, rendering, tasksTried(flags.task));
    const transcript = transcriber.transcribe(record, row);
    const serves = flags.task === undefined ? transcriber.tasksOf(record, row) : undefined;
    const { image, ...annotations } = record;
    out.result({
      row,
      place,
      record: { ...annotations, imageBytes: image.length },
      ...(serves ? { tasks: serves } : {}),
      transcript: transcript && jsonOf(transcript),
    });
    out.line(`row ${row}: ${place.shard} row ${place.row}`);
    printRecord(out, record);
    if (serves) out.line(`tasks that it serves: ${serves.length === 0 ? 'none' : serves.join(', ')}`);
    if (!transcript) {
      if (flags.task !== undefined) out.line(`it cannot serve the task ${flags.task}`);
      return;
    }
    out.line();
    out.line(out.style.bold(transcript.task));
    if (transcript.problem !== null) out.line(out.style.red(`passed over: ${transcript.problem}`));
    // Without colours the answers must be told apart all the same.
    const plain = out.style.green('') === '';
    const mark = (text: string) => (plain ? `»${text}«` : out.style.green(text));
    const parts = partsOf(transcript.tokens).map(({ text, trained }) =>
      trained ? mark(text) : out.style.dim(text),
    );
    out.line(parts.join(''));
    if (flags.tokens) printTokens(out, transcript);
  } finally {
    await dataset.close();
  }
}

/** Stored conversations come first: they are what a record was made for. */
function tasksTried(task: TaskName | undefined): TaskName[] {
  if (task !== undefined) return [task];
  const others = TASK_NAMES.filter(name => name !== 'contrastive' && !STORED_TASKS.has(name));
  return [...STORED_TASKS, ...others];
}

function printRecord(out: Output, record: ImageRecord): void {
  const { id, width, height, image, path, split } = record;
  const size = width === 0 ? 'text alone' : `${width} x ${height} pixels`;
  const where = path === undefined ? (width === 0 ? '' : `, ${image.length} bytes`) : `, linked: ${path}`;
  out.line(`${id}: ${size}${where}${split === undefined ? '' : `, split ${split}`}`);
  for (const caption of record.captions) out.line(`- ${caption}`);
  if (record.objects.length > 0) {
    const box = ({ x1, y1, x2, y2 }: { x1: number; y1: number; x2: number; y2: number }) =>
      [x1, y1, x2, y2].map(value => Number(value.toFixed(1))).join(', ');
    out.table(
      ['object', 'label', 'phrase', 'box', '', 'expressions'],
      record.objects.map((object, i) => [
        i,
        [...object.attributes, object.label].join(' '),
        object.phrase,
        box(object.box),
        [object.mask ? 'mask' : '', object.crowd ? 'crowd' : ''].filter(word => word !== '').join(', '),
        object.expressions?.join('; ') ?? '',
      ]),
    );
  }
  for (const { subject, predicate, object } of record.relations) {
    out.line(`object ${subject} is ${predicate} object ${object}`);
  }
  for (const { caption, start, end, objects } of record.spans ?? []) {
    const words = record.captions[caption]?.slice(start, end) ?? '';
    out.line(`"${words}" of caption ${caption}: objects ${objects.join(', ')}`);
  }
  const { regions = [], conversations = [], absent = [] } = record;
  if (regions.length > 0) out.line(`${regions.length} described regions`);
  if (absent.length > 0) out.line(`not there: ${absent.join(', ')}`);
  if (conversations.length > 0) {
    out.line(
      `conversations: ${conversations.map(({ kind, rounds }) => `${kind} (${rounds.length})`).join(', ')}`,
    );
  }
}

function printTokens(out: Output, { tokens, visual }: Transcript): void {
  out.line();
  out.table(
    ['position', 'id', 'label', 'token'],
    tokens.map(({ id, bytes, trained }, i) => [
      i,
      id ?? '-',
      trained ? id : IGNORED,
      id === null ? `${visual} visual tokens` : JSON.stringify(Buffer.from(bytes).toString('utf8')),
    ]),
  );
}

function jsonOf({ task, tokens, visual, problem }: Transcript) {
  return {
    task,
    problem,
    visual,
    tokens: tokens.map(({ id, bytes, trained }) => ({
      id,
      label: trained ? id : IGNORED,
      text: Buffer.from(bytes).toString('utf8'),
    })),
  };
}
