/**
 * Ferret's training files: LLaVA's conversations with `image_w` and `image_h`, and for every turn a list of pixel boxes
 * in `box_x1y1x2y2` (and masks in `masks`) that `<bbox_location0>`, `<bbox_location1>`, … in the turn's text stand for.
 */
import type { Size } from '../box.ts';
import { boxPiece, type Piece, regionPiece } from '../conversation.ts';
import { areaOf, type Rle, rleFromRuns } from '../rle.ts';
import { type ChatSample, chatContent, chatEntries, isObject, type JsonObject } from './chat-samples.ts';
import { type Entry, readEntries } from './entries.ts';
import { inputsOf, note, type SourceFormat, type SourceReport } from './source.ts';
import { piecesAt, type SoundBox, soundBox } from './turn-boxes.ts';
import type { Turn } from './turns.ts';

/** What Ferret adds to a sample of LLaVA, unchecked. */
interface Places {
  readonly width: unknown;
  readonly height: unknown;
  /** By turn, then by placeholder. */
  readonly boxes: unknown;
  readonly masks: unknown;
}

const PLACEHOLDER = /<bbox_location(\d+)>/g;
/** The blank and the token that Ferret's own loader writes behind a region; some files have them already. */
const REGION_TOKEN = / ?<region_fea>/g;

export const ferret: SourceFormat = {
  name: 'ferret',
  describes: 'conversations with boxes and masks by turn as Ferret trains on them: JSON list or JSON Lines',
  inputs: [
    { flag: 'annotations', what: 'file', required: true, many: true, help: 'the conversations' },
    {
      flag: 'images',
      what: 'folder',
      required: true,
      many: true,
      help: 'the folder that their file names start from',
    },
  ],
  async open(options) {
    const files = inputsOf(options, 'annotations');
    const masks = options.masks !== false;
    return readEntries(options, {
      entries: report => chatEntries(files, report, placesOf),
      contentOf: (entries, image, report) =>
        chatContent(sizedAlike(entries, image, report), image, report, (turn, { extra }, size, changed) =>
          piecesOfTurn(turn, masks ? extra : { ...extra, masks: undefined }, size, changed),
        ),
    });
  },
};

function placesOf(sample: JsonObject): Places {
  const { image_w: width, image_h: height, box_x1y1x2y2: boxes, masks } = sample;
  return { width, height, boxes, masks };
}

/** Samples whose boxes were made for an image of this size. */
function sizedAlike(
  entries: readonly Entry<ChatSample<Places>>[],
  image: Size | null,
  report: SourceReport,
): readonly Entry<ChatSample<Places>>[] {
  if (!image) return entries;
  return entries.filter(({ content, place }) => {
    const { width, height } = content.extra;
    if ((width ?? image.width) === image.width && (height ?? image.height) === image.height) return true;
    note(report, 'skipped', 'image of another size than annotated', place);
    return false;
  });
}

/** A message with its placeholders as boxes (the assistant's) or as regions (the user's). */
function piecesOfTurn(
  { role, text, index }: Turn,
  { boxes, masks }: Places,
  image: Size,
  changed: (reason: string) => void,
): Piece[] | null {
  const given = itemAt(boxes, index);
  const used = new Set<number>();
  const pieces = piecesAt(text.replace(REGION_TOKEN, ''), PLACEHOLDER, ([, number]) => {
    const place = Number(number);
    used.add(place);
    const sound = boxOf(itemAt(given, place), image);
    if (typeof sound === 'string') {
      changed(`round left out: ${sound}`);
      return null;
    }
    if (sound.cut) changed('box cut at the edge of the image');
    if (role !== 'user') return boxPiece(sound.box);
    const mask = maskOf(itemAt(itemAt(masks, index), place), image);
    if (typeof mask === 'string') changed(mask);
    return regionPiece({
      kind: 'box',
      box: sound.box,
      ...(typeof mask === 'object' && mask ? { mask } : {}),
    });
  });
  if (pieces && Array.isArray(given) && given.some((_, i) => !used.has(i))) {
    changed('box without a placeholder left out');
  }
  return pieces;
}

function itemAt(list: unknown, index: number): unknown {
  return Array.isArray(list) ? list[index] : undefined;
}

function boxOf(value: unknown, image: Size): SoundBox | string {
  if (value === undefined) return 'placeholder without a box';
  if (!isNumbers(value) || value.length !== 4) return 'box that is not four numbers';
  const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = value;
  return soundBox({ space: 'pixels', x1, y1, x2, y2 }, image);
}

/** The mask of a region; null where there is none, and why where it cannot be used: a region without one is one still. */
function maskOf(value: unknown, { width, height }: Size): Rle | string | null {
  if (value === undefined || value === null) return null;
  if (!isObject(value) || !isNumbers(value.size)) return 'mask that is no run-length encoding dropped';
  const { size, counts } = value;
  if (size[0] !== height || size[1] !== width) return 'mask of another size dropped';
  try {
    const mask = isNumbers(counts)
      ? rleFromRuns(counts, [height, width])
      : { size: [height, width] as const, counts: String(counts) };
    return areaOf(mask) === 0 ? 'mask without a pixel dropped' : mask;
  } catch {
    return 'mask that is no run-length encoding dropped';
  }
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(v => typeof v === 'number' && Number.isFinite(v));
}
