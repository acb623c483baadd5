/** The named scores of many judged answers, and how sure they are. Pure. */
import { BLEU_ORDERS, bleuScores } from './metrics/bleu.ts';
import { type Interval, intervalOf, resample } from './metrics/bootstrap.ts';
import { boxF1 } from './metrics/box-f1.ts';
import { detectionScores, headlineScores } from './metrics/detection.ts';
import { PROTOCOLS, RECALLS_AT, recallAt } from './metrics/grounding.ts';
import { mean } from './metrics/mean.ts';
import { presenceScores } from './metrics/presence.ts';
import { type RecVerdict, recScores } from './metrics/rec.ts';
import { rocAccuracy } from './metrics/roc.ts';
import { SIZE_CLASSES } from './metrics/size.ts';
import { type Judged, withCorpusScores } from './score.ts';

/** Named scores: `rec_accuracy`, `rec_accuracy_large`, `roc_accuracy`, `roc_accuracy_point`, …. */
export type Scores = Readonly<Record<string, number>>;

/** Scores that may be without a value: nothing of that kind occurred. */
type Found = Readonly<Record<string, number | null>>;

/**
 * Scores of judged answers, each named by its task. What did not occur has no score. `detail` also gives those that take
 * long to compute: detection by size and number of boxes.
 */
export function scoresOf(judged: readonly Judged[], { detail = true } = {}): Scores {
  const settled = judged.some(j => j.caption?.cider === null) ? withCorpusScores(judged) : judged;
  const found: Found = {
    ...recPart(settled),
    ...rocPart(settled),
    ...groundingPart(settled),
    ...detectionPart(settled, detail),
    ...captionPart(settled, 'caption'),
    ...captionPart(settled, 'grounded-caption'),
    ...boxPart(settled),
    ...presencePart(settled),
    ...shortPart(settled),
  };
  return Object.fromEntries(
    Object.entries(found).filter((entry): entry is [string, number] => entry[1] !== null),
  );
}

/**
 * 95 % intervals of the scores, by drawing the groups (the questions of one image each) anew. Detection by size has none.
 */
export function intervalsOf(
  groups: readonly (readonly Judged[])[],
  options: { readonly seed: number; readonly resamples: number },
): Readonly<Record<string, Interval>> {
  const settled = settleGroups(groups);
  const draws = new Map<string, number[]>();
  resample(settled, options, drawn => {
    for (const [name, value] of Object.entries(scoresOf(drawn, { detail: false }))) {
      const values = draws.get(name);
      if (values) values.push(value);
      else draws.set(name, [value]);
    }
  });
  return Object.fromEntries(
    [...draws].flatMap(([name, values]) => {
      const interval = intervalOf(values);
      return interval ? [[name, interval] as const] : [];
    }),
  );
}

/** Groups whose captions have their scores among all of them. */
export function settleGroups(groups: readonly (readonly Judged[])[]): Judged[][] {
  const settled = withCorpusScores(groups.flat());
  let at = 0;
  return groups.map(group => {
    const from = at;
    at += group.length;
    return settled.slice(from, at);
  });
}

/** REC: share of hits, mean IoU, share where the mean box and any box hits, the share that coordinates in bins allow. */
function recPart(judged: readonly Judged[]): Found {
  const asked = judged.filter(j => j.rec);
  if (asked.length === 0) return {};
  const all = recScores(asked.flatMap(j => j.rec ?? []));
  const ceilings = asked.flatMap(j => j.ceiling ?? []);
  const accuracy = (some: readonly Judged[]): number =>
    recScores(some.flatMap((j): RecVerdict[] => (j.rec ? [j.rec] : []))).accuracy;
  return {
    rec_accuracy: all.accuracy,
    rec_mean_iou: all.meanIou,
    rec_mean_box_accuracy: all.meanAccuracy,
    rec_any_accuracy: all.anyAccuracy,
    rec_ceiling: ceilings.length === 0 ? null : recScores(ceilings).accuracy,
    ...split('rec_accuracy', asked, SIZE_CLASSES, 'size', accuracy),
  };
}

/** ROC: share of right answers, also by kind of region and by object size. */
function rocPart(judged: readonly Judged[]): Found {
  const asked = judged.filter(j => j.roc);
  if (asked.length === 0) return {};
  const accuracy = (some: readonly Judged[]): number => rocAccuracy(some.flatMap(j => j.roc ?? []));
  return {
    roc_accuracy: accuracy(asked),
    ...split('roc_accuracy', asked, ['point', 'box', 'free-form'], 'region', accuracy),
    ...split('roc_accuracy', asked, SIZE_CLASSES, 'size', accuracy),
  };
}

/** Phrase grounding: recall among the first boxes, by both protocols. */
function groundingPart(judged: readonly Judged[]): Found {
  const verdicts = judged.flatMap(j => j.grounding ?? []);
  return Object.fromEntries(
    PROTOCOLS.flatMap(protocol =>
      RECALLS_AT.map(k => [`phrase_grounding_${protocol}_r${k}`, recallAt(verdicts, protocol, k)]),
    ),
  );
}

/** Dense detection: COCO's numbers and the raster order. */
function detectionPart(judged: readonly Judged[], detail: boolean): Found {
  const asked = judged.flatMap(j => j.detection ?? []);
  if (asked.length === 0) return {};
  const images = asked.map(({ image }) => image);
  const names = Object.entries(detail ? detectionScores(images) : headlineScores(images)).map(
    ([name, value]) =>
      [`dense_detection_${name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)}`, value] as const,
  );
  return {
    ...Object.fromEntries(names),
    dense_detection_raster_order: mean(asked.flatMap(({ raster }) => raster ?? [])),
  };
}

/** Captions: CIDEr and BLEU. */
function captionPart(judged: readonly Judged[], task: 'caption' | 'grounded-caption'): Found {
  const captions = judged.filter(j => j.task === task).flatMap(j => j.caption ?? []);
  if (captions.length === 0) return {};
  const name = task.replaceAll('-', '_');
  const bleu = bleuScores(captions.map(caption => caption.bleu));
  return {
    [`${name}_cider`]: mean(captions.map(caption => caption.cider ?? 0)),
    ...Object.fromEntries(BLEU_ORDERS.map((n, i) => [`${name}_bleu${n}`, bleu[i] ?? 0])),
  };
}

/** Grounded captions: F1 of their boxes. */
function boxPart(judged: readonly Judged[]): Found {
  const counts = judged.flatMap(j => j.named ?? []);
  if (counts.length === 0) return {};
  const { boxes, all, located } = boxF1(counts);
  return {
    grounded_caption_box_f1: boxes,
    grounded_caption_f1_all: all,
    grounded_caption_f1_loc: located,
  };
}

/** POPE's numbers, and the share of things denied that are not there. */
function presencePart(judged: readonly Judged[]): Found {
  const of = (task: string) => judged.filter(j => j.task === task).flatMap(j => j.presence ?? []);
  const [asked, denied] = [of('presence'), of('negatives')];
  const scores = presenceScores(asked);
  return {
    ...(asked.length > 0 && {
      presence_accuracy: scores.accuracy,
      presence_precision: scores.precision,
      presence_recall: scores.recall,
      presence_f1: scores.f1,
      presence_yes_ratio: scores.yesRatio,
      presence_neither: scores.neither,
    }),
    ...(denied.length > 0 && { negatives_accuracy: presenceScores(denied).accuracy }),
  };
}

/** Short answers: agreement with people for VQA, exact answers and ANLS. */
function shortPart(judged: readonly Judged[]): Found {
  const part = (task: string): Found => {
    const own = judged.filter(j => j.task === task);
    const readings = own.flatMap(j => j.reading ?? []);
    return {
      [`${task}_accuracy`]:
        task === 'vqa'
          ? mean(own.flatMap(j => j.agreement ?? []))
          : mean(readings.map(({ exact }) => Number(exact))),
      ...(task === 'vqa' && { vqa_exact: mean(readings.map(({ exact }) => Number(exact))) }),
      ...((task === 'vqa' || task === 'ocr') && { [`${task}_anls`]: mean(readings.map(r => r.anls)) }),
    };
  };
  return { ...part('vqa'), ...part('ocr'), ...part('count'), ...part('relation') };
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
