/** What the trainer asks for between and after its steps: held-out scores, and examples to look at. */
import { type Dataset, openDataset } from '../data/dataset.ts';
import type { ImageRecord } from '../data/record.ts';
import { loadTokenizer } from '../data/tokenizer.ts';
import type { Ferret } from '../models/ferret.ts';
import type { Picture, RunEvent } from '../telemetry/events.ts';
import type { Recipe } from '../train/recipe.ts';
import { askedModel } from './answer.ts';
import { BOX_COLORS, type DrawnBox, drawBoxes, pngSize } from './draw.ts';
import { mean } from './metrics/mean.ts';
import { type EvalResult, evaluate, type Prediction } from './run.ts';
import type { Scores } from './scores.ts';

/** The seed of held-out questions: one for all stages, so that their scores can be compared. */
export const EVAL_SEED = 0;

/** Questions of each task in the probe set. */
const PROBES = 4;

/**
 * Scores a model on every held-out source of its stage. Emits the probe set, the same questions every time: the answers of
 * a task as text, and each as a probe with the image, true (green), predicted (red) and asked-about (blue) boxes. Returns all scores, and `grounding_gap`, the mean
 * of the tasks' gaps. Sources of the contrastive task make no conversations and are left out, with a note.
 */
export async function evaluateStage(
  model: Ferret,
  recipe: Recipe,
  step: number,
  emit: (event: RunEvent) => void,
  onProgress: () => void = () => undefined,
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
        model: askedModel(model, tokenizer),
        tokenizer,
        stage,
        dataset,
        task,
        samples: stage.eval.samples,
        seed: EVAL_SEED,
        batch: stage.batch.samples,
        answers: 'scored',
        onProgress,
        ...(maxRecords === undefined ? {} : { maxRecords }),
      });
      results.push(result);
      await emitProbes(result, dataset, step, emit);
    } finally {
      await dataset.close();
    }
  }
  return mergeScores(results);
}

/**
 * The scores of several tasks side by side, and the mean of their grounding gaps. A score that several datasets have is the mean of
 * theirs, each dataset counting the same.
 */
export function mergeScores(results: readonly Pick<EvalResult, 'task' | 'scores'>[]): Scores {
  const gaps = results.flatMap(({ scores }) =>
    Object.entries(scores).flatMap(([name, value]) => (name.endsWith('_grounding_gap') ? [value] : [])),
  );
  const values = new Map<string, number[]>();
  for (const [name, value] of results.flatMap(({ scores }) => Object.entries(scores))) {
    values.set(name, [...(values.get(name) ?? []), value]);
  }
  return {
    ...Object.fromEntries([...values].map(([name, own]) => [name, mean(own) ?? 0])),
    ...(gaps.length > 0 && { grounding_gap: mean(gaps) ?? 0 }),
  };
}

async function emitProbes(
  { task, predictions, skipped }: EvalResult,
  dataset: Dataset,
  step: number,
  emit: (event: RunEvent) => void,
): Promise<void> {
  const probes = probeSet(predictions);
  emit({ type: 'text', step, tag: `eval/${task}`, text: probesText(probes) });
  for (const [i, probe] of probes.entries()) {
    const { id, prompt, answer, truth, verdict, boxes, row } = probe;
    emit({
      type: 'probe',
      step,
      tag: `eval/${task}/${i}`,
      task,
      id,
      prompt,
      answer: answer ?? '',
      truth: truth.answer,
      verdict,
      boxes,
      trueBoxes: truth.boxes ?? [],
      picture: await pictureOf(await dataset.read(row), boxesOf(probe)),
    });
  }
  const [first] = skipped;
  if (first) {
    const message = `eval: ${skipped.length} ${task} questions were left out, first ${first.id}: ${first.reason}`;
    emit({ type: 'note', message });
  }
}

/**
 * The first answered question about each of the first images. Questions come in an order that depends on the seed and the
 * task alone, so that these are the same after every evaluation.
 */
export function probeSet(predictions: readonly Prediction[]): Prediction[] {
  const ofImage = new Map<number, Prediction>();
  for (const prediction of predictions) {
    if (prediction.answer !== null && !ofImage.has(prediction.row)) ofImage.set(prediction.row, prediction);
  }
  return [...ofImage.values()].slice(0, PROBES);
}

async function pictureOf(record: ImageRecord, boxes: readonly DrawnBox[]): Promise<Picture | null> {
  if (record.image.byteLength === 0) return null;
  const png = await drawBoxes(record, boxes);
  return { png, ...pngSize(png) };
}

/** What is asked about in blue, true boxes in green, read ones in red, the predicted on top. */
export function boxesOf({
  truth,
  boxes,
  regions,
}: Pick<Prediction, 'truth' | 'boxes' | 'regions'>): DrawnBox[] {
  return [
    ...regions.map(box => ({ box, color: BOX_COLORS.region })),
    ...(truth.boxes ?? []).map(box => ({ box, color: BOX_COLORS.truth })),
    ...boxes.flatMap(box => (box ? [{ box, color: BOX_COLORS.prediction }] : [])),
  ];
}

/** Questions and answers as Markdown, which TensorBoard renders. */
function probesText(predictions: readonly Prediction[]): string {
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
