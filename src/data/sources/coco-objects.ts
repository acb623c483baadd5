/** One COCO annotation to one object: its box and its mask checked, mended where that is safe. */
import { messageOf } from '../../errors.ts';
import type { PixelBox, Size } from '../box.ts';
import { rleFromPolygons } from '../polygon.ts';
import type { ObjectAnnotation } from '../record.ts';
import { areaOf, boundsOf, type Rle, rleFromRuns } from '../rle.ts';

/** An annotation of an object, its fields still unchecked. */
export interface CocoInstance {
  readonly label: string;
  readonly bbox: unknown;
  readonly segmentation: unknown;
  readonly crowd: boolean;
}

/** Counts one more thing that was left out, or mended, for a reason. */
export type Tally = (reason: string) => void;

/** Sums of two-digit decimals miss the image's edge by less than this; that is no error worth a warning. */
const ROUNDING = 0.011;

/**
 * The object of an annotation, its phrase the bare label; null where it has no box inside the image. Whatever is left
 * out is tallied in `skipped`, whatever is mended in `mended`.
 */
export function cocoObject(
  instance: CocoInstance,
  image: Size,
  options: { readonly masks: boolean; readonly skipped: Tally; readonly mended: Tally },
): ObjectAnnotation | null {
  const mask = options.masks ? maskOf(instance.segmentation, image, options.mended) : null;
  const box = instance.bbox === undefined && mask ? boundsOf(mask) : boxOf(instance.bbox, image, options);
  if (!box) return null;
  const { label, crowd } = instance;
  return {
    label,
    phrase: label,
    attributes: [],
    box,
    ...(mask ? { mask } : {}),
    ...(crowd ? { crowd } : {}),
  };
}

/** [x, y, width, height] to corners inside the image. */
function boxOf(
  bbox: unknown,
  image: Size,
  { skipped, mended }: { readonly skipped: Tally; readonly mended: Tally },
): PixelBox | null {
  if (!isNumbers(bbox) || bbox.length !== 4) {
    skipped('object without a box');
    return null;
  }
  const [x = 0, y = 0, width = 0, height = 0] = bbox;
  if (width <= 0 || height <= 0) {
    skipped('box without area');
    return null;
  }
  const box = {
    space: 'pixels',
    x1: Math.max(0, x),
    y1: Math.max(0, y),
    x2: Math.min(image.width, x + width),
    y2: Math.min(image.height, y + height),
  } as const;
  if (box.x1 >= box.x2 || box.y1 >= box.y2) {
    skipped('box outside of the image');
    return null;
  }
  const beyond = Math.max(-x, -y, x + width - image.width, y + height - image.height);
  if (beyond > ROUNDING) mended('box cut at the edge of the image');
  return box;
}

/** The mask of a segmentation in any of COCO's three forms, or null: an object without one is an object still. */
function maskOf(segmentation: unknown, image: Size, mended: Tally): Rle | null {
  try {
    const mask = Array.isArray(segmentation)
      ? maskOfPolygons(segmentation, image, mended)
      : maskOfRuns(segmentation, image, mended);
    if (mask && areaOf(mask) === 0) {
      mended('mask without a pixel dropped');
      return null;
    }
    return mask;
  } catch (thrown) {
    mended(`mask dropped: ${messageOf(thrown).replace(/\d+/g, 'N')}`);
    return null;
  }
}

function maskOfPolygons(parts: readonly unknown[], image: Size, mended: Tally): Rle | null {
  if (parts.length === 0) return null;
  const polygons = parts.filter(
    (part): part is number[] => isNumbers(part) && part.length >= 6 && part.length % 2 === 0,
  );
  if (polygons.length < parts.length) mended('polygon of fewer than three points dropped');
  return polygons.length === 0 ? null : rleFromPolygons(polygons, [image.height, image.width]);
}

function maskOfRuns(segmentation: unknown, image: Size, mended: Tally): Rle | null {
  if (typeof segmentation !== 'object' || segmentation === null) return null;
  if (!('size' in segmentation) || !('counts' in segmentation)) return null;
  const { size, counts } = segmentation;
  if (!isNumbers(size) || size[0] !== image.height || size[1] !== image.width) {
    mended('mask of another size dropped');
    return null;
  }
  if (isNumbers(counts)) return rleFromRuns(counts, [image.height, image.width]);
  return typeof counts === 'string' ? { size: [image.height, image.width], counts } : null;
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(v => typeof v === 'number' && Number.isFinite(v));
}
