/** Annotated scenes, rendered from a seed: a dataset that needs no download and knows its own truth to the pixel. */
import sharp from 'sharp';
import { GroundError } from '../../errors.ts';
import { Random } from '../../random.ts';
import type { Size } from '../box.ts';
import { inOrder } from '../in-order.ts';
import type { ImageRecord } from '../record.ts';
import { boundsOf, encodeMask, type Rle } from '../rle.ts';
import { type Layout, layOut } from './scene-layout.ts';
import { type SceneOptions, type ScenePreset, sceneOptions } from './scene-options.ts';
import { type Background, paint } from './scene-paint.ts';
import { BACKGROUND_COLOURS } from './scene-vocabulary.ts';
import { attributesOf, captionsOf, phrasesOf, relationsOf, type SeenPart } from './scene-words.ts';

export interface RenderOptions extends Partial<SceneOptions> {
  /** Where the options that are not given come from; `normal` by default. */
  readonly preset?: ScenePreset;
  /** Scenes of another split are other scenes, whatever their index. */
  readonly split?: string;
}

/** Layouts tried for one scene before it is given up as impossible. */
const LAYOUTS = 60;

/**
 * Scene number `index` of a seed: the same arguments give the same annotations and the same pixels, and no scene
 * depends on another.
 *
 * Boxes (pixels, x2 and y2 exclusive) and masks are those of the visible part of each object; no object is covered by
 * more than `minVisible` allows. Attributes are all true words ("small", "red", "striped"; a digit's number too);
 * "small" and "large" go by the share of the image's shorter side. `phrase` is the shortest noun phrase that fits no
 * other object, without an article ("red circle", "digit 7", "leftmost star"), or the bare label where none is found:
 * ask `isNamedAlone`. Objects come in drawing order: later ones lie in front.
 * Throws `usage` where the options leave no room for that many objects of that size.
 */
export async function renderScene(
  seed: number,
  index: number,
  options: RenderOptions = {},
): Promise<ImageRecord> {
  const { preset = 'normal', split = '', ...overrides } = options;
  const checked = sceneOptions(preset, overrides);
  const random = new Random(seed, 'scene', split, index);
  const image = random.pick(checked.sizes);
  const layout = findLayout(random, image, checked);
  const background: Background = {
    colour: random.pick(BACKGROUND_COLOURS),
    kind: random.pick(checked.backgrounds),
  };
  const pixels = paint(random, image, background, layout);

  const masks = layout.placed.map((_, owner) => visibleMask(layout, owner, image));
  const seen = layout.placed.map((placed, i): SeenPart => ({ ...placed, box: boxOf(masks[i]) }));
  const phrases = phrasesOf(seen, image);
  const relations = relationsOf(seen, layout, image);
  const objects = seen.map(({ part, box }, i) => ({
    label: part.label,
    phrase: phrases[i] ?? part.label,
    attributes: attributesOf(part),
    box,
    ...(masks[i] ? { mask: masks[i] } : {}),
  }));
  const encoded = await sharp(pixels, { raw: { ...image, channels: 3 } })
    .png({ compressionLevel: 6 })
    .toBuffer();
  return {
    id: `scene-${split === '' ? '' : `${split}-`}${seed}-${String(index).padStart(6, '0')}`,
    image: new Uint8Array(encoded),
    ...image,
    captions: captionsOf(random, seen, phrases, relations, background),
    objects,
    relations,
  };
}

/** Scenes 0 … count - 1, a few of them in the making at once. */
export async function* renderScenes(
  seed: number,
  count: number,
  options: RenderOptions = {},
): AsyncGenerator<ImageRecord> {
  const indexes = Array.from({ length: count }, (_, index) => index);
  yield* inOrder(indexes, IN_FLIGHT, index => renderScene(seed, index, options));
}

/** PNG encoding runs on other threads: enough scenes to keep them busy. */
const IN_FLIGHT = 8;

function findLayout(random: Random, image: Size, options: SceneOptions): Layout {
  const [min, max] = options.objects;
  const count = random.int(min, max + 1);
  for (let attempt = 0; attempt < LAYOUTS; attempt++) {
    // Later attempts ask for less: a scene of the fewest objects is still within the options.
    const wanted = Math.max(min, count - Math.floor((attempt * (max - min + 1)) / LAYOUTS));
    const layout = layOut(random, image, wanted, options);
    if (layout) return layout;
  }
  throw new GroundError(
    'usage',
    `${min} objects of ${options.scale.join(' to ')} of the side find no place on ${image.width} x ${image.height} pixels`,
    { hint: 'ask for fewer or smaller objects, or allow more overlap' },
  );
}

function visibleMask({ owners }: Layout, owner: number, { width, height }: Size): Rle {
  const data = new Uint8Array(owners.length);
  for (let i = 0; i < owners.length; i++) if (owners[i] === owner) data[i] = 1;
  return encodeMask({ width, height, data });
}

function boxOf(mask: Rle | undefined) {
  const box = mask ? boundsOf(mask) : null;
  if (!box) throw new Error('a placed object has no visible pixel');
  return box;
}
