/** What may be asked of rendered scenes, and the presets. */

import { GroundError } from '../../errors.ts';
import type { Size } from '../box.ts';
import {
  COLOURS,
  type Colour,
  DIGIT_LABEL,
  type Label,
  NUMBER_WORDS,
  SHAPES,
  TEXTURES,
  type Texture,
} from './scene-vocabulary.ts';

export const BACKGROUND_KINDS = ['plain', 'gradient', 'noisy'] as const;
export type BackgroundKind = (typeof BACKGROUND_KINDS)[number];

export interface SceneOptions {
  /** Image sizes in pixels; each scene draws one. */
  readonly sizes: readonly Size[];
  /** Fewest and most objects. */
  readonly objects: readonly [min: number, max: number];
  /** Side of an object as a share of the image's shorter side, smallest and largest. */
  readonly scale: readonly [min: number, max: number];
  readonly labels: readonly Label[];
  readonly colours: readonly Colour[];
  readonly textures: readonly Texture[];
  readonly backgrounds: readonly BackgroundKind[];
  /** The least share of an object's pixels that others leave visible; 1: no overlaps at all. */
  readonly minVisible: number;
}

const NORMAL: SceneOptions = {
  sizes: [{ width: 96, height: 96 }],
  objects: [2, 6],
  scale: [0.12, 0.45],
  labels: [...SHAPES, DIGIT_LABEL],
  colours: COLOURS,
  textures: TEXTURES,
  backgrounds: BACKGROUND_KINDS,
  minVisible: 0.6,
};

/**
 * `easy`: few large plain objects apart from each other; `wide`: of all sizes, from 4 % of the side on; `hard`: many, small,
 * overlapping.
 */
export const SCENE_PRESETS = {
  easy: {
    ...NORMAL,
    objects: [1, 3],
    scale: [0.28, 0.5],
    textures: ['plain'],
    backgrounds: ['plain'],
    minVisible: 1,
  },
  wide: {
    ...NORMAL,
    objects: [1, 5],
    scale: [0.04, 0.45],
    textures: ['plain'],
    backgrounds: ['plain', 'gradient'],
    minVisible: 1,
  },
  normal: NORMAL,
  hard: { ...NORMAL, objects: [5, 12], scale: [0.05, 0.35], minVisible: 0.4 },
} as const satisfies Record<string, SceneOptions>;

export type ScenePreset = keyof typeof SCENE_PRESETS;

/** The preset with some options replaced. Throws `usage` on values out of range. */
export function sceneOptions(preset: ScenePreset, overrides: Partial<SceneOptions> = {}): SceneOptions {
  const options: SceneOptions = { ...SCENE_PRESETS[preset], ...overrides };
  const { objects, scale, minVisible } = options;
  const most = NUMBER_WORDS.length;
  const whole = (n: number, low: number, high: number) => Number.isInteger(n) && n >= low && n <= high;
  const ordered = ([low, high]: readonly [number, number]) => low <= high;
  check(options.sizes.length > 0, 'sizes', 'at least one size');
  for (const { width, height } of options.sizes) {
    check(whole(width, 16, 4096) && whole(height, 16, 4096), 'sizes', 'sides of 16 to 4096 pixels');
  }
  check(objects.every(n => whole(n, 1, most)) && ordered(objects), 'objects', `MIN-MAX within 1-${most}`);
  check(scale.every(s => s > 0 && s <= 1) && ordered(scale), 'scale', 'MIN-MAX above 0, at most 1');
  check(minVisible > 0 && minVisible <= 1, 'minVisible', 'a share above 0, at most 1');
  for (const name of ['labels', 'colours', 'textures', 'backgrounds'] as const) {
    check(options[name].length > 0, name, 'at least one entry');
  }
  return options;
}

function check(fine: boolean, name: string, wanted: string): void {
  if (!fine)
    throw new GroundError('usage', `scene option ${name} is out of range`, { hint: `it must be ${wanted}` });
}
