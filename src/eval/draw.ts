/**
 * Boxes drawn on an image, as a PNG. Labels are numbers made of line strokes, because a machine may have no font and
 * librsvg then draws no text at all.
 */
import type { PixelBox, Size } from '../data/box.ts';
import { decodeImage, type ImageInput } from '../data/image.ts';
import { GroundError } from '../errors.ts';

/** Boxes that are true, predicted, or asked about; any CSS colour does as well. */
export const BOX_COLORS = { truth: '#18a558', prediction: '#e5383b', region: '#2274e5' } as const;

/** Colours for boxes that are only to be told apart. */
export const PALETTE = [
  '#e5383b',
  '#2274e5',
  '#18a558',
  '#f2a104',
  '#9b3fd1',
  '#0fb5c4',
  '#e85d9e',
  '#7a5c2e',
];

export interface DrawnBox {
  readonly box: PixelBox;
  /** CSS colour of the outline. */
  readonly color: string;
  /** A number at the upper left corner, 0 or more; none where absent. */
  readonly label?: number;
}

/** An image shorter than this is enlarged by a whole factor, so that outlines and numbers can be seen. */
const MIN_SIDE = 384;

/**
 * The image with boxes drawn on it, as a PNG: its pixels as the model sees them (`decodeImage`). Small images are
 * enlarged by a whole factor, pixels kept square. Boxes are clipped at the image's edge. Throws GroundError 'data'
 * where the image cannot be decoded.
 */
export async function drawBoxes(image: ImageInput, boxes: readonly DrawnBox[]): Promise<Uint8Array> {
  const { width, height, data } = await decodeImage(image);
  const scale = Math.max(1, Math.ceil(MIN_SIDE / Math.max(width, height)));
  const size = { width: width * scale, height: height * scale };
  const { default: sharp } = await import('sharp');
  const enlarged = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize(size.width, size.height, { kernel: 'nearest', fit: 'fill' })
    .png()
    .toBuffer();
  const overlay = Buffer.from(boxesSvg(boxes, size, scale));
  return await sharp(enlarged)
    .composite([{ input: overlay, left: 0, top: 0 }])
    .png()
    .toBuffer();
}

/** Width and height of a PNG from its header, pixels. Throws GroundError 'data' where it is none. */
export function pngSize(png: Uint8Array): Size {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  if (png.byteLength < 24 || view.getUint32(0) !== 0x89504e47)
    throw new GroundError('data', 'not a PNG file');
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

/** The overlay alone: `size` in drawn pixels, boxes in image pixels times `scale`; an empty box is a dot. */
export function boxesSvg(boxes: readonly DrawnBox[], size: Size, scale: number): string {
  const line = Math.max(2, Math.round(Math.max(size.width, size.height) / 128));
  const shapes = boxes.map(drawn => {
    const x1 = clamp(drawn.box.x1 * scale, size.width);
    const y1 = clamp(drawn.box.y1 * scale, size.height);
    const x2 = clamp(drawn.box.x2 * scale, size.width);
    const y2 = clamp(drawn.box.y2 * scale, size.height);
    const color = escapeAttribute(drawn.color);
    if (x1 === x2 && y1 === y2) return `<circle cx="${x1}" cy="${y1}" r="${2 * line}" fill="${color}"/>`;
    const outline = `<rect x="${x1}" y="${y1}" width="${x2 - x1}" height="${y2 - y1}" fill="none" stroke="${color}" stroke-width="${line}"/>`;
    return drawn.label === undefined ? outline : outline + numberTag(drawn.label, x1, y1, line, color, size);
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}">${shapes.join('')}</svg>`;
}

/** A filled tag with the number in white strokes, inside the image even where the box touches its edge. */
function numberTag(label: number, x: number, y: number, line: number, color: string, size: Size): string {
  const digits = [...String(Math.max(0, Math.trunc(label)))];
  const [digitWidth, digitHeight, gap] = [line * 4, line * 7, line * 2];
  const width = digits.length * (digitWidth + gap) + gap;
  const height = digitHeight + 2 * gap;
  const left = Math.max(0, Math.min(x, size.width - width));
  const top = Math.max(0, Math.min(y, size.height - height));
  const strokes = digits.map((digit, i) => {
    const originX = left + gap + i * (digitWidth + gap);
    const originY = top + gap;
    const segments = SEGMENTS_OF_DIGIT[Number(digit)] ?? '';
    return [...segments]
      .map(name => {
        const [ax, ay, bx, by] = SEGMENT_LINES[name] ?? [0, 0, 0, 0];
        return `M${originX + ax * digitWidth} ${originY + (ay * digitHeight) / 2}L${originX + bx * digitWidth} ${originY + (by * digitHeight) / 2}`;
      })
      .join('');
  });
  return (
    `<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="${color}"/>` +
    `<path d="${strokes.join('')}" fill="none" stroke="#fff" stroke-width="${line}" stroke-linecap="round"/>`
  );
}

/** Seven-segment digits: which of the segments a (top) to g (middle) each digit lights. */
const SEGMENTS_OF_DIGIT = [
  'abcdef',
  'bc',
  'abged',
  'abgcd',
  'fgbc',
  'afgcd',
  'afgedc',
  'abc',
  'abcdefg',
  'abcdfg',
];

/** Ends of each segment: x in digit widths, y in half digit heights. */
const SEGMENT_LINES: Readonly<Record<string, readonly [number, number, number, number]>> = {
  a: [0, 0, 1, 0],
  b: [1, 0, 1, 1],
  c: [1, 1, 1, 2],
  d: [0, 2, 1, 2],
  e: [0, 1, 0, 2],
  f: [0, 0, 0, 1],
  g: [0, 1, 1, 1],
};

function clamp(value: number, high: number): number {
  return Math.max(0, Math.min(high, value));
}

function escapeAttribute(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
}
