/** An RGB picture that can be drawn on: for contact sheets, where boxes, masks and text must not depend on a font. */
import type { PixelBox, Size } from './box.ts';
import { drawText, GLYPH_ADVANCE } from './pixel-font.ts';
import type { Bitmap } from './rle.ts';

export type Rgb = readonly [red: number, green: number, blue: number];

/** Where something drawn on the canvas comes from: `scale` canvas pixels a pixel, the origin at (left, top). */
export interface Placement {
  readonly left: number;
  readonly top: number;
  readonly scale: number;
}

export class Canvas {
  readonly width: number;
  readonly height: number;
  /** RGB, row after row. */
  readonly data: Uint8Array;

  constructor({ width, height }: Size, background: Rgb) {
    this.width = width;
    this.height = height;
    this.data = new Uint8Array(width * height * 3);
    for (let i = 0; i < this.data.length; i++) this.data[i] = background[i % 3] as number;
  }

  /** Mixes a colour into a pixel; outside of the canvas nothing happens. */
  dot(x: number, y: number, colour: Rgb, share = 1): void {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return;
    const at = (y * this.width + x) * 3;
    for (let c = 0; c < 3; c++) {
      const below = this.data[at + c] as number;
      this.data[at + c] = Math.round(below + ((colour[c] as number) - below) * share);
    }
  }

  fill(box: Omit<PixelBox, 'space'>, colour: Rgb, share = 1): void {
    for (let y = box.y1; y < box.y2; y++) for (let x = box.x1; x < box.x2; x++) this.dot(x, y, colour, share);
  }

  /** Copies RGB pixels, their upper left corner at (left, top). */
  paste(pixels: Uint8Array, size: Size, left: number, top: number): void {
    for (let y = 0; y < size.height; y++) {
      const row = pixels.subarray(y * size.width * 3, (y + 1) * size.width * 3);
      this.data.set(row, ((top + y) * this.width + left) * 3);
    }
  }

  /** The outline of a box, `line` pixels thick, inside of it. */
  outline(box: PixelBox, { left, top, scale }: Placement, line: number, colour: Rgb): void {
    const x1 = Math.round(left + box.x1 * scale);
    const y1 = Math.round(top + box.y1 * scale);
    const x2 = Math.max(x1 + 1, Math.round(left + box.x2 * scale));
    const y2 = Math.max(y1 + 1, Math.round(top + box.y2 * scale));
    this.fill({ x1, y1, x2, y2: Math.min(y2, y1 + line) }, colour);
    this.fill({ x1, y1: Math.max(y1, y2 - line), x2, y2 }, colour);
    this.fill({ x1, y1, x2: Math.min(x2, x1 + line), y2 }, colour);
    this.fill({ x1: Math.max(x1, x2 - line), y1, x2, y2 }, colour);
  }

  /** A mask as a veil of colour. */
  veil(mask: Bitmap, { left, top, scale }: Placement, colour: Rgb, share: number): void {
    const [width, height] = [Math.round(mask.width * scale), Math.round(mask.height * scale)];
    for (let y = 0; y < height; y++) {
      const row = Math.min(mask.height - 1, Math.floor(y / scale)) * mask.width;
      for (let x = 0; x < width; x++) {
        const column = Math.min(mask.width - 1, Math.floor(x / scale));
        if (mask.data[row + column]) this.dot(left + x, top + y, colour, share);
      }
    }
  }

  /** A line of text, on a ground of its own where one is given. */
  text(text: string, x: number, y: number, colour: Rgb, ground?: Rgb): void {
    const width = text.length * GLYPH_ADVANCE;
    if (ground) this.fill({ x1: x - 1, y1: y - 1, x2: x + width, y2: y + 8 }, ground, 0.8);
    drawText(text, (dx, dy) => this.dot(x + dx, y + dy, colour));
  }
}
