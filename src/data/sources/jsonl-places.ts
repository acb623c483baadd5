/** Boxes, masks and regions of our own JSON Lines format: any space, given for the record or for the one box. */
import type { BoxSpace, PixelBox, Size } from '../box.ts';
import { boxCodec } from '../box-text.ts';
import type { PixelPoint, Region } from '../conversation.ts';
import { rleFromPolygons } from '../polygon.ts';
import { areaOf, type Rle, rleFromRuns } from '../rle.ts';
import { isObject } from './chat-samples.ts';
import { items, numbers, oneOf, ShapeError, shaped, whole } from './json-shape.ts';
import { soundBox } from './turn-boxes.ts';

export const BOX_SPACES: readonly BoxSpace[] = ['pixels', 'unit', 'permille', 'padded-square', 'bins'];

/** A record that is of the right shape and yet cannot be used, `message` in the words of a report. */
export class Unusable extends Error {
  override readonly name = 'Unusable';
  readonly at: string;

  constructor(at: string, reason: string) {
    super(reason);
    this.at = at;
  }
}

/** What places are read by. */
export interface Frame {
  /** Space of boxes and points that name none. */
  readonly space: BoxSpace;
  /** Null where only the shape is checked: what comes out is then meaningless. */
  readonly image: Size | null;
  /** Told what was changed, and where. */
  readonly changed: (reason: string, at: string) => void;
}

const DEFAULT_BINS = 1000;
/** Numbers of three digits miss the image's edge by less than this share of its side. */
const ROUNDING = 0.001;

/** `[x1, y1, x2, y2]`, or `{space, box}` (and `bins`). */
export function boxAt(value: unknown, at: string, frame: Frame): PixelBox {
  const box = inPixels(value, at, 'box', 4, frame);
  if (!frame.image) return box;
  const side = Math.max(frame.image.width, frame.image.height);
  const sound = soundBox(box, frame.image, frame.space === 'pixels' ? undefined : ROUNDING * side);
  if (typeof sound === 'string') throw new Unusable(at, sound);
  if (sound.cut) frame.changed('box cut at the edge of the image', at);
  return sound.box;
}

/** COCO's three forms: `{size, counts}` with counts as a text or as a list of runs, or a list of polygons in pixels. */
export function maskAt(value: unknown, at: string, { image }: Frame): Rle {
  const polygons = Array.isArray(value) ? items(value, at, polygonAt) : null;
  const { size, counts } = polygons ? {} : shaped(value, at, ['size', 'counts']);
  if (polygons?.length === 0) throw new ShapeError(at, 'expected polygons, found an empty list');
  if (!polygons) {
    numbers(size, `${at}.size`, 2);
    if (typeof counts !== 'string') numbers(counts, `${at}.counts`);
  }
  if (!image) return { size: [0, 0], counts: '' };
  const { width, height } = image;
  const [rows, columns] = Array.isArray(size) ? size : [height, width];
  if (rows !== height || columns !== width) throw new Unusable(at, 'mask of another size');
  try {
    const mask = polygons
      ? rleFromPolygons(polygons, [height, width])
      : Array.isArray(counts)
        ? rleFromRuns(counts, [height, width])
        : { size: [height, width] as const, counts: String(counts) };
    if (areaOf(mask) > 0) return mask;
  } catch {
    throw new Unusable(at, 'mask that is no run-length encoding');
  }
  throw new Unusable(at, 'mask without a pixel');
}

/** `{point, within?, mask?}`, `{box, mask?}` or `{mask}`: how a user points. */
export function regionAt(value: unknown, at: string, frame: Frame): Region {
  const { point, within, box, mask } = shaped(value, at, ['point', 'within', 'box', 'mask']);
  const found = mask === undefined ? {} : { mask: maskAt(mask, `${at}.mask`, frame) };
  if (point !== undefined && box === undefined) {
    const around = within === undefined ? {} : { within: boxAt(within, `${at}.within`, frame) };
    return { kind: 'point', point: pointAt(point, `${at}.point`, frame), ...around, ...found };
  }
  if (point !== undefined || within !== undefined)
    throw new ShapeError(at, 'expected a point or a box, found both');
  if (box !== undefined) return { kind: 'box', box: boxAt(box, `${at}.box`, frame), ...found };
  if (found.mask) return { kind: 'free-form', mask: found.mask };
  throw new ShapeError(at, 'expected a point, a box or a mask, found none of them');
}

function pointAt(value: unknown, at: string, frame: Frame): PixelPoint {
  const { x1: x, y1: y } = inPixels(value, at, 'point', 2, frame);
  const { image } = frame;
  if (image && !(x >= 0 && y >= 0 && x < image.width && y < image.height)) {
    throw new Unusable(at, 'point outside of the image');
  }
  return { x, y };
}

/** Two or four numbers in their space; a point comes back as a box of no size. */
function inPixels(value: unknown, at: string, key: 'box' | 'point', count: 2 | 4, frame: Frame): PixelBox {
  const own = isObject(value) ? shaped(value, at, ['space', 'bins', key]) : null;
  const space = own?.space === undefined ? frame.space : oneOf(own.space, `${at}.space`, BOX_SPACES);
  const bins = own?.bins === undefined ? DEFAULT_BINS : whole(own.bins, `${at}.bins`);
  const [x1 = 0, y1 = 0, x2 = x1, y2 = y1] = numbers(
    own ? own[key] : value,
    own ? `${at}.${key}` : at,
    count,
  );
  const empty = { space: 'pixels', x1, y1, x2, y2 } as const;
  if (!frame.image) return empty;
  try {
    return boxCodec(space, bins).fromNumbers([x1, y1, x2, y2], frame.image);
  } catch {
    throw new Unusable(at, `${key} that is none in ${space}`);
  }
}

function polygonAt(value: unknown, at: string): number[] {
  const polygon = numbers(value, at);
  if (polygon.length >= 6 && polygon.length % 2 === 0) return [...polygon];
  throw new ShapeError(at, 'expected x1, y1, x2, y2, x3, y3, … of three points or more');
}
