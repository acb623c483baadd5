import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { ConversationTask } from '../data/tasks/index.ts';
import { GroundError } from '../errors.ts';
import type { InferenceModel } from '../eval/load.ts';
import type { EvalResult } from '../eval/run.ts';
import { type ModelOptions, openModel, withModel } from './model.ts';
import {
  type CommonOptions,
  type EngineOptions,
  outputFile,
  wholeNumber,
  withCommon,
  withEngine,
} from './options.ts';
import { createOutput, type Output } from './output.ts';
import { openProgress } from './progress.ts';

interface EvalOptions extends CommonOptions, EngineOptions, ModelOptions {
  readonly data?: string;
  readonly task?: string;
  readonly limit: number;
  readonly seed: number;
  readonly batch: number;
  readonly maxTokens?: number;
  readonly out?: string;
}

/** Adds `ground eval`. */
export function register(program: Command): void {
  const command = program
    .command('eval')
    .description('score a trained model on held-out questions')
    .option('--data <dir>', "a dataset folder (default: those of the stage's eval section)")
    .option('--task <list>', 'what to ask, such as rec,roc,caption (default: what the stage is scored on)')
    .option('--limit <n>', 'most questions a task', wholeNumber, 256)
    .option('--seed <n>', 'which questions', wholeNumber, 0)
    .option('--batch <n>', 'questions answered together', wholeNumber, 16)
    .option('--max-tokens <n>', 'longest answer (default: four times the longest true one)', wholeNumber)
    .option('--out <file>', 'write every question, answer and verdict there, one JSON object a line');
  withCommon(withEngine(withModel(command))).action((options: EvalOptions) =>
    run(options, createOutput(options)),
  );
}

async function run(options: EvalOptions, out: Output): Promise<void> {
  if (options.limit < 1 || options.batch < 1) {
    throw new GroundError('usage', '--limit and --batch must be at least 1');
  }
  const predictions = options.out === undefined ? undefined : outputFile('--out', options.out);
  const inference = await openModel(options, out);
  try {
    const plan = await planOf(inference, options);
    const results: (EvalResult & { readonly data: string })[] = [];
    for (const source of plan) results.push(await scoreSource(inference, source, options, out));
    if (predictions !== undefined) await writePredictions(predictions, results, out);
    await report(inference, results, out);
  } finally {
    inference.dispose();
  }
}

interface Source {
  readonly data: string;
  readonly task: ConversationTask;
  readonly maxRecords?: number;
}

/** What is scored: the stage's own held-out sources, or the tasks and the dataset that were asked for. */
async function planOf({ recipe }: InferenceModel, options: EvalOptions): Promise<Source[]> {
  const tasks = options.task === undefined ? null : await parseTasks(options.task);
  const { data: own } = recipe.stage.eval;
  if (options.data !== undefined) {
    const data = resolve(options.data);
    const asked = tasks ?? own.flatMap(source => (source.task === 'contrastive' ? [] : [source.task]));
    return [...new Set(asked)].map(task => ({ data, task }));
  }
  const datasets = [...new Set(own.map(source => source.dataset))];
  if (datasets.length === 0) {
    throw new GroundError('usage', 'the stage of this checkpoint has no held-out data', {
      hint: 'name a dataset folder with --data',
    });
  }
  if (tasks) return datasets.flatMap(data => tasks.map(task => ({ data, task })));
  return own.flatMap(({ dataset: data, task, max_records: maxRecords }) =>
    task === 'contrastive' ? [] : [{ data, task, ...(maxRecords === undefined ? {} : { maxRecords }) }],
  );
}

/** "rec,roc" to task names. Throws `usage` on an unknown one, and on `contrastive`, which asks nothing. */
async function parseTasks(text: string): Promise<ConversationTask[]> {
  const { TASK_NAMES } = await import('../data/tasks/names.ts');
  const known = TASK_NAMES.filter(name => name !== 'contrastive');
  return text.split(',').map(part => {
    const task = known.find(name => name === part.trim());
    if (task) return task;
    throw new GroundError('usage', `--task ${text}: "${part.trim()}" is no task that can be scored`, {
      hint: `choose among ${known.join(', ')}`,
    });
  });
}

async function scoreSource(
  inference: InferenceModel,
  { data, task, maxRecords }: Source,
  options: EvalOptions,
  out: Output,
): Promise<EvalResult & { data: string }> {
  const { openDataset } = await import('../data/dataset.ts');
  const { evaluate } = await import('../eval/run.ts');
  const dataset = await openDataset(data);
  const progress = await openProgress({ label: task, total: options.limit, unit: 'questions' });
  try {
    const result = await evaluate({
      model: inference.model,
      tokenizer: inference.tokenizer,
      stage: inference.recipe.stage,
      dataset,
      task,
      samples: options.limit,
      seed: options.seed,
      batch: options.batch,
      onProgress: done => progress.update(done),
      ...(maxRecords === undefined ? {} : { maxRecords }),
      ...(options.maxTokens === undefined ? {} : { maxNewTokens: options.maxTokens }),
      ...(options.out === undefined ? { answers: 'scored' as const } : {}),
    });
    for (const { id, reason } of result.skipped.slice(0, 3)) out.note(`left out ${id}: ${reason}`);
    if (result.skipped.length > 3) out.note(`left out ${result.skipped.length} ${task} questions in all`);
    return { ...result, data };
  } finally {
    progress.stop();
    await dataset.close();
  }
}

async function writePredictions(file: string, results: readonly EvalResult[], out: Output): Promise<void> {
  const { writeFileAtomic } = await import('../atomic.ts');
  const lines = results.flatMap(result => result.predictions.map(p => `${JSON.stringify(p)}\n`));
  await writeFileAtomic(file, lines.join(''));
  out.note(`wrote ${lines.length} predictions to ${file}`);
}

async function report(
  { checkpoint, stage, step }: InferenceModel,
  results: readonly (EvalResult & { readonly data: string })[],
  out: Output,
): Promise<void> {
  const { mergeScores } = await import('../eval/stage.ts');
  out.line(`${checkpoint}: stage ${stage}, step ${step}`);
  out.table(
    ['task', 'questions', 'score', 'value'],
    results.flatMap(result =>
      Object.entries(result.scores).map(([name, value]) => [
        result.task,
        result.questions,
        name,
        value.toFixed(4),
      ]),
    ),
  );
  out.result({
    checkpoint,
    stage,
    step,
    scores: mergeScores(results),
    tasks: results.map(({ task, data, questions, scores, skipped }) => ({
      task,
      data,
      questions,
      scores,
      skipped,
    })),
  });
}
