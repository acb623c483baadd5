import { Random } from '../../random.ts';
import type { Conversation, Region } from '../conversation.ts';
import type { Annotations } from '../record.ts';
import type { LabelStatistics } from './statistics.ts';

/** What a task may depend on besides the record. */
export interface TaskContext {
  /** Names this sample's choices: the run's seed, mixed with the source and the epoch. */
  readonly seed: number;
  /** Most questions about one image. */
  readonly rounds: number;
  /** Most objects listed in one turn. */
  readonly maxObjects: number;
  /** Appended to questions whose answer carries boxes; '' for none. */
  readonly groundingPrompt: string;
  /** Labels of the dataset: wrong options and things to count that are not there. */
  readonly labels: readonly string[];
  /** How often labels of the dataset are seen together; absent: nothing is known of that. */
  readonly statistics?: LabelStatistics;
  /** `literal` takes the first phrasing of every template, the paper's (for scoring); `varied` draws one. */
  readonly phrasing: 'varied' | 'literal';
  /** How users point; drawn for each turn where absent. */
  readonly regionKind?: Region['kind'];
}

/** A task: one record to one conversation, or null where the record cannot serve. Pure; all chance is the context's. */
export type Task = (record: Annotations, context: TaskContext, random: Random) => Conversation | null;

/** The defaults of training. */
export function taskContext(given: Partial<TaskContext> = {}): TaskContext {
  return {
    seed: 0,
    rounds: 4,
    maxObjects: 10,
    groundingPrompt: '',
    labels: [],
    phrasing: 'varied',
    ...given,
  };
}

/** The stream of one sample's choices. */
export function taskRandom(context: TaskContext, task: string, record: Annotations): Random {
  return new Random(context.seed, 'task', task, record.id);
}
