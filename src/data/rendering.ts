/** Records seen through tasks outside of training: for statistics, sheets and the terminal. */
import { GroundError } from '../errors.ts';
import type { ModelConfig } from '../models/config.ts';
import { type Candidates, type LoaderStage, openCandidates } from './candidates.ts';
import type { Dataset } from './dataset.ts';
import type { TaskName } from './tasks/names.ts';

/** What records are rendered with: a stage, of whose `data` the keys of a task are taken, and its model. */
export interface Rendering {
  /** Infinity as `max_length` refuses nothing. */
  readonly model: ModelConfig;
  readonly stage: LoaderStage;
}

/**
 * The tasks over a dataset, as the stage's own sources of them have it (`rounds`, `max_objects`). Reads the first rows, which
 * some tasks draw labels from. Throws `tokenizer`, `usage` on `contrastive`, and `data` where the dataset is empty.
 */
export function openTasks(
  dataset: Dataset,
  { model, stage }: Rendering,
  tasks: readonly TaskName[],
): Promise<Candidates> {
  if (tasks.includes('contrastive')) {
    throw new GroundError('usage', 'the contrastive task makes no conversations', {
      hint: 'choose another task',
    });
  }
  const data = tasks.map(task => ({
    ...(stage.data.find(source => source.task === task) ?? { weight: 1 }),
    task,
    dataset: dataset.dir,
  }));
  const source = {
    rows: dataset.rows,
    read: (row: number) => dataset.read(row),
    placeOf: (row: number) => dataset.placeOf(row),
  };
  // Damaged rows are somebody else's to report.
  const tolerant: LoaderStage = { ...stage, data, on_bad_sample: 'skip' };
  return openCandidates({ model, stage: tolerant }, async () => source);
}
