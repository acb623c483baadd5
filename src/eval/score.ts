/** One answer against its truth, and the scores of many. Pure. */
import type { PixelBox, Size } from '../data/box.ts';
import type { Truth } from '../data/conversation.ts';
import { decodeBox, encodeBox } from '../data/coordinates.ts';
import type { TaskName } from '../data/tasks/names.ts';
import { judgeRec, type RecVerdict, recScores } from './metrics/rec.ts';
import { categoryNames, judgeRoc, type RocVerdict, rocAccuracy } from './metrics/roc.ts';
import { SIZE_CLASSES, type SizeClass, sizeClass } from './metrics/size.ts';
import { parseBoxGroups } from './parse.ts';

/** What is known of a question before it is answered. */
export interface Asked {
  readonly task: TaskName;
  readonly truth: Truth;
  /** The object that is asked for or about, where there is exactly one. */
  readonly object: PixelBox | null;
  readonly image: Size;
}

/** One judged answer. */
export interface Judged {
  /** Boxes of the answer in pixels, in order; null where a bracket group is no box. */
  readonly boxes: readonly (PixelBox | null)[];
  readonly size: SizeClass | null;
  readonly region: NonNullable<Truth['region']> | null;
  readonly rec: RecVerdict | null;
  /** REC: the verdict on the truth itself written in bins, the best that coordinates of this size allow. */
  readonly ceiling: RecVerdict | null;
  readonly roc: RocVerdict | null;
}

/** Named scores: `rec_accuracy`, `rec_accuracy_large`, `roc_accuracy`, `roc_accuracy_point`, …. */
export type Scores = Readonly<Record<string, number>>;

/** Judges an answer by its task's rule; tasks without one only get their boxes read. Never throws on an answer. */
export function judge(asked: Asked, answer: string, bins: number): Judged {
  const { task, truth, image } = asked;
  const boxes = parseBoxGroups(answer, bins).map(box => box && decodeBox(box, image, bins));
  const target = task === 'rec' ? truth.boxes?.[0] : undefined;
  return {
    boxes,
    size: asked.object && sizeClass(asked.object, image),
    region: truth.region ?? null,
    rec: target ? judgeRec(target, boxes) : null,
    ceiling: target ? judgeRec(target, [decodeBox(encodeBox(target, image, bins), image, bins)]) : null,
    roc: task === 'roc' ? judgeChoice(truth, answer) : null,
  };
}

function judgeChoice({ label, distractor }: Truth, answer: string): RocVerdict | null {
  if (label === undefined || distractor === undefined) return null;
  return judgeRoc(answer, { truth: categoryNames(label), other: categoryNames(distractor) });
}

/** The verdict in a word, for people and for the predictions file; null where the task has none. */
export function verdictOf(judged: Judged): 'hit' | 'miss' | RocVerdict | null {
  if (judged.rec) return judged.rec.hit ? 'hit' : 'miss';
  return judged.roc;
}

/**
 * Scores of judged answers. REC: share of hits, mean IoU, share where any box hits, and the share of hits that
 * coordinates in bins allow. ROC: share of right answers, also by kind of region. Both also by object size. What did
 * not occur has no score.
 */
export function scoresOf(judged: readonly Judged[]): Scores {
  return { ...recPart(judged), ...rocPart(judged) };
}

function recPart(judged: readonly Judged[]): Scores {
  const asked = judged.filter(j => j.rec);
  if (asked.length === 0) return {};
  const all = recScores(verdicts(asked, 'rec'));
  return {
    rec_accuracy: all.accuracy,
    rec_mean_iou: all.meanIou,
    rec_any_accuracy: all.anyAccuracy,
    rec_ceiling: recScores(verdicts(asked, 'ceiling')).accuracy,
    ...split('rec_accuracy', asked, SIZE_CLASSES, 'size', some => recScores(verdicts(some, 'rec')).accuracy),
  };
}

function rocPart(judged: readonly Judged[]): Scores {
  const asked = judged.filter(j => j.roc);
  if (asked.length === 0) return {};
  const accuracy = (some: readonly Judged[]): number => rocAccuracy(some.flatMap(j => j.roc ?? []));
  return {
    roc_accuracy: accuracy(asked),
    ...split('roc_accuracy', asked, ['point', 'box', 'free-form'], 'region', accuracy),
    ...split('roc_accuracy', asked, SIZE_CLASSES, 'size', accuracy),
  };
}

function verdicts(judged: readonly Judged[], which: 'rec' | 'ceiling'): RecVerdict[] {
  return judged.flatMap(j => j[which] ?? []);
}

/** One score for each value of a property that occurs: `<name>_<value>`, with underscores only. */
function split(
  name: string,
  judged: readonly Judged[],
  values: readonly string[],
  property: 'size' | 'region',
  score: (some: readonly Judged[]) => number,
): Record<string, number> {
  const entries = values.flatMap(value => {
    const some = judged.filter(j => j[property] === value);
    return some.length === 0 ? [] : [[`${name}_${value.replace('-', '_')}`, score(some)] as const];
  });
  return Object.fromEntries(entries);
}
