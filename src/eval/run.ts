/** Scores a model on a dataset: asks, compares, and measures how much of it the model owes to the image. */
import { boxProblem, type PixelBox } from '../data/box.ts';
import type { Truth } from '../data/conversation.ts';
import type { Dataset } from '../data/dataset.ts';
import { piecesText } from '../data/render.ts';
import { assembleSample, prepareSample, renderOf, type Sample, type SampleContext } from '../data/sample.ts';
import type { ConversationTask } from '../data/tasks/index.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import { GroundError } from '../errors.ts';
import type { Ferret } from '../models/ferret.ts';
import type { StageRecipe } from '../train/recipe.ts';
import { answerPrompts, lossOf } from './answer.ts';
import { type LossSum, meanTokenLoss } from './metrics/caption.ts';
import { extentOf, type Question, questionsOf } from './questions.ts';
import { type Judged, judge, type Scores, scoresOf, verdictOf } from './score.ts';
import { exchangeKey, withOtherImages } from './shuffle.ts';

export interface EvaluateOptions {
  readonly model: Ferret;
  readonly tokenizer: Tokenizer;
  /** What the stage decides about its samples. */
  readonly stage: Pick<StageRecipe, 'views' | 'grounding_prompt'>;
  readonly dataset: Dataset;
  readonly task: ConversationTask;
  /** Most questions. */
  readonly samples: number;
  readonly seed: number;
  /** Questions answered together. */
  readonly batch: number;
  /** Uses the first records of the dataset only. */
  readonly maxRecords?: number;
  /**
   * Longest answer in tokens; by default four times the longest true one of the batch, and 32 at least: room enough to
   * go wrong, because a choice that is cut off before its second option would count as right.
   */
  readonly maxNewTokens?: number;
  /** `scored` answers tasks without a verdict (captions) for the first batch only. Default `all`. */
  readonly answers?: 'all' | 'scored';
  readonly onProgress?: (done: number) => void;
}

/** One question, its answer and what became of it: a line of the predictions file. */
export interface Prediction {
  readonly id: string;
  readonly row: number;
  readonly task: ConversationTask;
  readonly prompt: string;
  /** What the prompt points at: boxes around it, empty ones for points. */
  readonly regions: readonly PixelBox[];
  /** Null where the task is not scored by its answers and this one was not asked for. */
  readonly answer: string | null;
  readonly truth: { readonly answer: string } & Truth;
  /** Boxes read from the answer, pixels; null for a bracket group that is no box. */
  readonly boxes: readonly (PixelBox | null)[];
  readonly verdict: ReturnType<typeof verdictOf>;
}

export interface EvalResult {
  readonly task: ConversationTask;
  /** Questions that were scored. */
  readonly questions: number;
  /** `rec_accuracy`, `rec_loss`, `rec_grounding_gap`, …: the task's name first, dashes as underscores. */
  readonly scores: Scores;
  /** In the order of the questions. */
  readonly predictions: readonly Prediction[];
  /** Questions that could not be asked: damaged images, sequences that are too long. */
  readonly skipped: readonly { readonly id: string; readonly reason: string }[];
}

/** A question made ready for the model. */
interface Ready {
  readonly number: number;
  readonly question: Question;
  /** With the answer, for the loss. */
  readonly sample: Sample;
  readonly prompt: Sample;
}

/**
 * Asks at most `samples` questions and scores the answers. Beside the task's own scores it reports the mean loss per
 * token of the true answers (`<task>_loss`) and by how much it rises when images are exchanged within the batch
 * (`<task>_grounding_gap`): what the model knows from the image alone. Deterministic for a seed. Throws GroundError
 * 'data' when the dataset yields no question for the task.
 */
export async function evaluate(options: EvaluateOptions): Promise<EvalResult> {
  const { model, dataset, task } = options;
  const skipped: { id: string; reason: string }[] = [];
  const answered: { number: number; judged: Judged | null; prediction: Prediction }[] = [];
  const losses: LossSum[] = [];
  const pairs: { own: LossSum; exchanged: LossSum }[] = [];
  for await (const batch of batches(options, skipped)) {
    const samples = batch.map(ready => ready.sample);
    const own = await lossOf(model, samples);
    losses.push(own);
    const others = withOtherImages(samples);
    if (others) pairs.push({ own, exchanged: await lossOf(model, others) });
    const isAnswered = options.answers !== 'scored' || isScored(task) || answered.length === 0;
    const answers = isAnswered ? await answersTo(batch, options) : [];
    for (const [i, ready] of batch.entries()) answered.push(outcome(ready, answers[i] ?? null, model, task));
    options.onProgress?.(answered.length + skipped.length);
  }
  if (answered.length === 0) throw noQuestions(dataset, task, skipped);
  answered.sort((a, b) => a.number - b.number);
  const name = task.replaceAll('-', '_');
  const shuffled = meanTokenLoss(pairs.map(pair => pair.exchanged));
  return {
    task,
    questions: answered.length,
    scores: {
      ...scoresOf(answered.flatMap(a => a.judged ?? [])),
      [`${name}_loss`]: meanTokenLoss(losses),
      ...(pairs.length > 0 && {
        [`${name}_shuffled_loss`]: shuffled,
        [`${name}_grounding_gap`]: shuffled - meanTokenLoss(pairs.map(pair => pair.own)),
      }),
    },
    predictions: answered.map(a => a.prediction),
    skipped,
  };
}

/** Whether answers to a task have verdicts of their own. */
function isScored(task: ConversationTask): boolean {
  return task === 'rec' || task === 'roc';
}

/** Questions in batches whose images can be exchanged, the odd ones in the end. */
async function* batches(
  options: EvaluateOptions,
  skipped: { id: string; reason: string }[],
): AsyncGenerator<Ready[]> {
  const context: SampleContext = {
    model: options.model.config,
    tokenizer: options.tokenizer,
    views: options.stage.views,
    seed: options.seed,
  };
  const waiting = new Map<string, Ready[]>();
  let number = 0;
  for await (const question of questionsOf(options.dataset, {
    task: options.task,
    limit: options.samples,
    seed: options.seed,
    groundingPrompt: options.stage.grounding_prompt,
    ...(options.maxRecords === undefined ? {} : { maxRecords: options.maxRecords }),
  })) {
    const prepared = await prepare(question, context);
    if ('reason' in prepared) {
      skipped.push({ id: question.id, reason: prepared.reason });
      continue;
    }
    const key = exchangeKey(prepared.sample);
    const group = [...(waiting.get(key) ?? []), { number: number++, question, ...prepared }];
    waiting.set(key, group);
    if (group.length < options.batch) continue;
    waiting.delete(key);
    yield group;
  }
  yield* waiting.values();
}

async function prepare(
  { record, conversation }: Question,
  context: SampleContext,
): Promise<{ sample: Sample; prompt: Sample } | { reason: string }> {
  const wrong = record.objects.flatMap(({ box }) => boxProblem(box, record) ?? [])[0];
  if (wrong !== undefined) return { reason: `box ${wrong}` };
  try {
    const sample = await prepareSample(record, conversation, context);
    const rendered = renderOf(conversation, record, context, true);
    return { sample, prompt: assembleSample(record.id, conversation, rendered, sample.views, context) };
  } catch (thrown) {
    if (thrown instanceof GroundError && thrown.code === 'data') return { reason: thrown.message };
    throw thrown;
  }
}

async function answersTo(batch: readonly Ready[], options: EvaluateOptions): Promise<string[]> {
  const longest = Math.max(
    ...batch.map(({ sample }) => sample.rendered.answers.reduce((n, [start, end]) => n + end - start, 0)),
  );
  const limit = options.maxNewTokens ?? Math.max(32, 4 * longest);
  const prompts = batch.map(ready => ready.prompt);
  const answers = await answerPrompts(options.model, options.tokenizer, prompts, { maxNewTokens: limit });
  return answers.map(answer => answer.text);
}

function outcome(
  { number, question }: Ready,
  answer: string | null,
  model: Ferret,
  task: ConversationTask,
): { number: number; judged: Judged | null; prediction: Prediction } {
  const { record, round, object, id, row } = question;
  const { bins } = model.config.coordinates;
  const judged =
    answer === null ? null : judge({ task, truth: round.truth, object, image: record }, answer, bins);
  return {
    number,
    judged,
    prediction: {
      id,
      row,
      task,
      prompt: piecesText(round.question, record, bins),
      regions: round.question.flatMap(piece =>
        piece.kind === 'region' ? (extentOf(piece.region) ?? []) : [],
      ),
      answer,
      truth: { answer: piecesText(round.answer, record, bins), ...round.truth },
      boxes: judged?.boxes ?? [],
      verdict: judged ? verdictOf(judged) : null,
    },
  };
}

function noQuestions(
  dataset: Dataset,
  task: ConversationTask,
  skipped: readonly { id: string; reason: string }[],
): GroundError {
  const why = skipped[0] ? `every question was refused, first ${skipped[0].id}: ${skipped[0].reason}` : '';
  return new GroundError(
    'data',
    `${dataset.dir} (${dataset.rows} records) yields no ${task} question${why && `: ${why}`}`,
    { hint: 'choose another task (--task), or a dataset whose records have what this one asks for' },
  );
}
