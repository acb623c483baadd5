/** From answers to the numbers of the report. */
import { judgeLine, type PredictionLine, readPredictions } from '../../src/eval/predictions.ts';
import { type PlanOptions, predictionsOf } from './plan.ts';
import { type Outcome, type Summary, summarize } from './statistics.ts';
import { FULL, type Variant } from './variants.ts';

/** What is scored: a task, on all objects or on those below or above a sixth of the image's side. */
export interface Measure {
  readonly name: string;
  readonly title: string;
  readonly task: 'rec' | 'roc';
  readonly size: 'all' | 'small' | 'large';
}

export const MEASURES: readonly Measure[] = [
  { name: 'rec', title: 'REC', task: 'rec', size: 'all' },
  { name: 'rec_small', title: 'REC, small objects', task: 'rec', size: 'small' },
  { name: 'rec_large', title: 'REC, large objects', task: 'rec', size: 'large' },
  { name: 'roc', title: 'ROC', task: 'roc', size: 'all' },
  { name: 'roc_small', title: 'ROC, small objects', task: 'roc', size: 'small' },
  { name: 'roc_large', title: 'ROC, large objects', task: 'roc', size: 'large' },
];

/** Everything that the report says, as docs/ablation.json has it. */
export interface Results {
  readonly settings: Pick<PlanOptions, 'seeds' | 'steps' | 'scenes' | 'questions'> & {
    readonly resamples: number;
  };
  readonly variants: readonly {
    readonly name: string;
    readonly title: string;
    readonly scores: Readonly<Record<string, Summary>>;
  }[];
}

const RESAMPLES = 2000;

/** Reads the answers of all variants and seeds and scores them. */
export async function collectResults(options: PlanOptions): Promise<Results> {
  const seeds = Array.from({ length: options.seeds }, (_, i) => i + 1);
  const answers = new Map<string, PredictionLine[][]>();
  for (const variant of options.variants) {
    answers.set(
      variant.name,
      await Promise.all(seeds.map(seed => readPredictions(predictionsOf(options, variant, seed)))),
    );
  }
  return resultsOf(answers, options);
}

/** Scores answers: for each variant and seed the lines of its file. Pure. */
export function resultsOf(
  answers: ReadonlyMap<string, readonly (readonly PredictionLine[])[]>,
  { seeds, steps, scenes, questions, variants }: PlanOptions,
): Results {
  const summaries = MEASURES.map(measure => {
    const outcomes = new Map(
      [...answers].map(([name, files]) => [name, files.map(lines => outcomesOf(lines, measure))]),
    );
    return { measure, found: summarize(outcomes, { baseline: FULL.name, resamples: RESAMPLES, seed: 0 }) };
  });
  return {
    settings: { seeds, steps, scenes, questions, resamples: RESAMPLES },
    variants: variants.map(({ name, title }: Variant) => ({
      name,
      title,
      scores: Object.fromEntries(
        summaries.flatMap(({ measure, found }) => {
          const summary = found.get(name);
          return summary && summary.questions > 0 ? [[measure.name, summary] as const] : [];
        }),
      ),
    })),
  };
}

/** The verdicts that a measure counts. */
export function outcomesOf(lines: readonly PredictionLine[], { task, size }: Measure): Outcome[] {
  return lines.flatMap(line => {
    const judged = line.task === task ? judgeLine(line) : null;
    if (!judged || (size !== 'all' && (judged.size === 'large') !== (size === 'large'))) return [];
    const isRight = task === 'rec' ? judged.rec?.hit === true : judged.roc === 'right';
    return [{ key: line.id, image: `${line.row}`, isRight }];
  });
}
