import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { BoxSpace } from '../data/box.ts';
import type { ConversationTask } from '../data/tasks/index.ts';
import { GroundError } from '../errors.ts';
import type { JournalFile } from '../eval/journal.ts';
import type { Interval } from '../eval/metrics/bootstrap.ts';
import type { EvalResult } from '../eval/run.ts';
import { type Asked, type AskedOptions, openAsked, withOnnx } from './asked.ts';
import { withModel } from './model.ts';
import {
  type CommonOptions,
  countingNumber,
  type EngineOptions,
  outputFile,
  wholeNumber,
  withCommon,
  withEngine,
} from './options.ts';
import { createOutput, type Output } from './output.ts';
import { openProgress } from './progress.ts';

interface EvalOptions extends CommonOptions, EngineOptions, AskedOptions {
  readonly data?: string;
  readonly task?: string;
  readonly limit: number;
  readonly seed: number;
  readonly batch: number;
  readonly maxTokens?: number;
  readonly out?: string;
  readonly boxes: BoxSpace;
  readonly bootstrap: number;
}

/** One task on one dataset, scored. */
type Scored = EvalResult & {
  readonly data: string;
  readonly intervals: Readonly<Record<string, Interval>>;
};

/** Adds `ground eval`. */
export function register(program: Command): void {
  const command = program
    .command('eval')
    .description('score a trained model on held-out questions')
    .option('--data <dir>', "a dataset folder (default: those of the stage's eval section)")
    .option('--task <list>', 'what to ask, such as rec,roc,caption (default: what the stage is scored on)')
    .option('--limit <n>', 'most questions a task', countingNumber, 256)
    .option('--seed <n>', 'which questions', wholeNumber, 0)
    .option('--batch <n>', 'questions answered together', countingNumber, 16)
    .option('--max-tokens <n>', 'longest answer (default: four times the longest true one)', countingNumber)
    .option('--bootstrap <n>', 'draws for the 95 % intervals; 0 for none', wholeNumber, 1000)
    .addOption(
      new Option('--boxes <space>', 'what the four numbers of a box are, for models trained elsewhere')
        .choices(['bins', 'pixels', 'unit', 'permille', 'padded-square'])
        .default('bins'),
    )
    .option(
      '--out <file>',
      'where every question, answer and verdict is written, one JSON object a line (default: beside the checkpoint)',
    );
  withCommon(withEngine(withOnnx(withModel(command)))).action((options: EvalOptions) =>
    run(options, createOutput(options)),
  );
}

async function run(options: EvalOptions, out: Output): Promise<void> {
  const asked = options.out === undefined ? undefined : outputFile('--out', options.out);
  const tasks = options.task === undefined ? null : await parseTasks(options.task);
  const model = await openAsked(options, out);
  try {
    const plan = await askable(planOf(model.heldOut, tasks, options.data), model, options.seed, out);
    const file = asked ?? (await keptFile(model, options));
    if (file === null)
      out.note('predictions are not kept: the checkpoint lies in no run; --out FILE keeps them');
    const journal = file === null ? null : await openJournalOf(file, model, plan, options);
    if (journal && journal.known > 0)
      out.note(`going on after ${journal.known} batches that were answered before`);
    const results: Scored[] = [];
    try {
      for (const source of plan) results.push(await scoreSource(model, source, journal, options, out));
    } catch (thrown) {
      journal?.close();
      throw thrown;
    }
    if (file !== null) await writePredictions(file, results, out);
    await journal?.remove();
    await report(model, results, file, out);
  } finally {
    await model.close();
  }
}

/** Where predictions go by default; its folder is made. */
async function keptFile({ place }: Asked, { task }: EvalOptions): Promise<string | null> {
  const { predictionsFile } = await import('../eval/kept.ts');
  const file = predictionsFile(place, task === undefined ? null : task.split(',').map(name => name.trim()));
  if (file === null) return null;
  try {
    mkdirSync(dirname(file), { recursive: true });
  } catch (thrown) {
    const { ioError } = await import('../atomic.ts');
    throw ioError(thrown, 'create', dirname(file));
  }
  return file;
}

/**
 * The answers that this very evaluation has given so far: same weights, same data, same questions. Any other has a journal
 * of another name.
 */
async function openJournalOf(
  file: string,
  { source, averaged, weights, manifest }: Asked,
  plan: readonly Source[],
  options: EvalOptions,
): Promise<JournalFile> {
  const { openJournal } = await import('../eval/journal.ts');
  const { hashSeed } = await import('../random.ts');
  const manifests = [manifest, ...plan.map(({ data }) => resolve(data, 'manifest.json'))];
  const content = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '');
  const { limit, seed, batch, maxTokens, boxes, engine, device } = options;
  const identity = hashSeed(
    JSON.stringify({ source, averaged, plan, limit, seed, batch, maxTokens, boxes, engine, device }),
    statSync(weights, { throwIfNoEntry: false })?.mtimeMs ?? 0,
    ...manifests.map(content),
  );
  return openJournal(`${file}.${identity.toString(16).padStart(8, '0')}.partial`);
}

interface Source {
  readonly data: string;
  readonly task: ConversationTask;
  readonly maxRecords?: number;
}

/** What is scored: the stage's own held-out sources, or the tasks and the dataset that were asked for. */
function planOf(
  heldOut: Asked['heldOut'],
  tasks: readonly ConversationTask[] | null,
  data: string | undefined,
): Source[] {
  const own = heldOut.flatMap(({ dataset, task, max_records: maxRecords }): Source[] =>
    task === 'contrastive'
      ? []
      : [{ data: dataset, task, ...(maxRecords === undefined ? {} : { maxRecords }) }],
  );
  const datasets = data === undefined ? [...new Set(heldOut.map(source => source.dataset))] : [resolve(data)];
  if (data === undefined && tasks === null && own.length > 0) return own;
  const asked = tasks ?? [...new Set(own.map(source => source.task))];
  if (datasets.length > 0 && asked.length > 0) {
    return datasets.flatMap(each => asked.map(task => ({ data: each, task })));
  }
  const flag = datasets.length === 0 ? '--data' : '--task';
  throw new GroundError(
    'usage',
    `what to score is not known: neither from ${flag} nor from the model's stage`,
    {
      hint: 'name both a dataset folder and what to ask: --data DIR --task rec,roc',
    },
  );
}

/**
 * The part of a plan that has anything to ask; what is left out is noted. Throws where a dataset is missing or damaged, and where none
 * has a question for some task: before the first is scored, not after it.
 */
async function askable(
  plan: readonly Source[],
  { answering }: Asked,
  seed: number,
  out: Output,
): Promise<Source[]> {
  const { openDataset } = await import('../data/dataset.ts');
  const { hasQuestion } = await import('../eval/questions.ts');
  const kept: Source[] = [];
  const left: { task: ConversationTask; where: string }[] = [];
  for (const source of plan) {
    const { data, task, maxRecords } = source;
    const dataset = await openDataset(data);
    try {
      const groundingPrompt = answering.stage.grounding_prompt;
      const part = maxRecords === undefined ? {} : { maxRecords };
      if (await hasQuestion(dataset, { task, seed, groundingPrompt, ...part })) kept.push(source);
      else left.push({ task, where: `${data} (${dataset.rows} records)` });
    } finally {
      await dataset.close();
    }
  }
  const lacking = left.filter(({ task }) => !kept.some(source => source.task === task));
  if (lacking.length > 0) {
    const where = [...new Set(lacking.map(one => one.where))].join(', ');
    const tasks = [...new Set(lacking.map(one => one.task))].join(', ');
    throw new GroundError('data', `${where} yields no ${tasks} question`, {
      hint: 'choose other tasks (--task), or a dataset whose records have what these ask for',
    });
  }
  for (const { task, where } of left) out.note(`${where} yields no ${task} question and is left out`);
  return kept;
}

/** "rec,roc" to task names, each once. Throws `usage` on an unknown one, and on `contrastive`, which asks nothing. */
async function parseTasks(text: string): Promise<ConversationTask[]> {
  const { TASK_NAMES } = await import('../data/tasks/names.ts');
  const known = TASK_NAMES.filter(name => name !== 'contrastive');
  const asked = text.split(',').map(part => {
    const task = known.find(name => name === part.trim());
    if (task) return task;
    throw new GroundError('usage', `--task ${text}: "${part.trim()}" is no task that can be scored`, {
      hint: `choose among ${known.join(', ')}`,
    });
  });
  return [...new Set(asked)];
}

async function scoreSource(
  { answering }: Asked,
  { data, task, maxRecords }: Source,
  journal: JournalFile | null,
  options: EvalOptions,
  out: Output,
): Promise<Scored> {
  const { openDataset } = await import('../data/dataset.ts');
  const { evaluate } = await import('../eval/run.ts');
  const dataset = await openDataset(data);
  const progress = await openProgress({ label: task, total: options.limit, unit: 'questions' });
  try {
    const result = await evaluate({
      model: answering,
      tokenizer: answering.tokenizer,
      stage: answering.stage,
      dataset,
      task,
      samples: options.limit,
      seed: options.seed,
      batch: options.batch,
      onProgress: done => progress.update(done),
      ...(maxRecords === undefined ? {} : { maxRecords }),
      boxes: options.boxes,
      ...(options.maxTokens === undefined ? {} : { maxNewTokens: options.maxTokens }),
      ...(journal === null ? {} : { journal: journal.of(`${data} ${task}`) }),
    });
    for (const { id, reason } of result.skipped.slice(0, 3)) out.note(`left out ${id}: ${reason}`);
    if (result.skipped.length > 3) out.note(`left out ${result.skipped.length} ${task} questions in all`);
    const { intervalsOf } = await import('../eval/scores.ts');
    const intervals = intervalsOf(result.judged, { seed: options.seed, resamples: options.bootstrap });
    return { ...result, data, intervals };
  } finally {
    progress.stop();
    await dataset.close();
  }
}

async function writePredictions(file: string, results: readonly Scored[], out: Output): Promise<void> {
  const { writeFileAtomic } = await import('../atomic.ts');
  const { lineOfPrediction } = await import('../eval/predictions.ts');
  const lines = results.flatMap(({ predictions, data }) => predictions.map(p => lineOfPrediction(p, data)));
  await writeFileAtomic(file, lines.join(''));
  out.note(`wrote ${lines.length} predictions to ${file}`);
}

async function report(
  { source, stage, step }: Asked,
  results: readonly Scored[],
  predictions: string | null,
  out: Output,
): Promise<void> {
  const { mergeScores } = await import('../eval/stage.ts');
  out.line(`${source.onnx ?? source.checkpoint}: stage ${stage}, step ${step}`);
  const isSeveral = new Set(results.map(result => result.data)).size > 1;
  out.table(
    [...(isSeveral ? ['data'] : []), 'task', 'questions', 'score', 'value', '95 %'],
    results.flatMap(result =>
      Object.entries(result.scores).map(([name, value]) => [
        ...(isSeveral ? [relative('.', result.data)] : []),
        result.task,
        result.questions,
        name,
        value.toFixed(4),
        intervalText(result.intervals[name]),
      ]),
    ),
  );
  out.result({
    ...source,
    stage,
    step,
    scores: mergeScores(results),
    tasks: results.map(({ task, data, questions, scores, intervals, skipped }) => ({
      task,
      data,
      questions,
      scores,
      intervals,
      skipped,
    })),
    predictions,
  });
}

/** "0.4120 to 0.4890". */
export function intervalText(interval: Interval | undefined): string | null {
  return interval === undefined ? null : `${interval.low.toFixed(4)} to ${interval.high.toFixed(4)}`;
}
