/** The pixels of a scene. */

import type { Random } from '../../random.ts';
import type { Size } from '../box.ts';
import type { Layout, ScenePart } from './scene-layout.ts';
import type { BackgroundKind } from './scene-options.ts';
import type { BackgroundColour, Colour, Texture } from './scene-vocabulary.ts';

type Rgb = readonly [red: number, green: number, blue: number];

export interface Background {
  readonly colour: BackgroundColour;
  readonly kind: BackgroundKind;
}

const RGB: Readonly<Record<Colour, Rgb>> = {
  red: [215, 40, 40],
  green: [45, 165, 65],
  blue: [45, 80, 220],
  yellow: [240, 215, 40],
  orange: [245, 135, 30],
  purple: [135, 55, 175],
  cyan: [55, 205, 220],
  pink: [245, 140, 190],
};

const BACKGROUND_RGB: Readonly<Record<BackgroundColour, Rgb>> = {
  black: [25, 25, 28],
  gray: [125, 125, 128],
  white: [238, 238, 235],
};

const FULL = 16;
/** How far a colour may stray, so that it is not one constant. */
const COLOUR_JITTER = 12;
const NOISE = 20;
const GRADIENT = 34;
/** The period of a texture is this share of its object's side, and two pixels at least. */
const TEXTURE_PERIOD = 0.28;

/** The scene as RGB bytes, row after row. */
export function paint(random: Random, image: Size, background: Background, layout: Layout): Uint8Array {
  const pixels = paintBackground(random, image, background);
  for (const { part, coverage } of layout.placed) {
    const first = jitter(random, RGB[part.colour]);
    const second = mix(first, background.colour === 'white' ? [20, 20, 20] : [255, 255, 255], 0.78);
    const isSecond = textureTest(random, part);
    for (let y = 0; y < coverage.height; y++) {
      for (let x = 0; x < coverage.width; x++) {
        const share = (coverage.data[y * coverage.width + x] ?? 0) / FULL;
        if (share === 0) continue;
        const [px, py] = [coverage.left + x, coverage.top + y];
        const colour = isSecond(px + 0.5, py + 0.5) ? second : first;
        const at = (py * image.width + px) * 3;
        for (let c = 0; c < 3; c++) {
          const below = pixels[at + c] ?? 0;
          pixels[at + c] = Math.round(below + ((colour[c] ?? 0) - below) * share);
        }
      }
    }
  }
  return pixels;
}

function paintBackground(random: Random, image: Size, { colour, kind }: Background): Uint8Array {
  const shade = random.uniform(-COLOUR_JITTER, COLOUR_JITTER);
  const base = BACKGROUND_RGB[colour].map(value => value + shade);
  const angle = random.uniform(0, 2 * Math.PI);
  const [dx, dy] = [Math.cos(angle) / image.width, Math.sin(angle) / image.height];
  const pixels = new Uint8Array(image.width * image.height * 3);
  for (let y = 0, at = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++) {
      let shift = 0;
      if (kind === 'gradient') {
        shift = GRADIENT * 2 * ((x - image.width / 2) * dx + (y - image.height / 2) * dy);
      } else if (kind === 'noisy') {
        shift = random.uniform(-NOISE, NOISE);
      }
      for (let c = 0; c < 3; c++) pixels[at++] = toByte((base[c] ?? 0) + shift);
    }
  }
  return pixels;
}

/** Whether a point (pixels) gets the second colour. */
function textureTest(random: Random, part: ScenePart): (x: number, y: number) => boolean {
  const period = Math.max(4, part.side * TEXTURE_PERIOD);
  const across = random.pick(['x', 'y', 'both'] as const);
  const [left, top] = [part.x - part.side / 2, part.y - part.side / 2];
  const phase = (value: number) => ((value % period) + period) % period;
  const tests: Readonly<Record<Texture, (x: number, y: number) => boolean>> = {
    plain: () => false,
    striped: (x, y) => {
      const along =
        across === 'x' ? x - left : across === 'y' ? y - top : (x - left + y - top) * Math.SQRT1_2;
      return phase(along) >= period / 2;
    },
    dotted: (x, y) => {
      const [u, v] = [phase(x - left) - period / 2, phase(y - top) - period / 2];
      return u * u + v * v <= (0.32 * period) ** 2;
    },
    checkered: (x, y) => phase(x - left) >= period / 2 !== phase(y - top) >= period / 2,
  };
  return tests[part.texture];
}

function jitter(random: Random, colour: Rgb): Rgb {
  const shift = () => random.uniform(-COLOUR_JITTER, COLOUR_JITTER);
  return [toByte(colour[0] + shift()), toByte(colour[1] + shift()), toByte(colour[2] + shift())];
}

function mix(a: Rgb, b: Rgb, share: number): Rgb {
  const blend = (i: 0 | 1 | 2) => a[i] + (b[i] - a[i]) * share;
  return [blend(0), blend(1), blend(2)];
}

function toByte(value: number): number {
  return Math.min(255, Math.max(0, Math.round(value)));
}
