/** A contact sheet: records with their masks, boxes, phrases and conversations drawn, to see whether they are true. */
import sharp from 'sharp';
import { GroundError, messageOf } from '../errors.ts';
import { Random } from '../random.ts';
import { Canvas, type Rgb } from './canvas.ts';
import type { Dataset } from './dataset.ts';
import { LINE_HEIGHT } from './pixel-font.ts';
import { firstLines, type Ink, type Line, linesOf, writeLines } from './preview/lines.ts';
import { drawConversation, drawImage, drawObjects, pictureSize } from './preview/picture.ts';
import { partsOf, type Transcriber, type Transcript } from './preview/transcript.ts';
import { type ImageRecord, isTextAlone } from './record.ts';

export interface PreviewOptions {
  /** Records shown; 12 by default. */
  readonly count?: number;
  /** Columns of the sheet; 4 by default. */
  readonly columns?: number;
  /** Side of a picture on the sheet, pixels; 320 by default. */
  readonly side?: number;
  /** Draws rows at random with this seed; the first rows without it. */
  readonly seed?: number;
  /** These rows, instead of `count` of them. */
  readonly rows?: readonly number[];
  /** Shows what a task makes of records, and draws its boxes and regions. */
  readonly transcriber?: Transcriber;
  /** Whether objects are drawn where there is a conversation; true by default. */
  readonly objects?: boolean;
}

const DEFAULTS = { count: 12, columns: 4, side: 320 };
/** Pixels of the largest sheet; each takes three bytes. */
const MOST_PIXELS = 2 ** 26;
const PADDING = 8;
/** Lines below a picture, and of a text alone. */
const MOST_LINES = 24;
const MOST_TEXT_LINES = 60;
const PAPER: Rgb = [250, 250, 248];
const INK: Rgb = [30, 30, 30];
const FAINT: Rgb = [120, 120, 120];
const ALARM: Rgb = [200, 30, 30];
/** What is trained on. */
const TRAINED: Rgb = [10, 130, 50];

/** What goes below a picture, or stands alone. */
interface Cell {
  readonly row: number;
  readonly lines: readonly Line[];
  /** Of the picture; 0 for text alone. */
  readonly pictureHeight: number;
  readonly transcript: Transcript | null;
}

/**
 * The sheet as a PNG. Rows are as high as what is in them. Throws `usage` on options out of range and on sheets too large,
 * `data` where a record cannot be drawn, with its place.
 */
export async function previewDataset(dataset: Dataset, options: PreviewOptions = {}): Promise<Uint8Array> {
  const { columns, side } = { ...DEFAULTS, ...options };
  const rows = rowsShown(dataset, options);
  const cells: Cell[] = [];
  for (const row of rows) {
    cells.push(await atRow(dataset, row, async () => cellOf(await dataset.read(row), row, side, options)));
  }
  const across = Math.min(columns, cells.length);
  const bands = Array.from({ length: Math.ceil(cells.length / across) }, (_, band) =>
    cells.slice(band * across, (band + 1) * across),
  );
  const heights = bands.map(band => Math.max(...band.map(heightOf)));
  const size = {
    width: across * (side + PADDING) + PADDING,
    height: heights.reduce((sum, height) => sum + height, PADDING),
  };
  if (size.width * size.height > MOST_PIXELS) {
    throw new GroundError('usage', `the sheet would have ${size.width} x ${size.height} pixels`, {
      hint: `at most ${MOST_PIXELS} in all: show fewer rows, or make --side smaller`,
    });
  }
  const canvas = new Canvas(size, PAPER);
  let top = PADDING;
  for (const [band, inBand] of bands.entries()) {
    for (const [column, cell] of inBand.entries()) {
      const frame = { left: PADDING + column * (side + PADDING), top, side };
      await atRow(dataset, cell.row, async () => {
        const record = await dataset.read(cell.row);
        if (!isTextAlone(record)) {
          await drawImage(canvas, record, frame);
          if (!cell.transcript || options.objects !== false) drawObjects(canvas, record, frame);
          if (cell.transcript) drawConversation(canvas, record, cell.transcript.conversation, frame);
        }
        const gap = cell.pictureHeight > 0 ? PADDING : 0;
        writeLines(canvas, cell.lines, frame.left, top + cell.pictureHeight + gap);
      });
    }
    top += heights[band] ?? 0;
  }
  const { width, height, data } = canvas;
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

function rowsShown(dataset: Dataset, options: PreviewOptions): readonly number[] {
  const { count, columns, side } = { ...DEFAULTS, ...options };
  for (const [name, value] of Object.entries({ count, columns, side })) {
    if (!Number.isInteger(value) || value < 1 || value > 4096) {
      throw new GroundError('usage', `preview ${name} is ${value}, not a whole number from 1 to 4096`);
    }
  }
  if (dataset.rows === 0) {
    throw new GroundError('data', `${dataset.dir} has no records to draw`, {
      hint: 'build the dataset again',
    });
  }
  const unknown = options.rows?.find(row => row >= dataset.rows);
  if (unknown !== undefined) {
    throw new GroundError('usage', `there is no row ${unknown} in ${dataset.dir}`, {
      hint: `its rows are 0 to ${dataset.rows - 1}`,
    });
  }
  return options.rows ?? chooseRows(dataset.rows, count, options.seed);
}

function chooseRows(rows: number, count: number, seed: number | undefined): number[] {
  const all = Array.from({ length: seed === undefined ? Math.min(rows, count) : rows }, (_, row) => row);
  const chosen = seed === undefined ? all : new Random(seed, 'preview').shuffle(all);
  return chosen.slice(0, count).sort((a, b) => a - b);
}

function cellOf(record: ImageRecord, row: number, side: number, { transcriber }: PreviewOptions): Cell {
  const transcript = transcriber?.transcribe(record, row) ?? null;
  const inks: Ink[] = [{ text: `${row} ${record.id}\n`, colour: FAINT }];
  if (transcript) inks.push(...inksOf(transcript));
  else inks.push({ text: record.captions.map(caption => `- ${caption}`).join('\n'), colour: INK });
  const alone = isTextAlone(record);
  const lines = firstLines(linesOf(inks, side), alone ? MOST_TEXT_LINES : MOST_LINES, FAINT);
  return { row, lines, transcript, pictureHeight: alone ? 0 : pictureSize(record, side).height };
}

function inksOf({ task, tokens, problem }: Transcript): Ink[] {
  const parts = partsOf(tokens).map(({ text, trained }) => ({ text, colour: trained ? TRAINED : FAINT }));
  const passedOver = problem === null ? [] : [{ text: `passed over: ${problem}\n`, colour: ALARM }];
  return [{ text: `${task}\n`, colour: INK }, ...passedOver, ...parts];
}

function heightOf({ pictureHeight, lines }: Cell): number {
  return pictureHeight + PADDING + lines.length * LINE_HEIGHT + PADDING;
}

/** What `work` gives; an error names the row. */
async function atRow<T>(dataset: Dataset, row: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const { shard, row: inShard } = dataset.placeOf(row);
    throw new GroundError('data', `${shard} row ${inShard} cannot be drawn: ${messageOf(cause)}`, {
      hint: '`ground data validate` lists all such rows',
      cause,
    });
  }
}
