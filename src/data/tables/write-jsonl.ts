/** Records to a folder of image files and a `records.jsonl` that `ground data build --from jsonl` reads. */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, ioError, writeDirectoryAtomic, writeStream } from '../../atomic.ts';
import { GroundError } from '../../errors.ts';
import type { PixelBox } from '../box.ts';
import type { Piece } from '../conversation.ts';
import type { ImageRecord } from '../record.ts';

export const LINES_FILE = 'records.jsonl';

/** Files in one folder; some file systems are slow with more. */
const FOLDER_FILES = 1000;

/**
 * Writes `records.jsonl` and `images/`, whole or not at all. Images are files as they were, named by their row. Throws
 * `data` where `dir` holds something already, `io`, and what `records` throws.
 */
export async function writeJsonl(records: AsyncIterable<ImageRecord>, dir: string): Promise<void> {
  const present = await readdir(dir).catch((thrown): string[] => {
    if (errorCode(thrown) === 'ENOENT') return [];
    throw ioError(thrown, 'list', dir);
  });
  if (present.length > 0) {
    throw new GroundError('data', `${dir} is not empty`, { hint: 'choose a new folder' });
  }
  await writeDirectoryAtomic(dir, async folder => {
    let row = 0;
    await writeStream(join(folder, LINES_FILE), async sink => {
      for await (const record of records) {
        const name = record.image.length > 0 ? imageName(row, record.image) : null;
        if (name !== null) await writeImage(folder, name, record.image);
        await sink(Buffer.from(`${JSON.stringify(lineOf(record, name))}\n`));
        row++;
      }
    });
  });
}

async function writeImage(folder: string, name: string, bytes: Uint8Array): Promise<void> {
  const file = join(folder, name);
  await mkdir(join(file, '..'), { recursive: true }).catch(thrown => {
    throw ioError(thrown, 'create', file);
  });
  await writeStream(file, sink => sink(bytes));
}

/** "images/00012/00012345.jpg". */
function imageName(row: number, bytes: Uint8Array): string {
  const digits = (value: number, width: number) => String(value).padStart(width, '0');
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50;
  const isJpeg = bytes[0] === 0xff && bytes[1] === 0xd8;
  const ending = isPng ? '.png' : isJpeg ? '.jpg' : '';
  return `images/${digits(Math.floor(row / FOLDER_FILES), 5)}/${digits(row, 8)}${ending}`;
}

/** A record as docs/data.md has the format; what is empty is left out. */
export function lineOf(record: ImageRecord, image: string | null): object {
  const { id, width, height, split, captions, relations, spans, absent } = record;
  return filled({
    id,
    ...(image === null ? {} : { image, width, height }),
    split,
    captions,
    objects: record.objects.map(({ box, ...object }) => filled({ ...object, box: corners(box) })),
    relations,
    regions: record.regions?.map(({ phrase, box }) => ({ phrase, box: corners(box) })),
    spans,
    absent,
    conversations: record.conversations?.map(({ kind, rounds }) => ({
      kind,
      rounds: rounds.map(({ question, answer, accepted }) =>
        filled({ question: turn(question), answer: turn(answer), accepted }),
      ),
    })),
  });
}

/** Without empty lists and what is undefined. */
function filled(value: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(
    Object.entries(value).filter(([, one]) => one !== undefined && !(Array.isArray(one) && one.length === 0)),
  );
}

function corners({ x1, y1, x2, y2 }: PixelBox): number[] {
  return [x1, y1, x2, y2];
}

function turn(pieces: readonly Piece[]): unknown {
  const [first, ...others] = pieces;
  if (!first) return '';
  return first.kind === 'text' && others.length === 0 ? first.text : pieces.map(pieceOf);
}

function pieceOf(piece: Piece): unknown {
  if (piece.kind === 'text') return piece.text;
  if (piece.kind === 'box') return { box: corners(piece.box) };
  const { region } = piece;
  const mask = region.mask ? { mask: region.mask } : {};
  if (region.kind === 'free-form') return { region: mask };
  if (region.kind === 'box') return { region: { box: corners(region.box), ...mask } };
  const within = region.within ? { within: corners(region.within) } : {};
  return { region: { point: [region.point.x, region.point.y], ...within, ...mask } };
}
