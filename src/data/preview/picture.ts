/** An image with what is said of it drawn on: objects, or the boxes and regions of a conversation. */
import sharp from 'sharp';
import type { PixelBox, Size } from '../box.ts';
import type { Canvas, Placement, Rgb } from '../canvas.ts';
import type { Conversation, Piece, PixelPoint } from '../conversation.ts';
import { decodeImage } from '../image.ts';
import { GLYPH_ADVANCE } from '../pixel-font.ts';
import type { ImageRecord, ObjectAnnotation } from '../record.ts';
import { boundsOf, decodeMask } from '../rle.ts';
import { printable } from './lines.ts';

const VEIL = 0.4;
/** Of a box that a user points with. */
const FAINT_VEIL = 0.2;
const LINE = 2;
/** Half the size of the cross that marks a point, sheet pixels. */
const CROSS = 5;
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

/** Where a picture goes on the sheet. */
export interface Frame {
  readonly left: number;
  readonly top: number;
  /** Of the longer side, sheet pixels. */
  readonly side: number;
}

/** Size of a picture on the sheet. */
export function pictureSize({ width, height }: Size, side: number): Size {
  const scale = side / Math.max(width, height);
  return {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
}

/** The image as training sees it, its orientation as stored, alpha dropped. Throws `data` where it cannot be decoded. */
export async function drawImage(canvas: Canvas, record: ImageRecord, frame: Frame): Promise<void> {
  const { width, height, data } = await decodeImage(record);
  const size = pictureSize(record, frame.side);
  const kernel = size.width > width ? 'nearest' : 'lanczos3';
  const pixels = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize(size.width, size.height, { fit: 'fill', kernel })
    .raw()
    .toBuffer();
  canvas.paste(pixels, size, frame.left, frame.top);
}

/** Masks as veils, boxes as outlines, phrases at their upper left corners. */
export function drawObjects(canvas: Canvas, record: ImageRecord, frame: Frame): void {
  const placement = placementOf(record, frame);
  const { objects } = record;
  objects.forEach(({ mask }, i) => {
    if (mask) canvas.veil(decodeMask(mask), placement, colourOf(i), VEIL);
  });
  objects.forEach(({ box }, i) => {
    canvas.outline(box, placement, LINE, colourOf(i));
  });
  objects.forEach((object, i) => {
    drawTag(canvas, nameOf(object), object.box, placement, record, colourOf(i));
  });
}

/**
 * Boxes and regions of a conversation, numbered in the order in which they are first mentioned; "?" is what the user points at.
 */
export function drawConversation(
  canvas: Canvas,
  record: ImageRecord,
  conversation: Conversation,
  frame: Frame,
): void {
  const placement = placementOf(record, frame);
  const seen = new Set<string>();
  for (const { question, answer } of conversation.rounds) {
    for (const piece of [...question, ...answer]) {
      if (piece.kind === 'text') continue;
      // What was pointed at is often told again as a box: one number is enough.
      const name = JSON.stringify(boxOf(piece) ?? piece);
      if (seen.has(name)) continue;
      drawPiece(canvas, piece, seen.size, placement, record);
      seen.add(name);
    }
  }
}

function drawPiece(
  canvas: Canvas,
  piece: Exclude<Piece, { kind: 'text' }>,
  index: number,
  placement: Placement,
  size: Size,
): void {
  const colour = colourOf(index);
  const number = String(index + 1);
  const box = (at: PixelBox, tag: string): void => {
    canvas.outline(at, placement, LINE, colour);
    drawTag(canvas, tag, at, placement, size, colour);
  };
  if (piece.kind === 'box') {
    box(piece.box, number);
    return;
  }
  const { region } = piece;
  const tag = `?${number}`;
  if (region.kind === 'box') {
    canvas.fill(onSheet(region.box, placement), colour, FAINT_VEIL);
    box(region.box, tag);
    return;
  }
  if (region.kind === 'free-form') {
    canvas.veil(decodeMask(region.mask), placement, colour, 2 * VEIL);
    const bounds = boundsOf(region.mask);
    if (bounds) drawTag(canvas, tag, bounds, placement, size, colour);
    return;
  }
  const { x, y } = region.point;
  drawCross(canvas, region.point, placement, colour);
  const beside = { space: 'pixels', x1: x, y1: y, x2: x, y2: y } as const;
  drawTag(canvas, tag, beside, { ...placement, top: placement.top + CROSS }, size, colour);
}

function drawCross(canvas: Canvas, point: PixelPoint, { left, top, scale }: Placement, colour: Rgb): void {
  const x = Math.round(left + point.x * scale);
  const y = Math.round(top + point.y * scale);
  canvas.fill({ x1: x - CROSS - 1, y1: y - 2, x2: x + CROSS + 2, y2: y + 3 }, WHITE);
  canvas.fill({ x1: x - 2, y1: y - CROSS - 1, x2: x + 3, y2: y + CROSS + 2 }, WHITE);
  canvas.fill({ x1: x - CROSS, y1: y - 1, x2: x + CROSS + 1, y2: y + 2 }, colour);
  canvas.fill({ x1: x - 1, y1: y - CROSS, x2: x + 2, y2: y + CROSS + 1 }, colour);
}

function boxOf(piece: Piece): PixelBox | undefined {
  if (piece.kind === 'box') return piece.box;
  return piece.kind === 'region' && piece.region.kind === 'box' ? piece.region.box : undefined;
}

/** A name in white at the upper left corner of a box, inside of the picture where it fits. */
function drawTag(
  canvas: Canvas,
  name: string,
  box: PixelBox,
  placement: Placement,
  size: Size,
  colour: Rgb,
): void {
  const text = printable(name.replaceAll('\n', ' '));
  const { left, top, scale } = placement;
  const room = Math.round(left + size.width * scale) - text.length * GLYPH_ADVANCE;
  const x = Math.max(left + 1, Math.min(room, Math.round(left + box.x1 * scale) + LINE));
  canvas.text(text, x, Math.round(top + box.y1 * scale) + LINE, WHITE, colour);
}

function nameOf({ phrase, crowd }: ObjectAnnotation): string {
  return crowd ? `${phrase} (crowd)` : phrase;
}

function placementOf({ width, height }: Size, { left, top, side }: Frame): Placement {
  return { left, top, scale: side / Math.max(width, height) };
}

function onSheet({ x1, y1, x2, y2 }: PixelBox, { left, top, scale }: Placement) {
  return {
    x1: Math.round(left + x1 * scale),
    y1: Math.round(top + y1 * scale),
    x2: Math.round(left + x2 * scale),
    y2: Math.round(top + y2 * scale),
  };
}

function colourOf(index: number): Rgb {
  return COLOURS[index % COLOURS.length] as Rgb;
}
