/** Held-out questions about a dataset, one answer each, always the same for a seed. */
import type { PixelBox } from '../data/box.ts';
import type { Conversation, Region, Round } from '../data/conversation.ts';
import type { Dataset } from '../data/dataset.ts';
import { expressionsOf, type ImageRecord } from '../data/record.ts';
import { boundsOf } from '../data/rle.ts';
import { type TaskContext, taskContext } from '../data/tasks/context.ts';
import { type ConversationTask, conversationOf } from '../data/tasks/index.ts';
import { LabelStatistics } from '../data/tasks/statistics.ts';
import { hashSeed, Random } from '../random.ts';

/** One question with its answer. */
export interface Question {
  /** "shard:row#task.number", with the kind of region behind it where that was chosen. */
  readonly id: string;
  /** Where the record lies in the dataset. */
  readonly row: number;
  readonly record: ImageRecord;
  /** One round. */
  readonly conversation: Conversation;
  readonly round: Round;
  /** The object asked for or about, where it can be told. */
  readonly object: PixelBox | null;
}

export interface QuestionOptions {
  readonly task: ConversationTask;
  /** Most questions. */
  readonly limit: number;
  readonly seed: number;
  /** The stage's: appended to questions whose answer carries boxes. */
  readonly groundingPrompt: string;
  /** Uses the first records of the dataset only. */
  readonly maxRecords?: number;
}

/** How often an object is asked about in ROC: once each way of pointing. */
const REGION_KINDS = ['point', 'box', 'free-form'] as const;

/**
 * Tasks whose rounds come in the annotators' order: POPE's begins with a yes for every image, so that the first round of each
 * would be no fair part of them.
 */
const ORDERED_TASKS: ReadonlySet<ConversationTask> = new Set(['vqa', 'presence']);

/** Records from which the labels of a dataset (wrong options, things to count) are collected. */
const LABEL_RECORDS = 256;

/**
 * At most `limit` questions in the task's literal wording, spread over as many images as there are: one question of
 * each record in random order, then a second one, and so on; annotated questions about an image in random order, too. REC
 * asks for objects that words tell apart, once for each expression; ROC asks about each object by point, by box and
 * free-form, so that the three are compared on the same objects.
 */
export async function* questionsOf(dataset: Dataset, options: QuestionOptions): AsyncGenerator<Question> {
  const { task, limit, seed } = options;
  const count = Math.min(dataset.rows, options.maxRecords ?? dataset.rows);
  let rows = new Random(seed, 'eval', task).shuffle(Array.from({ length: count }, (_, row) => row));
  const statistics = await statisticsOf(dataset, rows.slice(0, LABEL_RECORDS));
  const kinds = task === 'roc' ? REGION_KINDS : [undefined];
  let left = limit;
  for (let turn = 0; rows.length > 0; turn++) {
    const remaining: number[] = [];
    for (const row of rows) {
      if (left === 0) return;
      const record = await dataset.read(row);
      const found = kinds
        .flatMap(kind => questionAt(dataset, row, record, turn, statistics, kind, options) ?? [])
        .slice(0, left);
      if (found.length === 0) continue;
      remaining.push(row);
      left -= found.length;
      yield* found;
    }
    rows = remaining;
  }
}

/** The question with number `turn` about a record, or null where it has no more. */
function questionAt(
  dataset: Dataset,
  row: number,
  record: ImageRecord,
  turn: number,
  statistics: LabelStatistics,
  kind: Region['kind'] | undefined,
  { task, seed, groundingPrompt }: QuestionOptions,
): Question | null {
  const context: TaskContext = taskContext({
    seed: hashSeed(seed, 'eval'),
    rounds: roundsOf(record, task),
    groundingPrompt,
    labels: statistics.labels,
    statistics,
    phrasing: 'literal',
    ...(kind === undefined ? {} : { regionKind: kind }),
  });
  const conversation = conversationOf(record, task, context);
  const rounds = conversation?.rounds.filter(r => task !== 'rec' || isUnambiguous(record, r)) ?? [];
  const number = ORDERED_TASKS.has(task) ? shuffledTurn(rounds.length, turn, record.id, seed) : turn;
  const round = rounds[number];
  if (!conversation || !round) return null;
  const place = dataset.placeOf(row);
  return {
    id: `${place.shard}:${place.row}#${task}.${number}${kind === undefined ? '' : `.${kind}`}`,
    row,
    record,
    conversation: { ...conversation, rounds: [round] },
    round,
    object: objectOf(record, round),
  };
}

/** Which of a record's questions comes at a turn; no number of one where it has no more. */
function shuffledTurn(count: number, turn: number, id: string, seed: number): number {
  const order = new Random(seed, 'eval', 'rounds', id).shuffle(Array.from({ length: count }, (_, i) => i));
  return order[turn] ?? count;
}

/** Whether a dataset has anything to ask for a task. */
export async function hasQuestion(
  dataset: Dataset,
  options: Omit<QuestionOptions, 'limit'>,
): Promise<boolean> {
  const first = await questionsOf(dataset, { ...options, limit: 1 }).next();
  return first.done !== true;
}

/** As many rounds as a record can have questions of a task. */
function roundsOf(record: ImageRecord, task: ConversationTask): number {
  // Phrases of captions, of which no list says how many there are.
  if (task === 'phrase-grounding') return Number.MAX_SAFE_INTEGER;
  if (task === 'vqa' || task === 'presence') {
    return (record.conversations ?? []).reduce((sum, { rounds }) => sum + rounds.length, 1);
  }
  return Math.max(1, record.objects.length) + furtherExpressions(record);
}

/** Expressions beyond the first of each object: every one is a question of REC. */
function furtherExpressions({ objects }: ImageRecord): number {
  return objects.reduce((sum, { expressions = [] }) => sum + Math.max(0, expressions.length - 1), 0);
}

/** Whether the box that a REC question asks for belongs to an object that words tell apart from all others. */
function isUnambiguous(record: ImageRecord, { truth }: Round): boolean {
  const target = truth.boxes?.[0];
  return record.objects.some(
    (object, i) => target && sameBox(object.box, target) && expressionsOf(record.objects, i).length > 0,
  );
}

/** The one object a round is about: its only true box, or the smallest object of the true label around its region. */
function objectOf(record: ImageRecord, round: Round): PixelBox | null {
  if (round.truth.boxes?.length === 1) return round.truth.boxes[0] ?? null;
  const regions = round.question.flatMap(piece => (piece.kind === 'region' ? [piece.region] : []));
  const inside = regions.length === 1 && regions[0] ? extentOf(regions[0]) : null;
  if (!inside) return null;
  const around = record.objects
    .filter(({ label, box }) => label === round.truth.label && encloses(box, inside))
    .sort((a, b) => areaOf(a.box) - areaOf(b.box));
  return around[0]?.box ?? null;
}

/** The box around a region, empty for a point; null where a mask is empty. */
export function extentOf(region: Region): PixelBox | null {
  if (region.kind === 'box') return region.box;
  if (region.kind === 'free-form') return boundsOf(region.mask);
  const { x, y } = region.point;
  return { space: 'pixels', x1: x, y1: y, x2: x, y2: y };
}

/** Whether `inner` lies in `outer`, give or take the pixel by which masks and boxes may differ. */
function encloses(outer: PixelBox, inner: PixelBox): boolean {
  return (
    inner.x1 >= outer.x1 - 1 &&
    inner.y1 >= outer.y1 - 1 &&
    inner.x2 <= outer.x2 + 1 &&
    inner.y2 <= outer.y2 + 1
  );
}

function areaOf({ x1, y1, x2, y2 }: PixelBox): number {
  return (x2 - x1) * (y2 - y1);
}

function sameBox(a: PixelBox, b: PixelBox): boolean {
  return a.x1 === b.x1 && a.y1 === b.y1 && a.x2 === b.x2 && a.y2 === b.y2;
}

async function statisticsOf(dataset: Dataset, rows: readonly number[]): Promise<LabelStatistics> {
  const statistics = new LabelStatistics();
  for (const row of rows) statistics.add(await dataset.read(row));
  return statistics;
}
