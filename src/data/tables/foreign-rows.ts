/** Rows of tables as others write them (Hugging Face's datasets, mostly) to records. */
import { basename, dirname } from 'node:path';
import sharp from 'sharp';
import type { BoxSpace, PixelBox, Size } from '../box.ts';
import { boxCodec } from '../box-text.ts';
import { textPiece } from '../conversation.ts';
import type { ImageRecord, ObjectAnnotation, StoredConversation } from '../record.ts';
import { type ImageProblem, readImageFile } from '../sources/image-file.ts';
import { imageIdOf } from '../sources/image-id.ts';
import { roundsOf } from '../sources/rounds.ts';
import { note, type SourceReport } from '../sources/source.ts';
import { soundBox } from '../sources/turn-boxes.ts';
import { turnsOf, withoutPlaceholders } from '../sources/turns.ts';
import { type ColumnMap, firstValue, isRow, type Role } from './columns.ts';
import type { TableRow } from './table.ts';

export interface ForeignOptions {
  readonly columns: ColumnMap;
  /** Labels by number, for categories that are numbers. */
  readonly names: readonly string[] | null;
  /** What four numbers of a box are. */
  readonly corners: 'xywh' | 'xyxy';
  readonly space: BoxSpace;
  /** Folder of images that rows only name. */
  readonly images: string | undefined;
  readonly link: boolean;
  readonly report: SourceReport;
}

/** The record of a row, or null where it cannot be used; what is left out is noted with `place`. */
export async function recordOfForeignRow(
  row: TableRow,
  file: string,
  index: number,
  options: ForeignOptions,
): Promise<ImageRecord | null> {
  const { columns, report } = options;
  const place = `${basename(file)}, row ${index}`;
  const value = (role: Role) => firstValue(row, columns[role]);
  const found = await imageOf(value('image'), dirname(file), options);
  if (typeof found === 'string') {
    note(report, 'skipped', found, place);
    return null;
  }
  const conversations = conversationsOf(value('conversations'), found !== null, (reason, became) =>
    note(report, became, reason, place),
  );
  const captions = textsOf(value('caption'));
  if (!found && conversations.length === 0) {
    note(report, 'skipped', 'row with neither an image nor a conversation', place);
    return null;
  }
  const split = value('split');
  const { name, ...image } = found ?? { image: new Uint8Array(0), width: 0, height: 0, name: null };
  return {
    id: idOf(value('id')) ?? (name === null ? `${basename(file)}-${index}` : imageIdOf(name)),
    ...image,
    captions,
    objects: found ? objectsOf(value, found, options, place) : [],
    relations: [],
    ...(typeof split === 'string' && split !== '' ? { split } : {}),
    ...(conversations.length === 0 ? {} : { conversations }),
  };
}

interface FoundImage extends Size {
  readonly image: Uint8Array;
  readonly path?: string;
  /** What the row calls the file; null where it does not. */
  readonly name: string | null;
}

/** Bytes, a struct of bytes and path, or the name of a file; null where there is none of it. */
async function imageOf(
  value: unknown,
  tableFolder: string,
  { images, link }: ForeignOptions,
): Promise<FoundImage | ImageProblem | null> {
  const bytes = isRow(value) ? value.bytes : value;
  const path = isRow(value) ? value.path : value;
  const name = typeof path === 'string' && path !== '' ? path : null;
  if (bytes instanceof Uint8Array && bytes.length > 0) {
    const size = await sharp(bytes)
      .metadata()
      .catch(() => null);
    if (!size) return 'image file not readable';
    return { image: bytes, width: size.width, height: size.height, name };
  }
  if (name === null) return value === null || value === undefined ? null : 'image file not readable';
  const file = await readImageFile(images ?? tableFolder, name);
  if (typeof file === 'string') return file;
  const { width, height } = file;
  const held = link ? { image: new Uint8Array(0), path: file.path } : { image: file.bytes };
  return { ...held, width, height, name };
}

function objectsOf(
  value: (role: Role) => unknown,
  image: Size,
  { names, corners, space, report }: ForeignOptions,
  place: string,
): ObjectAnnotation[] {
  const boxes = value('objects.bbox');
  const categories = value('objects.category');
  if (!Array.isArray(boxes)) return [];
  return boxes.flatMap((numbers: unknown, i): ObjectAnnotation[] => {
    const at = `${place}, object ${i}`;
    const label = labelOf(Array.isArray(categories) ? categories[i] : undefined, names);
    const box = boxOf(numbers, image, corners, space);
    const problem = label === null ? 'object without a category' : typeof box === 'string' ? box : null;
    if (label === null || typeof box === 'string') {
      note(report, 'skipped', problem ?? '', at);
      return [];
    }
    if (box.cut) note(report, 'mended', 'box cut at the edge of the image', at);
    return [{ label, phrase: label, attributes: [], box: box.box }];
  });
}

function boxOf(
  value: unknown,
  image: Size,
  corners: 'xywh' | 'xyxy',
  space: BoxSpace,
): { readonly box: PixelBox; readonly cut: boolean } | string {
  const [a, b, c, d, ...more] = numbersOf(value);
  if (a === undefined || b === undefined || c === undefined || d === undefined || more.length > 0) {
    return 'box that is not four numbers';
  }
  try {
    const ends = corners === 'xywh' ? [a + c, b + d] : [c, d];
    return soundBox(boxCodec(space).fromNumbers([a, b, ...ends], image), image);
  } catch {
    return `box that is none in ${space}`;
  }
}

function numbersOf(value: unknown): readonly number[] {
  const list =
    Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value as ArrayLike<unknown>) : [];
  return list.every(one => typeof one === 'number') ? list : [];
}

/** A text, or the name of a number's class. */
function labelOf(category: unknown, names: readonly string[] | null): string | null {
  const name = typeof category === 'number' ? names?.[category] : textOf(category);
  return name === undefined || name === null || name.trim() === '' ? null : name.replaceAll('_', ' ').trim();
}

function conversationsOf(
  value: unknown,
  image: boolean,
  changed: (reason: string, became: 'skipped' | 'mended') => void,
): StoredConversation[] {
  if (value === null || value === undefined) return [];
  const turns = turnsOf(value);
  if (typeof turns === 'string') {
    changed(turns, 'skipped');
    return [];
  }
  const pieces = withoutPlaceholders(turns).map(({ role, index, text }) => ({
    role,
    index,
    pieces: [textPiece(text)],
  }));
  const rounds = roundsOf(pieces, image, reason => changed(reason, 'mended'));
  return rounds.length === 0 ? [] : [{ kind: 'chat', rounds }];
}

/** One caption or several, without line breaks and blanks that are people's typing. */
function textsOf(value: unknown): string[] {
  const all: readonly unknown[] = Array.isArray(value) ? value : [value];
  return all.flatMap(one => {
    const text = textOf(one)?.replace(/\s+/g, ' ').trim() ?? '';
    return text === '' ? [] : [text];
  });
}

/** Parquet files of old do not tell texts from bytes. */
function textOf(value: unknown): string | null {
  if (value instanceof Uint8Array) return new TextDecoder().decode(value);
  return typeof value === 'string' ? value : null;
}

function idOf(value: unknown): string | null {
  if (typeof value === 'number') return String(value);
  const text = textOf(value);
  return text === null || text.trim() === '' ? null : text.trim();
}
