/** A contact sheet: records with their masks, boxes, phrases and captions drawn, to see whether they are true. */
import sharp from 'sharp';
import { GroundError, messageOf } from '../errors.ts';
import { Random } from '../random.ts';
import { Canvas, type Rgb } from './canvas.ts';
import type { Dataset } from './dataset.ts';
import { GLYPH_ADVANCE, LINE_HEIGHT, wrapText } from './pixel-font.ts';
import type { ImageRecord } from './record.ts';
import { decodeMask } from './rle.ts';

export interface PreviewOptions {
  /** Records shown; 12 by default. */
  readonly count?: number;
  /** Columns of the sheet; 4 by default. */
  readonly columns?: number;
  /** Side of a picture on the sheet, pixels; 320 by default. */
  readonly side?: number;
  /** Draws rows at random with this seed; the first rows without it. */
  readonly seed?: number;
}

const DEFAULTS = { count: 12, columns: 4, side: 320 };
const PADDING = 8;
/** Lines of captions below a picture. */
const CAPTION_LINES = 7;
const VEIL = 0.4;
const PAPER: Rgb = [250, 250, 248];
const INK: Rgb = [30, 30, 30];
const FAINT: Rgb = [120, 120, 120];
const WHITE: Rgb = [255, 255, 255];
const COLOURS: readonly Rgb[] = [
  [229, 56, 59],
  [34, 116, 229],
  [24, 165, 88],
  [214, 132, 4],
  [155, 63, 209],
  [15, 150, 165],
  [214, 73, 134],
  [122, 92, 46],
];

/** The sheet as a PNG. Throws `usage` on options out of range, `data` where a record cannot be drawn. */
export async function previewDataset(dataset: Dataset, options: PreviewOptions = {}): Promise<Uint8Array> {
  const { count, columns, side, seed } = { ...DEFAULTS, ...options };
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
  const rows = chooseRows(dataset.rows, count, seed);
  const cell = { width: side + PADDING, height: side + PADDING + CAPTION_LINES * LINE_HEIGHT + PADDING };
  const across = Math.min(columns, Math.max(1, rows.length));
  const down = Math.max(1, Math.ceil(rows.length / across));
  const canvas = new Canvas(
    { width: across * cell.width + PADDING, height: down * cell.height + PADDING },
    PAPER,
  );
  for (const [i, row] of rows.entries()) {
    const left = PADDING + (i % across) * cell.width;
    const top = PADDING + Math.floor(i / across) * cell.height;
    const record = await dataset.read(row);
    await drawRecord(canvas, record, left, top, side).catch(cause => {
      const place = dataset.placeOf(row);
      throw new GroundError('data', `${place.shard} row ${place.row} cannot be drawn: ${messageOf(cause)}`, {
        hint: '`ground data validate` lists all such rows',
        cause,
      });
    });
  }
  const { width, height, data } = canvas;
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

function chooseRows(rows: number, count: number, seed: number | undefined): number[] {
  const all = Array.from({ length: rows }, (_, row) => row);
  const chosen = seed === undefined ? all : new Random(seed, 'preview').shuffle(all);
  return chosen.slice(0, count).sort((a, b) => a - b);
}

async function drawRecord(
  canvas: Canvas,
  record: ImageRecord,
  left: number,
  top: number,
  side: number,
): Promise<void> {
  const scale = side / Math.max(record.width, record.height);
  const size = {
    width: Math.max(1, Math.round(record.width * scale)),
    height: Math.max(1, Math.round(record.height * scale)),
  };
  const pixels = await sharp(record.image)
    .flatten({ background: '#fff' })
    .toColourspace('srgb')
    .resize(size.width, size.height, { fit: 'fill', kernel: scale > 1 ? 'nearest' : 'lanczos3' })
    .raw()
    .toBuffer();
  canvas.paste(pixels, size, left, top);
  const placement = { left, top, scale };
  const colourOf = (i: number) => COLOURS[i % COLOURS.length] as Rgb;
  record.objects.forEach(({ mask }, i) => {
    if (mask) canvas.veil(decodeMask(mask), placement, colourOf(i), VEIL);
  });
  record.objects.forEach(({ box }, i) => {
    canvas.outline(box, placement, 2, colourOf(i));
  });
  record.objects.forEach(({ box, phrase, crowd }, i) => {
    const text = crowd ? `${phrase} (crowd)` : phrase;
    const room = left + size.width - text.length * GLYPH_ADVANCE;
    const x = Math.max(left + 1, Math.min(room, Math.round(left + box.x1 * scale) + 2));
    canvas.text(text, x, Math.round(top + box.y1 * scale) + 2, WHITE, colourOf(i));
  });
  const lines = wrapText(record.id, side).map(line => [line, FAINT] as const);
  for (const caption of record.captions) {
    lines.push(...wrapText(`- ${caption}`, side).map(line => [line, INK] as const));
  }
  for (const [i, [line, colour]] of lines.slice(0, CAPTION_LINES).entries()) {
    canvas.text(line, left, top + side + PADDING + i * LINE_HEIGHT, colour);
  }
}
