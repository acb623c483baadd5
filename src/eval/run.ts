/** Scores a model on a dataset: asks, compares, and measures how much of it the model owes to the image. */
import { type BoxSpace, boxProblem, type PixelBox, type Size } from '../data/box.ts';
import type { Truth } from '../data/conversation.ts';
import type { Dataset } from '../data/dataset.ts';
import { piecesText } from '../data/render.ts';
import { assembleSample, prepareSample, renderOf, type Sample, type SampleContext } from '../data/sample.ts';
import type { ConversationTask } from '../data/tasks/index.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import { GroundError } from '../errors.ts';
import type { StageRecipe } from '../train/recipe.ts';
import type { AskedModel } from './answer.ts';
import type { Journal, JournalEntry } from './journal.ts';
import { type LossSum, meanTokenLoss } from './metrics/caption.ts';
import { extentOf, type Question, questionsOf } from './questions.ts';
import { type Asked, type AskedObject, type Judged, judge, type Verdict, verdictOf } from './score.ts';
import { type Scores, scoresOf } from './scores.ts';
import { exchangeKey, withOtherImages } from './shuffle.ts';

export interface EvaluateOptions {
  readonly model: AskedModel;
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
  /** `scored` answers tasks with long answers (captions, lists) for the first batch only. Default `all`. */
  readonly answers?: 'all' | 'scored';
  /** How the model writes boxes; by default in its own bins. */
  readonly boxes?: BoxSpace;
  /** What an evaluation that was cut off has answered already, and where this one writes its answers down. */
  readonly journal?: Journal;
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
  /** Boxes read from the answer, pixels; null for a mention that is no box. */
  readonly boxes: readonly (PixelBox | null)[];
  readonly verdict: Verdict | null;
  /** Width and height of the image, pixels. */
  readonly image: Size;
  /** The object asked for or about, where there is exactly one. */
  readonly object: PixelBox | null;
  /** All captions of the image, where the answer is compared with them. */
  readonly captions?: readonly string[];
  /** All objects of the image, where the answer lists them. */
  readonly objects?: readonly AskedObject[];
}

export interface EvalResult {
  readonly task: ConversationTask;
  /** Questions that were scored. */
  readonly questions: number;
  /** `rec_accuracy`, `rec_loss`, `rec_grounding_gap`, …: the task's name first, dashes as underscores. */
  readonly scores: Scores;
  /** In the order of the questions. */
  readonly predictions: readonly Prediction[];
  /** The judged answers, in groups of one image each. */
  readonly judged: readonly (readonly Judged[])[];
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
  const { dataset, task } = options;
  const skipped: { id: string; reason: string }[] = [];
  const answered: { number: number; judged: Judged | null; prediction: Prediction }[] = [];
  const losses: LossSum[] = [];
  const pairs: { own: LossSum; exchanged: LossSum }[] = [];
  for await (const batch of batches(options, skipped)) {
    const ids = batch.map(({ question }) => question.id);
    let entry = options.journal?.find(ids);
    if (!entry) {
      const isAnswered = options.answers !== 'scored' || isShort(task) || answered.length === 0;
      entry = await askBatch(batch, isAnswered, options);
      options.journal?.add(ids, entry);
    }
    const { own, exchanged, answers } = entry;
    losses.push(own);
    if (exchanged) pairs.push({ own, exchanged });
    for (const [i, ready] of batch.entries()) answered.push(outcome(ready, answers?.[i] ?? null, options));
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
      // Of a few answers out of many, scores would say little: those are there to be looked at.
      ...(options.answers === 'scored' && !isShort(task)
        ? {}
        : scoresOf(answered.flatMap(a => a.judged ?? []))),
      [`${name}_loss`]: meanTokenLoss(losses),
      ...(pairs.length > 0 && {
        [`${name}_shuffled_loss`]: shuffled,
        [`${name}_grounding_gap`]: shuffled - meanTokenLoss(pairs.map(pair => pair.own)),
      }),
    },
    predictions: answered.map(a => a.prediction),
    judged: byImage(answered.flatMap(({ judged, prediction }) => (judged ? [{ judged, prediction }] : []))),
    skipped,
  };
}

/** Tasks whose answers are scored and short: cheap enough to be given in full while a model is trained. */
const SHORT_TASKS: ReadonlySet<ConversationTask> = new Set([
  'rec',
  'roc',
  'phrase-grounding',
  'negatives',
  'presence',
  'vqa',
  'ocr',
  'count',
]);

function isShort(task: ConversationTask): boolean {
  return SHORT_TASKS.has(task);
}

/** Runs the model on one batch: the loss, the loss with images exchanged, the answers. */
async function askBatch(
  batch: readonly Ready[],
  isAnswered: boolean,
  options: EvaluateOptions,
): Promise<JournalEntry> {
  const samples = batch.map(ready => ready.sample);
  const own = await options.model.loss(samples);
  const others = withOtherImages(samples);
  return {
    own,
    exchanged: others && (await options.model.loss(others)),
    answers: isAnswered ? await answersTo(batch, options) : null,
  };
}

/** Judged answers in groups of one image each, in the order in which images first occur. */
export function byImage(
  judged: readonly { readonly judged: Judged; readonly prediction: Pick<Prediction, 'row'> }[],
): Judged[][] {
  const groups = new Map<number, Judged[]>();
  for (const one of judged) {
    const group = groups.get(one.prediction.row);
    if (group) group.push(one.judged);
    else groups.set(one.prediction.row, [one.judged]);
  }
  return [...groups.values()];
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
  const answers = await options.model.answer(prompts, { maxNewTokens: limit });
  return answers.map(answer => answer.text);
}

function outcome(
  { number, question }: Ready,
  answer: string | null,
  { model, task, boxes: space = 'bins' }: EvaluateOptions,
): { number: number; judged: Judged | null; prediction: Prediction } {
  const { record, round, id, row } = question;
  const { bins } = model.config.coordinates;
  const asked = askedBy(question, task, bins);
  const judged = answer === null ? null : judge(asked, answer, { space, bins });
  const { truth, image, object, captions, objects } = asked;
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
      truth,
      boxes: judged?.boxes ?? [],
      verdict: judged ? verdictOf(judged) : null,
      image,
      object,
      ...(captions && { captions }),
      ...(objects && { objects }),
    },
  };
}

/** What an answer is judged by: the round's truth, and what of the record the task's scores need beside it. */
function askedBy(
  { record, round, object }: Question,
  task: ConversationTask,
  bins: number,
): Asked & { readonly truth: Prediction['truth'] } {
  const { width, height, captions } = record;
  return {
    task,
    truth: { answer: piecesText(round.answer, record, bins), ...round.truth },
    object,
    image: { width, height },
    ...((task === 'caption' || task === 'grounded-caption') && { captions }),
    ...(task === 'dense-detection' && {
      objects: record.objects.map(({ label, box, crowd = false }) => ({ label, box, crowd })),
    }),
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
