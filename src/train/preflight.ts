/** What would fail later and can be known now: looked at for every stage before the first one trains. */
import { pairsOf } from '../data/contrastive.ts';
import { type Dataset, openDataset } from '../data/dataset.ts';
import type { Annotations } from '../data/record.ts';
import { taskContext } from '../data/tasks/context.ts';
import { conversationOf } from '../data/tasks/index.ts';
import type { TaskName } from '../data/tasks/names.ts';
import { GroundError } from '../errors.ts';
import { Random } from '../random.ts';
import { buildModel } from './adapters.ts';
import { planTraining, unreadBy } from './freeze.ts';
import type { DataSource, Recipe } from './recipe.ts';

/** Records of a source that are looked at until one serves its task. */
const LOOKED_AT = 256;

/** Stand-ins for the labels of a dataset: with them a task that needs some can say whether a record would do. */
const LABELS = ['one thing', 'another thing'];

/**
 * Checks that each group that trains has parameters, and that every source, held-out ones too, is a whole dataset with a
 * record that serves its task. Nothing is allocated or written. Throws `config` or `data` with the key at fault.
 */
export async function checkStage(recipe: Recipe): Promise<void> {
  const { stage } = recipe;
  const ferret = buildModel(recipe);
  planTraining(ferret.parameters, stage, unreadBy(ferret, stage));
  const sources = [
    ...stage.data.map((source, i) => ({ source, key: `data.${i}` })),
    ...stage.eval.data.map((source, i) => ({ source, key: `eval.data.${i}` })),
  ];
  for (const { source, key } of sources) {
    const dataset = await openDataset(source.dataset);
    try {
      await checkSource(dataset, source, `stage ${stage.stage}, ${key}`);
    } finally {
      await dataset.close();
    }
  }
}

async function checkSource(dataset: Dataset, source: DataSource, key: string): Promise<void> {
  if (dataset.rows === 0) {
    throw new GroundError('data', `${key}: the dataset ${source.dataset} is empty`, {
      hint: 'build it again, or name another one (--data DIR)',
    });
  }
  const rows = Math.min(dataset.rows, source.max_records ?? dataset.rows);
  for (let row = 0; row < Math.min(rows, LOOKED_AT); row++) {
    if (canServe(await dataset.read(row), source.task)) return;
  }
  // Beyond that the run itself will tell.
  if (rows > LOOKED_AT) return;
  throw new GroundError(
    'data',
    `${key}: none of the ${rows} records of ${source.dataset} can serve the task ${source.task}`,
    { hint: `ground data inspect ${source.dataset} tells what it holds; choose another task or dataset` },
  );
}

function canServe(record: Annotations, task: TaskName): boolean {
  if (task === 'contrastive') return pairsOf(record, 1, new Random(0, 'preflight')) !== null;
  return conversationOf(record, task, taskContext({ labels: LABELS })) !== null;
}
