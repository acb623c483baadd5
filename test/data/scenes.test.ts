import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { type ImageRecord, isNamedAlone, type ObjectAnnotation } from '../../src/data/record.ts';
import { areaOf, boundsOf, decodeMask, intersectionOf } from '../../src/data/rle.ts';
import { filledPixels, layOut } from '../../src/data/sources/scene-layout.ts';
import { SCENE_PRESETS, type ScenePreset, sceneOptions } from '../../src/data/sources/scene-options.ts';
import { insideOf } from '../../src/data/sources/scene-shapes.ts';
import {
  COLOURS,
  DIGITS,
  PREDICATES,
  SCENE_WORDS,
  SHAPES,
  SIZES,
  TEXTURES,
} from '../../src/data/sources/scene-vocabulary.ts';
import { type RenderOptions, renderScene, renderScenes } from '../../src/data/sources/scenes.ts';
import { problemsOf } from '../../src/data/validate.ts';
import { Random } from '../../src/random.ts';

async function scenes(count: number, options: RenderOptions, seed = 1): Promise<ImageRecord[]> {
  const records = [];
  for await (const record of renderScenes(seed, count, options)) records.push(record);
  return records;
}

const pixelsOf = (record: ImageRecord) => sharp(record.image).raw().toBuffer();
const withoutImage = ({ image, ...rest }: ImageRecord) => rest;
const PRESETS = Object.keys(SCENE_PRESETS) as ScenePreset[];
const MIXED = {
  sizes: [
    { width: 64, height: 64 },
    { width: 96, height: 48 },
    { width: 40, height: 100 },
  ],
};

describe('the same seed', () => {
  it('gives the same annotations and pixels, whatever was rendered before', async () => {
    const all = await scenes(12, MIXED);
    const again = await renderScene(1, 7, MIXED);
    expect(withoutImage(again)).toEqual(withoutImage(all[7] as ImageRecord));
    expect((await pixelsOf(again)).equals(await pixelsOf(all[7] as ImageRecord))).toBe(true);
  });

  it('of another number, index or split gives another scene', async () => {
    const first = await renderScene(1, 0);
    for (const other of [
      await renderScene(2, 0),
      await renderScene(1, 1),
      await renderScene(1, 0, { split: 'val' }),
    ]) {
      expect(other.id).not.toBe(first.id);
      expect(Buffer.from(other.image).equals(first.image)).toBe(false);
    }
  });

  it('draws a known scene', async () => {
    const { image, ...annotations } = await renderScene(5, 4, { sizes: [{ width: 48, height: 32 }] });
    const { data, info } = await sharp(image).raw().toBuffer({ resolveWithObject: true });
    const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
    expect({ ...annotations, channels: info.channels, mean: mean.toFixed(4) }).toMatchSnapshot();
  });
});

describe.each(PRESETS)('%s scenes', preset => {
  const rendered = scenes(150, { preset, ...MIXED });
  const options = SCENE_PRESETS[preset];

  it('are sound: images, boxes, masks, text, ids', async () => {
    const records = await rendered;
    expect(new Set(records.map(record => record.id)).size).toBe(records.length);
    for (const record of records) {
      expect(await problemsOf(record)).toEqual([]);
      expect(record.objects.length).toBeGreaterThanOrEqual(options.objects[0]);
      expect(record.objects.length).toBeLessThanOrEqual(options.objects[1]);
    }
  });

  it('have boxes that are tight around masks that share no pixel', async () => {
    for (const { objects } of await rendered) {
      for (const { box, mask } of objects) expect(mask && boundsOf(mask)).toEqual(box);
      const masks = objects.flatMap(({ mask }) => mask ?? []);
      for (const [i, a] of masks.entries()) {
        for (const b of masks.slice(i + 1)) expect(areaOf(intersectionOf([a, b]))).toBe(0);
      }
    }
  });

  it('use no word outside of the vocabulary', async () => {
    const known = new Set(SCENE_WORDS);
    const strange = (await rendered)
      .flatMap(({ captions, objects, relations }) => [
        ...captions,
        ...objects.flatMap(({ label, phrase, attributes }) => [label, phrase, ...attributes]),
        ...relations.map(({ predicate }) => predicate),
      ])
      .flatMap(text => text.replaceAll(/[,.]/g, '').split(' '))
      .filter(word => !known.has(word));
    expect(strange).toEqual([]);
  });

  it('name objects truly: the words of a phrase fit this object and no other', async () => {
    let [alone, all] = [0, 0];
    for (const { objects } of await rendered) {
      for (const [i, object] of objects.entries()) {
        const words = object.phrase.split(' ').filter(word => !word.endsWith('most'));
        expect(fits(object, words)).toBe(true);
        all++;
        if (!isNamedAlone(objects, i)) continue;
        alone++;
        const [position] = object.phrase.split(' ');
        const others = objects.filter((other, j) => j !== i && fits(other, words));
        for (const other of others) expect(leads(position ?? '', object, other)).toBe(true);
      }
    }
    expect(alone / all).toBeGreaterThan(0.95);
  });

  it('state relations that hold, from both sides', async () => {
    for (const { objects, relations } of await rendered) {
      for (const { subject, predicate, object } of relations) {
        const [a, b] = [objects[subject] as ObjectAnnotation, objects[object] as ObjectAnnotation];
        expect(holds(predicate, a, b)).toBe(true);
        const inverse = INVERSE[predicate];
        if (!inverse) continue;
        const back = relations.some(
          r => r.subject === object && r.object === subject && r.predicate === inverse,
        );
        expect(back).toBe(true);
      }
    }
  });

  it('are coloured as they say', async () => {
    for (const record of (await rendered).slice(0, 40)) {
      const pixels = await pixelsOf(record);
      for (const { attributes, mask } of record.objects) {
        if (!mask || !attributes.includes('plain') || areaOf(mask) < 40) continue;
        const { data } = decodeMask(mask);
        const sums = [0, 0, 0];
        for (let i = 0; i < data.length; i++) {
          if (data[i]) for (const c of [0, 1, 2]) sums[c] = (sums[c] ?? 0) + (pixels[3 * i + c] ?? 0);
        }
        const mean = sums.map(sum => sum / areaOf(mask));
        expect(attributes).toContain(nearestColour(mean));
      }
    }
  });

  it('show everything there is to show', async () => {
    const records = await rendered;
    const words = new Set(records.flatMap(({ objects }) => objects.flatMap(o => [o.label, ...o.attributes])));
    const expected = [...SHAPES, 'digit', ...COLOURS, ...options.textures, 'large'];
    expect(expected.filter(word => !words.has(word))).toEqual([]);
    const sizes = new Set(records.map(({ width, height }) => `${width}x${height}`));
    expect([...sizes].sort()).toEqual(['40x100', '64x64', '96x48']);
    const predicates = new Set(records.flatMap(({ relations }) => relations.map(r => r.predicate)));
    const possible = options.minVisible === 1 ? PREDICATES.slice(0, 4) : PREDICATES;
    expect([...predicates].sort()).toEqual([...possible].sort());
  });
});

function fits({ label, attributes }: ObjectAnnotation, words: readonly string[]): boolean {
  return words.every(word => word === label || attributes.includes(word));
}

const centre = ({ box }: ObjectAnnotation) => ({ x: (box.x1 + box.x2) / 2, y: (box.y1 + box.y2) / 2 });

function leads(position: string, a: ObjectAnnotation, b: ObjectAnnotation): boolean {
  const [p, q] = [centre(a), centre(b)];
  const tests: Record<string, boolean> = {
    leftmost: p.x < q.x,
    rightmost: p.x > q.x,
    topmost: p.y < q.y,
    bottommost: p.y > q.y,
  };
  return tests[position] ?? false;
}

const INVERSE: Readonly<Record<string, string>> = {
  'left of': 'right of',
  'right of': 'left of',
  above: 'below',
  below: 'above',
  overlapping: 'overlapping',
};

function holds(predicate: string, a: ObjectAnnotation, b: ObjectAnnotation): boolean {
  const [p, q] = [centre(a), centre(b)];
  // A thin tip below another object ends a pixel or two before it.
  const gapX = Math.max(a.box.x1 - b.box.x2, b.box.x1 - a.box.x2);
  const touching = Math.max(gapX, a.box.y1 - b.box.y2, b.box.y1 - a.box.y2) <= 2;
  const tests: Record<string, boolean> = {
    'left of': p.x < q.x,
    'right of': p.x > q.x,
    above: p.y < q.y,
    below: p.y > q.y,
    overlapping: touching,
    // The visible part of the outer one may be smaller than its whole; the inner one's centre stays within.
    inside: p.x > b.box.x1 && p.x < b.box.x2 && p.y > b.box.y1 && p.y < b.box.y2,
  };
  return tests[predicate] ?? false;
}

/** What a person would call a colour, by the nearest of plain definitions. */
function nearestColour(rgb: readonly number[]): string {
  const definitions: Record<(typeof COLOURS)[number], readonly [number, number, number]> = {
    red: [220, 30, 30],
    green: [40, 160, 60],
    blue: [40, 80, 225],
    yellow: [245, 220, 40],
    orange: [245, 140, 30],
    purple: [130, 50, 170],
    cyan: [50, 205, 225],
    pink: [250, 150, 195],
  };
  const distance = (name: (typeof COLOURS)[number]) =>
    definitions[name].reduce((sum, value, c) => sum + (value - (rgb[c] ?? 0)) ** 2, 0);
  return COLOURS.reduce((best, name) => (distance(name) < distance(best) ? name : best));
}

describe('visible shares', () => {
  it.each([0.4, 0.6, 0.9])('no object keeps less than %d of its pixels', minVisible => {
    const image = { width: 80, height: 60 };
    const options = sceneOptions('hard', { minVisible, sizes: [image] });
    const shares = Array.from({ length: 80 }, (_, i) => layOut(new Random(i), image, 6, options)).flatMap(
      layout =>
        layout
          ? layout.placed.map(({ coverage }, owner) => {
              const visible = layout.owners.filter(o => o === owner).length;
              return visible / filledPixels(coverage);
            })
          : [],
    );
    expect(shares.length).toBeGreaterThan(200);
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(minVisible);
    expect(Math.min(...shares)).toBeLessThan(minVisible + 0.1);
    expect(Math.max(...shares)).toBe(1);
  });

  it('without overlaps boxes stay apart', async () => {
    for (const { objects, relations } of await scenes(60, { minVisible: 1 })) {
      expect(relations.filter(r => r.predicate === 'overlapping' || r.predicate === 'inside')).toEqual([]);
      for (const [i, a] of objects.entries()) {
        for (const b of objects.slice(i + 1)) {
          const apart =
            a.box.x2 < b.box.x1 || b.box.x2 < a.box.x1 || a.box.y2 < b.box.y1 || b.box.y2 < a.box.y1;
          expect(apart).toBe(true);
        }
      }
    }
  });
});

describe('shapes', () => {
  it('are all different, and reach the edges of their square', () => {
    const grid = Array.from(
      { length: 41 * 41 },
      (_, i) => [(i % 41) / 20 - 1, Math.floor(i / 41) / 20 - 1] as const,
    );
    const looks = [
      ...SHAPES.map(label => insideOf(label, null)),
      ...DIGITS.map(text => insideOf('digit', text)),
    ].map(test => grid.map(([x, y]) => (test(x, y) ? 1 : 0)).join(''));
    for (const [i, a] of looks.entries()) {
      for (const b of looks.slice(i + 1)) {
        const different = [...a].filter((pixel, p) => pixel !== b[p]).length;
        expect(different).toBeGreaterThan(40);
      }
      const rows = grid.flatMap(([, y], p) => (a[p] === '1' ? y : []));
      expect(Math.min(...rows)).toBeLessThanOrEqual(-0.85);
      expect(Math.max(...rows)).toBeGreaterThanOrEqual(0.85);
    }
  });
});

describe('options', () => {
  it('replace those of the preset', () => {
    expect(sceneOptions('easy', { objects: [2, 2] })).toEqual({ ...SCENE_PRESETS.easy, objects: [2, 2] });
  });

  it.each([
    ['objects', { objects: [3, 2] }],
    ['objects', { objects: [0, 2] }],
    ['objects', { objects: [1, 13] }],
    ['scale', { scale: [0, 0.2] }],
    ['sizes', { sizes: [] }],
    ['sizes', { sizes: [{ width: 8, height: 64 }] }],
    ['minVisible', { minVisible: 0 }],
    ['labels', { labels: [] }],
  ] as const)('%s of %o is out of range', (name, overrides) => {
    expect(() => sceneOptions('normal', overrides)).toThrow(`scene option ${name} is out of range`);
  });

  it('that leave no room are refused, not looped over', async () => {
    const crowded = { objects: [12, 12], scale: [0.9, 0.9], minVisible: 1 } as const;
    await expect(renderScene(1, 0, crowded)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('12 objects'),
    });
  });
});

it('vocabulary: each word once, in order, nothing but words', () => {
  expect([...SCENE_WORDS]).toEqual([...new Set(SCENE_WORDS)].sort());
  expect(SCENE_WORDS.every(word => /^[a-z]+$|^[0-9]$/.test(word))).toBe(true);
  expect(SCENE_WORDS).toEqual(expect.arrayContaining([...COLOURS, ...TEXTURES, ...SIZES, 'crosses', 'of']));
});
