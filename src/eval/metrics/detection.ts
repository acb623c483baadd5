/**
 * Average precision and recall of boxes, by the rules of pycocotools' COCOeval (`iouType='bbox'`), number for number: greedy
 * matching by score, crowds that swallow what lies in them, 101 recall points, ten IoU thresholds, three sizes.
 */
import type { PixelBox } from '../../data/box.ts';
import { boxArea } from './iou.ts';
import { mean } from './mean.ts';

/** An annotated object. */
export interface TrueBox {
  readonly category: string;
  readonly box: PixelBox;
  /** Detections inside of it are neither right nor wrong. */
  readonly crowd: boolean;
  /** What decides its size class, square pixels; the box's area where absent. */
  readonly area?: number;
}

/** A detected object; of equal scores the one that comes first counts first. */
export interface Detection {
  readonly category: string;
  readonly box: PixelBox;
  readonly score: number;
}

export interface DetectionImage {
  readonly truth: readonly TrueBox[];
  readonly detections: readonly Detection[];
}

/** COCO's twelve numbers, 0..1; null where no object of that size was annotated. */
export interface DetectionScores {
  readonly ap: number | null;
  readonly ap50: number | null;
  readonly ap75: number | null;
  readonly apSmall: number | null;
  readonly apMedium: number | null;
  readonly apLarge: number | null;
  readonly ar1: number | null;
  readonly ar10: number | null;
  readonly ar100: number | null;
  readonly arSmall: number | null;
  readonly arMedium: number | null;
  readonly arLarge: number | null;
}

/** Areas in square pixels, both ends included. */
const AREAS = {
  all: [0, 1e10],
  small: [0, 32 ** 2],
  medium: [32 ** 2, 96 ** 2],
  large: [96 ** 2, 1e10],
} as const;
type Area = keyof typeof AREAS;
const AREA_NAMES = ['all', 'small', 'medium', 'large'] as const;

const IOU_THRESHOLDS = linspace(0.5, 0.95, 10);
const RECALL_POINTS = linspace(0, 1, 101);
/** Most detections of one category in one image. */
const MOST_DETECTIONS = 100;
/** NumPy's `spacing(1)`. */
const EPSILON = 2 ** -52;

/** How the detections of one category fared in one image, for one range of areas. */
interface Matches {
  readonly category: string;
  readonly area: Area;
  /** Falling. */
  readonly scores: readonly number[];
  /** [threshold][detection] */
  readonly matched: readonly Uint8Array[];
  /** [threshold][detection]: neither right nor wrong. */
  readonly ignored: readonly Uint8Array[];
  /** Objects that count. */
  readonly positives: number;
}

/** An image whose detections have been matched; scoring many choices of images matches each once. */
export interface MatchedImage {
  readonly matches: readonly Matches[];
}

/** Matches the detections of one image with its objects. */
export function matchImage({ truth, detections }: DetectionImage): MatchedImage {
  const categories = new Set([...truth, ...detections].map(({ category }) => category));
  const matches = [...categories].flatMap(category => {
    const objects = truth.filter(object => object.category === category);
    const found = detections
      .filter(detection => detection.category === category)
      .sort((a, b) => b.score - a.score)
      .slice(0, MOST_DETECTIONS);
    const overlaps = found.map(({ box }) => objects.map(object => overlap(box, object)));
    return AREA_NAMES.map(area => matchCategory(category, area, objects, found, overlaps));
  });
  return { matches };
}

function matchCategory(
  category: string,
  area: Area,
  objects: readonly TrueBox[],
  detections: readonly Detection[],
  overlaps: readonly (readonly number[])[],
): Matches {
  const all = objects.map((object, i) => {
    const isIgnored = object.crowd || isOutside(object.area ?? boxArea(object.box), area);
    return { i, crowd: object.crowd, isIgnored };
  });
  // Objects that count come first: a detection takes an ignored one only where no other fits.
  const candidates = [...all.filter(o => !o.isIgnored), ...all.filter(o => o.isIgnored)];
  const outside = detections.map(({ box }) => isOutside(boxArea(box), area));
  const rows = IOU_THRESHOLDS.map(threshold => {
    const matched = new Uint8Array(detections.length);
    const ignored = new Uint8Array(detections.length);
    const taken = new Set<number>();
    for (const [d, row] of overlaps.entries()) {
      let best = Math.min(threshold, 1 - 1e-10);
      let chosen: (typeof candidates)[number] | undefined;
      for (const candidate of candidates) {
        if (taken.has(candidate.i) && !candidate.crowd) continue;
        if (chosen && !chosen.isIgnored && candidate.isIgnored) break;
        const iou = row[candidate.i] ?? 0;
        if (iou < best) continue;
        best = iou;
        chosen = candidate;
      }
      if (chosen) {
        matched[d] = 1;
        taken.add(chosen.i);
      }
      ignored[d] = Number(chosen ? chosen.isIgnored : outside[d]);
    }
    return { matched, ignored };
  });
  return {
    category,
    area,
    scores: detections.map(detection => detection.score),
    matched: rows.map(row => row.matched),
    ignored: rows.map(row => row.ignored),
    positives: all.filter(object => !object.isIgnored).length,
  };
}

/** Scores of matched images. Categories that no image has count for nothing, as in COCOeval. */
export function detectionScores(images: readonly MatchedImage[]): DetectionScores {
  const of = (area: Area, most: number) => accumulate(images, area, most);
  const all = of('all', 100);
  const [small, medium, large] = [of('small', 100), of('medium', 100), of('large', 100)];
  const precision = (table: Accumulated, t?: number) =>
    mean(table.precision.flatMap(rows => (t === undefined ? rows : (rows[t] ?? []))));
  const recall = (table: Accumulated) => mean(table.recall.flat());
  return {
    ap: precision(all),
    ap50: precision(all, 0),
    ap75: precision(all, 5),
    apSmall: precision(small),
    apMedium: precision(medium),
    apLarge: precision(large),
    ar1: recall(of('all', 1)),
    ar10: recall(of('all', 10)),
    ar100: recall(all),
    arSmall: recall(small),
    arMedium: recall(medium),
    arLarge: recall(large),
  };
}

/** The first, second and ninth of COCO's numbers alone: quick enough to be computed for a thousand choices of images. */
export function headlineScores(
  images: readonly MatchedImage[],
): Pick<DetectionScores, 'ap' | 'ap50' | 'ar100'> {
  const { precision, recall } = accumulate(images, 'all', MOST_DETECTIONS);
  return {
    ap: mean(precision.flat()),
    ap50: mean(precision.flatMap(rows => rows[0] ?? [])),
    ar100: mean(recall.flat()),
  };
}

interface Accumulated {
  /** [category][threshold]: precision averaged over the recall points. */
  readonly precision: readonly (readonly number[])[];
  /** [category][threshold]: the highest recall. */
  readonly recall: readonly (readonly number[])[];
}

function accumulate(images: readonly MatchedImage[], area: Area, most: number): Accumulated {
  const byCategory = new Map<string, Matches[]>();
  for (const matches of images.flatMap(image => image.matches)) {
    if (matches.area !== area) continue;
    const known = byCategory.get(matches.category);
    if (known) known.push(matches);
    else byCategory.set(matches.category, [matches]);
  }
  const curves = [...byCategory.values()].map(all => curvesOf(all, most)).filter(rows => rows !== null);
  return {
    precision: curves.map(rows => rows.map(row => row.precision)),
    recall: curves.map(rows => rows.map(row => row.recall)),
  };
}

/** A category's average precision and highest recall at each threshold; null where nothing of it counts. */
function curvesOf(
  all: readonly Matches[],
  most: number,
): readonly { precision: number; recall: number }[] | null {
  const positives = all.reduce((sum, { positives }) => sum + positives, 0);
  if (positives === 0) return null;
  const detections = all
    .flatMap(matches => matches.scores.slice(0, most).map((score, d) => ({ score, matches, d })))
    .sort((a, b) => b.score - a.score);
  return IOU_THRESHOLDS.map((_, t) => {
    let [right, wrong] = [0, 0];
    const recalls: number[] = [];
    const precisions: number[] = [];
    for (const { matches, d } of detections) {
      if (matches.ignored[t]?.[d] !== 1) {
        if (matches.matched[t]?.[d] === 1) right++;
        else wrong++;
      }
      recalls.push(right / positives);
      precisions.push(right / (right + wrong + EPSILON));
    }
    for (let i = precisions.length - 1; i > 0; i--) {
      precisions[i - 1] = Math.max(precisions[i - 1] ?? 0, precisions[i] ?? 0);
    }
    let at = 0;
    let sum = 0;
    for (const point of RECALL_POINTS) {
      while (at < recalls.length && (recalls[at] ?? 0) < point) at++;
      sum += precisions[at] ?? 0;
    }
    return { precision: sum / RECALL_POINTS.length, recall: recalls.at(-1) ?? 0 };
  });
}

/** IoU; with a crowd, the share of the detection that lies in it. */
function overlap(box: PixelBox, { box: truth, crowd }: TrueBox): number {
  const width = Math.min(box.x2, truth.x2) - Math.max(box.x1, truth.x1);
  const height = Math.min(box.y2, truth.y2) - Math.max(box.y1, truth.y1);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  const whole = crowd ? boxArea(box) : boxArea(box) + boxArea(truth) - shared;
  return shared / whole;
}

function isOutside(area: number, range: Area): boolean {
  return area < AREAS[range][0] || area > AREAS[range][1];
}

/** NumPy's `linspace`, rounding included: thresholds decide ties. */
function linspace(start: number, stop: number, count: number): number[] {
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? stop : i * step + start));
}
