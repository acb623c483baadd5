/**
 * The annotation files of MDETR, which GLIP, Ferret and others read too: COCO's layout, but an "image" is a sentence about
 * one, with the phrases of the sentence that its boxes belong to.
 */

import { GroundError } from '../../errors.ts';
import type { PixelBox, Size } from '../box.ts';
import type { Entry } from './entries.ts';
import { streamJson } from './json-stream.ts';
import { note, type SourceReport } from './source.ts';
import { utf16Offsets } from './tidy-caption.ts';
import { soundBox } from './turn-boxes.ts';

/** A sentence, or a box of a sentence, as the file lists them: apart. */
export type MdetrPart =
  | {
      readonly kind: 'sentence';
      readonly id: number;
      readonly caption: string;
      readonly width: number | null;
      readonly height: number | null;
    }
  | {
      readonly kind: 'box';
      readonly sentence: number;
      readonly bbox: unknown;
      /** Number of the object in the dataset the file was made of, the same in all sentences about it. */
      readonly original: number | null;
      readonly label: unknown;
      readonly tokens: unknown;
      readonly place: string;
    };

/** A sentence with its boxes. */
export interface MdetrSentence {
  readonly caption: string;
  readonly boxes: readonly MdetrBox[];
}

export interface MdetrBox {
  readonly box: PixelBox;
  /** Equal for boxes of the same object. */
  readonly key: string;
  readonly label: string;
  /** Parts of the caption it is the box of: start and end, UTF-16. */
  readonly spans: readonly (readonly [start: number, end: number])[];
}

type Json = Readonly<Record<string, unknown>>;

const HINT =
  'MDETR-style files have the lists images (file_name, id, caption) and annotations (image_id, bbox)';

/**
 * The sentences and boxes of a file, each with the image it is about (`aboutOf` the name in the file). Throws `data` where
 * the file is none of MDETR's.
 */
export async function* mdetrEntries(
  file: string,
  report: SourceReport,
  aboutOf: (fileName: string) => Pick<Entry<MdetrPart>, 'images' | 'id'>,
): AsyncGenerator<Entry<MdetrPart>> {
  const images = new Map<number, Pick<Entry<MdetrPart>, 'images' | 'id'>>();
  const labels = new Map<unknown, string>();
  const lists = [{ path: ['images'] }, { path: ['categories'], optional: true }];
  for await (const { value, target, key } of streamJson(file, lists)) {
    const place = `${file}, images[${key}]`;
    if (!isObject(value)) throw new GroundError('data', `${place}: an image is no object`, { hint: HINT });
    if (target === 1) {
      if (typeof value.name === 'string') labels.set(value.id, value.name.trim());
      continue;
    }
    const { id, file_name: name, caption } = value;
    if (typeof caption !== 'string') {
      throw new GroundError('data', `${place}: an image has no caption, so this is no MDETR-style file`, {
        hint: `${HINT}; COCO's own object annotations go to --instances`,
      });
    }
    if (typeof id !== 'number' || typeof name !== 'string' || name === '') {
      note(report, 'skipped', 'sentence without an id or a file name', place);
    } else if (images.has(id)) {
      note(report, 'skipped', 'sentence id listed twice', place);
    } else {
      const about = aboutOf(name);
      images.set(id, about);
      const content = {
        kind: 'sentence',
        id,
        caption,
        width: sizeOf(value.width),
        height: sizeOf(value.height),
      } as const;
      yield { ...about, place, content };
    }
  }
  for await (const { value, key } of streamJson(file, [{ path: ['annotations'] }])) {
    const place = `${file}, annotations[${key}]`;
    const about =
      isObject(value) && typeof value.image_id === 'number' ? images.get(value.image_id) : undefined;
    if (!about || !isObject(value)) {
      note(report, 'skipped', 'box of an unknown sentence', place);
      continue;
    }
    const original = typeof value.original_id === 'number' ? value.original_id : null;
    const content = {
      kind: 'box',
      sentence: Number(value.image_id),
      bbox: value.bbox,
      original,
      label: labels.get(value.category_id) ?? 'object',
      tokens: value.tokens_positive,
      place,
    } as const;
    yield { ...about, place, content };
  }
}

/**
 * The sentences of one image with their boxes in pixels, cut at its edge; null, noted, where the image has another size
 * than annotated.
 */
export function mdetrSentences(
  entries: readonly Entry<MdetrPart>[],
  image: Size,
  report: SourceReport,
): MdetrSentence[] | null {
  const parts = entries.map(({ content }) => content);
  const sentences = entries.flatMap(({ content, place }) =>
    content.kind === 'sentence' ? [{ ...content, place }] : [],
  );
  const other = sentences.find(
    ({ width, height }) =>
      (width ?? image.width) !== image.width || (height ?? image.height) !== image.height,
  );
  if (other) {
    note(report, 'skipped', 'image of another size than annotated', other.place);
    return null;
  }
  return sentences.map(({ id, caption }) => {
    const offsets = utf16Offsets(caption);
    const boxes = parts.flatMap(part => {
      if (part.kind !== 'box' || part.sentence !== id) return [];
      const sound = cornersOf(part.bbox, image);
      if (typeof sound === 'string') {
        note(report, 'skipped', sound, part.place);
        return [];
      }
      if (sound.cut) note(report, 'mended', 'box cut at the edge of the image', part.place);
      const { box } = sound;
      const key = part.original === null ? `${box.x1},${box.y1},${box.x2},${box.y2}` : `#${part.original}`;
      return [
        { box, key, label: String(part.label), spans: spansOf(part.tokens, offsets, part.place, report) },
      ];
    });
    return { caption, boxes };
  });
}

/** A box [x, y, width, height] by its corners, cut at the edge of the image, or why there is none. */
export function cornersOf(bbox: unknown, image: Size): ReturnType<typeof soundBox> {
  if (!Array.isArray(bbox) || bbox.length !== 4) return 'box that is not four numbers';
  const [x, y, width, height] = bbox.map(value => (typeof value === 'number' ? value : Number.NaN));
  if (x === undefined || y === undefined || width === undefined || height === undefined) {
    return 'box that is not four numbers';
  }
  return soundBox({ space: 'pixels', x1: x, y1: y, x2: x + width, y2: y + height }, image);
}

/** Python's [start, end] pairs as positions in UTF-16. */
function spansOf(
  tokens: unknown,
  offsets: readonly number[],
  place: string,
  report: SourceReport,
): (readonly [number, number])[] {
  if (!Array.isArray(tokens)) return [];
  return tokens.flatMap(pair => {
    const [start, end] = Array.isArray(pair) ? pair.map(position => offsets[position]) : [];
    if (start !== undefined && end !== undefined && start < end) return [[start, end] as const];
    note(report, 'mended', 'phrase outside of its caption dropped', place);
    return [];
  });
}

/** A side in pixels; files made of XML write it as text. Null where there is none. */
function sizeOf(side: unknown): number | null {
  const value = typeof side === 'string' ? Number(side) : side;
  return typeof value === 'number' && value > 0 ? value : null;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
