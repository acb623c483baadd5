/** What the trainer asks for between and after its steps: held-out scores, and examples to look at. */
import { type Dataset, openDataset } from '../data/dataset.ts';
import type { ConversationTask } from '../data/tasks/index.ts';
import { loadTokenizer } from '../data/tokenizer.ts';
import type { Ferret } from '../models/ferret.ts';
import type { RunEvent } from '../telemetry/events.ts';
import type { Recipe } from '../train/recipe.ts';
import { BOX_COLORS, type DrawnBox, drawBoxes, pngSize } from './draw.ts';
import { type EvalResult, evaluate, type Prediction } from './run.ts';
import type { Scores } from './score.ts';

/** The seed of held-out questions: one for all stages, so that their scores can be compared. */
export const EVAL_SEED = 0;

/** Answers shown of each task. */
const EXAMPLES = 4;

/**
 * Scores a model on every held-out source of its stage. Emits a few answers of each task as text, and for those with
 * true boxes the image with true (green) and predicted (red) boxes. Returns all scores, and `grounding_gap`, the mean
 * of the tasks' gaps. Sources of the contrastive task make no conversations and are left out, with a note.
 */
export async function evaluateStage(
  model: Ferret,
  recipe: Recipe,
  step: number,
  emit: (event: RunEvent) => void,
): Promise<Scores> {
  const { stage } = recipe;
  const tokenizer = loadTokenizer(recipe.model.tokenizer);
  const results: EvalResult[] = [];
  for (const { dataset: dir, task, max_records: maxRecords } of stage.eval.data) {
    if (task === 'contrastive') {
      emit({ type: 'note', message: `eval: ${dir} is not scored: the contrastive task asks no questions` });
      continue;
    }
    const dataset = await openDataset(dir);
    try {
      const result = await evaluate({
        model,
        tokenizer,
        stage,
        dataset,
        task,
        samples: stage.eval.samples,
        seed: EVAL_SEED,
        batch: stage.batch.samples,
        answers: 'scored',
        ...(maxRecords === undefined ? {} : { maxRecords }),
      });
      results.push(result);
      await emitExamples(result, dataset, step, emit);
    } finally {
      await dataset.close();
    }
  }
  return mergeScores(results);
}

/** The scores of several tasks side by side, and the mean of their grounding gaps. */
export function mergeScores(results: readonly Pick<EvalResult, 'task' | 'scores'>[]): Scores {
  const gaps = results.flatMap(({ scores }) =>
    Object.entries(scores).flatMap(([name, value]) => (name.endsWith('_grounding_gap') ? [value] : [])),
  );
  return {
    ...Object.assign({}, ...results.map(result => result.scores)),
    ...(gaps.length > 0 && { grounding_gap: gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length }),
  };
}

async function emitExamples(
  { task, predictions, skipped }: EvalResult,
  dataset: Dataset,
  step: number,
  emit: (event: RunEvent) => void,
): Promise<void> {
  const shown = predictions.filter(prediction => prediction.answer !== null).slice(0, EXAMPLES);
  emit({ type: 'text', step, tag: `eval/${task}`, text: examplesText(shown) });
  for (const [i, prediction] of shown.entries()) {
    if (!prediction.truth.boxes) continue;
    const png = await drawBoxes(await dataset.read(prediction.row), boxesOf(prediction));
    emit({ type: 'image', step, tag: imageTag(task, i), png, ...pngSize(png) });
  }
  const [first] = skipped;
  if (first) {
    const message = `eval: ${skipped.length} ${task} questions were left out, first ${first.id}: ${first.reason}`;
    emit({ type: 'note', message });
  }
}

function imageTag(task: ConversationTask, number: number): string {
  return `eval/${task}/${number}`;
}

/** True boxes in green, read ones in red, the predicted on top. */
export function boxesOf({ truth, boxes }: Pick<Prediction, 'truth' | 'boxes'>): DrawnBox[] {
  return [
    ...(truth.boxes ?? []).map(box => ({ box, color: BOX_COLORS.truth })),
    ...boxes.flatMap(box => (box ? [{ box, color: BOX_COLORS.prediction }] : [])),
  ];
}

/** Examples as Markdown, which TensorBoard renders. */
function examplesText(predictions: readonly Prediction[]): string {
  return predictions
    .map(({ prompt, answer, truth, verdict }) =>
      [
        `- **${plain(prompt)}**`,
        `  - answer: ${plain(answer ?? '')}${verdict ? ` (${verdict})` : ''}`,
        `  - truth: ${plain(truth.answer)}`,
      ].join('\n'),
    )
    .join('\n');
}

/** Text that Markdown and HTML leave alone. */
function plain(text: string): string {
  return text.replace(/[\\`*_[\]<>]/g, '\\$&').replace(/\s+/g, ' ');
}
