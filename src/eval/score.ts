/** One answer against its truth, and the scores of many. Pure. */
import type { PixelBox, Size } from '../data/box.ts';
import type { Truth } from '../data/conversation.ts';
import { decodeBox, encodeBox } from '../data/coordinates.ts';
import type { TaskName } from '../data/tasks/names.ts';
import { type BoxWriting, boxMentions, readBoxes, withoutBoxes } from './box-mentions.ts';
import { headWord, listedName } from './box-names.ts';
import { type BleuCounts, bleuCounts } from './metrics/bleu.ts';
import { type BoxCounts, countBoxes, type NamedBox } from './metrics/box-f1.ts';
import { type Captioned, ciderScores } from './metrics/cider.ts';
import { type MatchedImage, matchImage } from './metrics/detection.ts';
import { type GroundingVerdict, judgeGrounding } from './metrics/grounding.ts';
import { type PresenceVerdict, saidYesOrNo } from './metrics/presence.ts';
import { rasterScore } from './metrics/raster.ts';
import { anls, isExact } from './metrics/reading.ts';
import { judgeRec, type RecVerdict } from './metrics/rec.ts';
import { categoryNames, judgeRoc, type RocVerdict } from './metrics/roc.ts';
import { type SizeClass, sizeClass } from './metrics/size.ts';
import { vqaAccuracy } from './metrics/vqa.ts';
import { captionWords } from './metrics/words.ts';

/** An object of the image that a detector should find, or one of a crowd that it may. */
export interface AskedObject {
  readonly label: string;
  readonly box: PixelBox;
  readonly crowd: boolean;
}

/** What is known of a question before it is answered. */
export interface Asked {
  readonly task: TaskName;
  readonly truth: Truth & { readonly answer?: string };
  /** The object that is asked for or about, where there is exactly one. */
  readonly object: PixelBox | null;
  readonly image: Size;
  /** All captions of the image, for tasks that write one. */
  readonly captions?: readonly string[];
  /** All objects of the image, for the task that lists them. */
  readonly objects?: readonly AskedObject[];
}

/** One judged answer: what its task does not measure is null. */
export interface Judged {
  readonly task: TaskName;
  /** Boxes of the answer in pixels, in order; null where a mention is no box. */
  readonly boxes: readonly (PixelBox | null)[];
  readonly size: SizeClass | null;
  readonly region: NonNullable<Truth['region']> | null;
  readonly rec: RecVerdict | null;
  /** REC: the verdict on the truth itself written in bins, the best that coordinates of this size allow. */
  readonly ceiling: RecVerdict | null;
  readonly roc: RocVerdict | null;
  readonly grounding: GroundingVerdict | null;
  readonly detection: { readonly image: MatchedImage; readonly raster: number | null } | null;
  readonly caption: JudgedCaption | null;
  /** Boxes of a grounded caption. */
  readonly named: BoxCounts | null;
  readonly presence: PresenceVerdict | null;
  /** VQA: how far people gave this answer, 0..1. */
  readonly agreement: number | null;
  /** Short answers: whether it is the truth, and how close it comes. */
  readonly reading: { readonly exact: boolean; readonly anls: number } | null;
}

/** A caption with its share of the corpus's scores. */
export interface JudgedCaption extends Captioned {
  readonly bleu: BleuCounts;
  /** Set by `withCorpusScores`: it depends on the captions of all images. */
  readonly cider: number | null;
}

/** A verdict in a word. */
export type Verdict = 'hit' | 'miss' | RocVerdict | 'partly';

/** Tasks whose answer is one of few words. */
const SHORT_TASKS: ReadonlySet<TaskName> = new Set(['ocr', 'count', 'vqa', 'relation']);
const CAPTION_TASKS: ReadonlySet<TaskName> = new Set(['caption', 'grounded-caption']);

/** Judges an answer by its task's rule; tasks without one only get their boxes read. Never throws on an answer. */
export function judge(asked: Asked, answer: string, writing: BoxWriting): Judged {
  const judged = judgeBoxes(asked, answer, readBoxes(answer, asked.image, writing));
  const target = judged.rec && asked.truth.boxes?.[0];
  if (!target) return judged;
  const { bins } = writing;
  const written = decodeBox(encodeBox(target, asked.image, bins), asked.image, bins);
  return { ...judged, ceiling: judgeRec(target, [written]) };
}

/** As `judge`, of an answer whose boxes have been read; without the ceiling, which depends on how they were written. */
export function judgeBoxes(asked: Asked, answer: string, boxes: readonly (PixelBox | null)[]): Judged {
  const { task, truth, image } = asked;
  const target = task === 'rec' ? truth.boxes?.[0] : undefined;
  const accepted = truth.accepted ?? [truth.label ?? withoutBoxes(truth.answer ?? '')];
  const isShort = SHORT_TASKS.has(task) && (task === 'ocr' || !truth.boxes);
  return {
    task,
    boxes,
    size: asked.object && sizeClass(asked.object, image),
    region: truth.region ?? null,
    rec: target ? judgeRec(target, boxes) : null,
    ceiling: null,
    roc: task === 'roc' ? judgeChoice(truth, answer) : null,
    grounding: task === 'phrase-grounding' && truth.boxes ? judgeGrounding(truth.boxes, boxes) : null,
    detection: task === 'dense-detection' && asked.objects ? judgeList(asked.objects, answer, boxes) : null,
    caption: CAPTION_TASKS.has(task) && asked.captions ? judgeCaption(answer, asked.captions) : null,
    named:
      task === 'grounded-caption'
        ? countBoxes(namedBoxes(answer, boxes), namedBoxes(truth.answer ?? '', truth.boxes ?? []))
        : null,
    presence: judgePresence(asked, answer, boxes),
    agreement: task === 'vqa' ? vqaAccuracy(answer, accepted) : null,
    reading: isShort
      ? { exact: isExact(withoutBoxes(answer), accepted), anls: anls(withoutBoxes(answer), accepted) }
      : null,
  };
}

function judgeChoice({ label, distractor }: Truth, answer: string): RocVerdict | null {
  if (label === undefined || distractor === undefined) return null;
  return judgeRoc(answer, { truth: categoryNames(label), other: categoryNames(distractor) });
}

/** An answer that lists objects. It gives no confidence, so that all its boxes have the same. */
function judgeList(
  objects: readonly AskedObject[],
  answer: string,
  boxes: readonly (PixelBox | null)[],
): NonNullable<Judged['detection']> {
  const detections = boxMentions(answer).flatMap(({ before }, i) => {
    const box = boxes[i];
    return box ? [{ category: listedName(before), box, score: 1 }] : [];
  });
  const truth = objects.map(({ label, box, crowd }) => ({ category: label.toLowerCase(), box, crowd }));
  return {
    image: matchImage({ truth, detections }),
    raster: rasterScore(boxes, truth.filter(object => !object.crowd).length),
  };
}

function judgeCaption(answer: string, captions: readonly string[]): JudgedCaption {
  const words = captionWords(withoutBoxes(answer));
  const references = captions.map(captionWords);
  return { words, references, bleu: bleuCounts(words, references), cider: null };
}

/** The boxes of a text with the words before them; boxes without a word between them share one. */
function namedBoxes(text: string, boxes: readonly (PixelBox | null)[]): NamedBox[] {
  let name = '';
  return boxMentions(text).map(({ before }, i) => {
    name = headWord(before) ?? name;
    return { name, box: boxes[i] ?? null };
  });
}

/** Yes-or-no questions; and what is asked for but not there, which an answer denies without giving a box. */
function judgePresence(
  { task, truth }: Asked,
  answer: string,
  boxes: readonly (PixelBox | null)[],
): PresenceVerdict | null {
  const said = saidYesOrNo(answer);
  if (task === 'negatives' && truth.absent !== undefined) {
    return { truth: 'no', said: boxes.length > 0 ? 'yes' : said };
  }
  const label = task === 'presence' ? saidYesOrNo(truth.label ?? '') : null;
  return label === null ? null : { truth: label, said };
}

/** The verdict in a word, for people and for the predictions file; null where the task has none. */
export function verdictOf(judged: Judged): Verdict | null {
  if (judged.rec) return judged.rec.hit ? 'hit' : 'miss';
  if (judged.grounding) return judged.grounding.merged === 1 ? 'hit' : 'miss';
  if (judged.presence) {
    if (judged.presence.said === null) return 'neither';
    return judged.presence.said === judged.presence.truth ? 'right' : 'wrong';
  }
  if (judged.agreement !== null) {
    if (judged.agreement === 1) return 'right';
    return judged.agreement > 0 ? 'partly' : 'wrong';
  }
  if (judged.reading) return judged.reading.exact ? 'right' : 'wrong';
  return judged.roc;
}

/** The same answers with what they owe to each other: the CIDEr of each caption among all of its task. */
export function withCorpusScores(judged: readonly Judged[]): Judged[] {
  const scores = new Map<Judged, number>();
  for (const task of CAPTION_TASKS) {
    const own = judged.filter(j => j.task === task && j.caption);
    const ciders = ciderScores(own.flatMap(j => j.caption ?? []));
    for (const [i, one] of own.entries()) scores.set(one, ciders[i] ?? 0);
  }
  return judged.map(one =>
    one.caption ? { ...one, caption: { ...one.caption, cider: scores.get(one) ?? 0 } } : one,
  );
}
