/** Where the objects of a scene go, and which pixels of each can be seen. */

import type { Random } from '../../random.ts';
import type { PixelBox, Size } from '../box.ts';
import type { SceneOptions } from './scene-options.ts';
import { insideOf } from './scene-shapes.ts';
import {
  type Colour,
  DIGIT_LABEL,
  DIGITS,
  type Digit,
  type Label,
  type SizeWord,
  type Texture,
} from './scene-vocabulary.ts';

/** What is drawn: centre and side in pixels. */
export interface ScenePart {
  readonly label: Label;
  /** What a digit says; null for other shapes. */
  readonly text: Digit | null;
  readonly colour: Colour;
  readonly texture: Texture;
  readonly size: SizeWord | null;
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

/** The pixels of a part before anything covers it: how much of each the shape fills, 0 to 16 sixteenths. */
export interface Coverage {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

export interface PlacedPart {
  readonly part: ScenePart;
  readonly coverage: Coverage;
  /** Tight box of the whole shape, covered pixels included. */
  readonly extent: PixelBox;
}

export interface Layout {
  /** In the order of drawing: later ones cover earlier ones. */
  readonly placed: readonly PlacedPart[];
  /** For each pixel, row after row, the part that is seen there, or -1. */
  readonly owners: Int16Array;
}

/** A pixel belongs to a part that fills at least half of it. */
export const HALF = 8;
/** Samples of a pixel along each side. */
const SAMPLES = 4;

/** Below this side (pixels) a texture cannot be told, nor a digit read. */
const TEXTURE_SIDE = 14;
const DIGIT_SIDE = 12;
const LEAST_SIDE = 4;
/** Sides as shares of the image's shorter side: below the first an object is small, above the second large. */
const SMALL = 0.19;
const LARGE = 0.34;
/** No side falls this close to a limit, so that nobody has to guess the word. */
const SIZE_MARGIN = 0.02;
/** Pixels between objects that do not overlap. */
const GAP = 1;
const TRIES = 40;
const OVERLAP_CHANCE = 0.25;
const INSIDE_CHANCE = 0.1;

/** A layout of `count` parts on an image, or null where they did not fit. */
export function layOut(random: Random, image: Size, count: number, options: SceneOptions): Layout | null {
  const owners = new Int16Array(image.width * image.height).fill(-1);
  const placed: PlacedPart[] = [];
  const areas: { full: number; visible: number }[] = [];
  for (let i = 0; i < count; i++) {
    const next = place(random, image, options, placed, owners, areas);
    if (!next) return null;
    let full = 0;
    forEachPixel(next.coverage, image, pixel => {
      const below = areas[owners[pixel] ?? -1];
      if (below) below.visible--;
      owners[pixel] = i;
      full++;
    });
    placed.push(next);
    areas.push({ full, visible: full });
  }
  return { placed, owners };
}

/** Calls `visit` with the index of every pixel of the image that the part fills by half or more. */
export function forEachPixel(coverage: Coverage, image: Size, visit: (pixel: number) => void): void {
  const { left, top, width, height, data } = coverage;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if ((data[y * width + x] ?? 0) >= HALF) visit((top + y) * image.width + left + x);
    }
  }
}

/** Pixels that two parts both fill by half or more; `seen` only counts those where one of the two can be seen. */
export function sharedPixels(layout: Layout, image: Size, first: number, second: number): Overlap {
  const inSecond = new Set<number>();
  const { placed, owners } = layout;
  const overlap = { all: 0, seen: 0 };
  const [a, b] = [placed[first], placed[second]];
  if (!a || !b || !touches(a.extent, b.extent, 0)) return overlap;
  forEachPixel(b.coverage, image, pixel => inSecond.add(pixel));
  forEachPixel(a.coverage, image, pixel => {
    if (!inSecond.has(pixel)) return;
    overlap.all++;
    if (owners[pixel] === first || owners[pixel] === second) overlap.seen++;
  });
  return overlap;
}

export interface Overlap {
  readonly all: number;
  readonly seen: number;
}

/** Pixels that a part fills by half or more. */
export function filledPixels({ data }: Coverage): number {
  return data.reduce((sum, share) => sum + (share >= HALF ? 1 : 0), 0);
}

function place(
  random: Random,
  image: Size,
  options: SceneOptions,
  placed: readonly PlacedPart[],
  owners: Int16Array,
  areas: readonly { full: number; visible: number }[],
): PlacedPart | null {
  const mode = placed.length === 0 || options.minVisible === 1 ? 1 : random.next();
  const apart = mode >= OVERLAP_CHANCE + INSIDE_CHANCE;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const host = apart ? null : random.pick(placed);
    const part = drawPart(random, image, options, host, mode < INSIDE_CHANCE);
    // The frame holds the extent: no need to rasterise a shape that will not stay.
    if (apart && placed.some(other => touches(frameOf(part), other.extent, GAP))) continue;
    const coverage = cover(part);
    const extent = extentOf(coverage);
    // A shape of a few pixels may fill half of none.
    if (!extent) continue;
    if (apart || isSeenOn(part, coverage, image, placed, owners, areas, options.minVisible)) {
      return { part, coverage, extent };
    }
  }
  return null;
}

function drawPart(
  random: Random,
  image: Size,
  options: SceneOptions,
  host: PlacedPart | null,
  inside: boolean,
): ScenePart {
  const short = Math.min(image.width, image.height);
  const label = random.pick(options.labels);
  const text = label === DIGIT_LABEL ? random.pick(DIGITS) : null;
  const share = sideShare(random, options.scale);
  const shrunk =
    host && inside ? Math.min(share, (host.part.side / short) * random.uniform(0.3, 0.5)) : share;
  const least = label === DIGIT_LABEL ? DIGIT_SIDE : LEAST_SIDE;
  const side = Math.min(Math.max(shrunk * short, least), short - 2);
  const texture = random.pick(options.textures);
  const colour = random.pick(options.colours);
  const reach = inside ? 0.2 : 0.6;
  const around = (low: number, high: number, centre: number, width: number) =>
    Math.min(high, Math.max(low, centre + random.uniform(-reach, reach) * width));
  const [half, { width, height }] = [side / 2, image];
  return {
    label,
    text,
    colour,
    texture: side < TEXTURE_SIDE || label === DIGIT_LABEL ? 'plain' : texture,
    size: sizeWord(side / short),
    x: host
      ? around(half + 1, width - half - 1, host.part.x, host.part.side)
      : random.uniform(half + 1, width - half - 1),
    y: host
      ? around(half + 1, height - half - 1, host.part.y, host.part.side)
      : random.uniform(half + 1, height - half - 1),
    side,
  };
}

function sideShare(random: Random, [low, high]: readonly [number, number]): number {
  const share = random.uniform(low, high);
  const limit = [SMALL, LARGE].find(value => Math.abs(share - value) < SIZE_MARGIN);
  if (limit === undefined) return share;
  const away = share < limit ? limit - SIZE_MARGIN : limit + SIZE_MARGIN;
  return Math.min(high, Math.max(low, away));
}

function sizeWord(share: number): SizeWord | null {
  if (share < SMALL) return 'small';
  return share > LARGE ? 'large' : null;
}

/** How much of each pixel the part fills, by 4 x 4 samples. */
function cover(part: ScenePart): Coverage {
  const inside = insideOf(part.label, part.text);
  const half = part.side / 2;
  const [left, top] = [Math.floor(part.x - half), Math.floor(part.y - half)];
  const [width, height] = [Math.ceil(part.x + half) - left, Math.ceil(part.y + half) - top];
  const data = new Uint8Array(width * height);
  for (let py = 0; py < height * SAMPLES; py++) {
    const v = (top + (py + 0.5) / SAMPLES - part.y) / half;
    const row = Math.floor(py / SAMPLES) * width;
    for (let px = 0; px < width * SAMPLES; px++) {
      const u = (left + (px + 0.5) / SAMPLES - part.x) / half;
      if (inside(u, v)) data[row + Math.floor(px / SAMPLES)]!++;
    }
  }
  return { left, top, width, height, data };
}

/** The square that a part is drawn in. */
function frameOf({ x, y, side }: ScenePart): PixelBox {
  const half = side / 2;
  return { space: 'pixels', x1: x - half, y1: y - half, x2: x + half, y2: y + half };
}

function extentOf({ left, top, width, height, data }: Coverage): PixelBox | null {
  let [x1, y1, x2, y2] = [width, height, -1, -1];
  for (let i = 0; i < data.length; i++) {
    if ((data[i] ?? 0) < HALF) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    x1 = Math.min(x1, x);
    x2 = Math.max(x2, x);
    y1 = Math.min(y1, y);
    y2 = Math.max(y2, y);
  }
  if (x2 < 0) return null;
  return { space: 'pixels', x1: left + x1, y1: top + y1, x2: left + x2 + 1, y2: top + y2 + 1 };
}

function touches(a: PixelBox, b: PixelBox, gap: number): boolean {
  return a.x1 < b.x2 + gap && b.x1 < a.x2 + gap && a.y1 < b.y2 + gap && b.y1 < a.y2 + gap;
}

/** Whether a new part stands out from what it covers, and leaves enough of that to be seen. */
function isSeenOn(
  part: ScenePart,
  coverage: Coverage,
  image: Size,
  placed: readonly PlacedPart[],
  owners: Int16Array,
  areas: readonly { full: number; visible: number }[],
  minVisible: number,
): boolean {
  const lost = new Map<number, number>();
  forEachPixel(coverage, image, pixel => {
    const owner = owners[pixel] ?? -1;
    if (owner >= 0) lost.set(owner, (lost.get(owner) ?? 0) + 1);
  });
  for (const [owner, pixels] of lost) {
    const { full = 0, visible = 0 } = areas[owner] ?? {};
    if (visible - pixels < minVisible * full) return false;
    if (placed[owner]?.part.colour === part.colour) return false;
  }
  return true;
}
