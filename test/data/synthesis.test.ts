import { createHash } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PixelBox } from '../../src/data/box.ts';
import { openDataset } from '../../src/data/dataset.ts';
import { decodeImage } from '../../src/data/image.ts';
import type { Annotations, ImageRecord, ObjectAnnotation } from '../../src/data/record.ts';
import { piecesText } from '../../src/data/render.ts';
import type { Rgb } from '../../src/data/resample.ts';
import { decodeMask } from '../../src/data/rle.ts';
import { writeShards } from '../../src/data/shards.ts';
import { renderScene, renderScenes } from '../../src/data/sources/scenes.ts';
import { balance, CandidateList } from '../../src/data/synthesis/balance.ts';
import { cellBox, compose, cropWindow, cutCrop, layoutOf } from '../../src/data/synthesis/crops.ts';
import { chooseObjects, uniquePhrase, usableObjects } from '../../src/data/synthesis/objects.ts';
import { comparisonOf, positionOf } from '../../src/data/synthesis/relations.ts';
import { candidatesOf } from '../../src/data/synthesis/samples.ts';
import { type SynthesizeOptions, synthesize } from '../../src/data/synthesis/synthesize.ts';
import { QUESTIONS, SYNTHESIS_TASKS } from '../../src/data/synthesis/wording.ts';
import { taskContext } from '../../src/data/tasks/context.ts';
import { conversationOf } from '../../src/data/tasks/index.ts';
import { problemsOf } from '../../src/data/validate.ts';
import { box } from './loader-records.ts';

const thing = (label: string, at: PixelBox, more: Partial<ObjectAnnotation> = {}): ObjectAnnotation => ({
  label,
  phrase: label,
  attributes: [],
  box: at,
  ...more,
});
const picture = (objects: readonly ObjectAnnotation[]): Annotations => ({
  id: 'p',
  width: 400,
  height: 200,
  captions: [],
  objects,
  relations: [],
});

describe('objects', () => {
  it('are single, large enough and annotated once', () => {
    const usable = usableObjects(
      picture([
        thing('dog', box(0, 0, 100, 100)),
        thing('dog', box(1, 0, 100, 100)),
        thing('cat', box(1, 0, 100, 100)),
        thing('fly', box(0, 0, 15, 100)),
        thing('ant', box(0, 0, 16, 16)),
        thing('sheep', box(0, 0, 300, 100), { crowd: true }),
      ]),
    );
    expect(usable.map(({ index }) => index)).toEqual([0, 2, 4]);
    // A 0.1 % share of the image.
    expect(
      usableObjects({ ...picture([thing('ant', box(0, 0, 16, 16))]), width: 1000, height: 1000 }),
    ).toEqual([]);
  });

  it('with words of their own come first, then the larger ones, at most eight, none on top of another', () => {
    const chosen = chooseObjects(
      picture([
        thing('dog', box(0, 0, 200, 200)),
        thing('dog', box(200, 0, 400, 200)),
        thing('dog', box(100, 0, 300, 200)),
        thing('cat', box(0, 0, 40, 40)),
        thing('hat', box(0, 0, 42, 40)),
      ]),
    );
    expect(chosen.map(({ object, phrase }) => [object.label, phrase])).toEqual([
      ['dog', 'first dog from the left'],
      ['dog', 'third dog from the left'],
      ['dog', 'second dog from the left'],
      ['hat', 'hat'],
    ]);
    const many = Array.from({ length: 12 }, (_, i) => thing(`l${i}`, box(30 * i, 0, 30 * i + 25, 30)));
    expect(chooseObjects(picture(many))).toHaveLength(8);
  });

  it('are told apart by expression, label, attributes, phrase, landmark, place in the row, or not at all', () => {
    const [left, right] = [box(0, 80, 40, 120), box(340, 80, 380, 120)];
    const phraseOf = (...objects: ObjectAnnotation[]) => uniquePhrase(picture(objects), 0);
    expect(phraseOf(thing('dog', left, { expressions: ['that one'] }), thing('dog', right))).toBe('that one');
    expect(phraseOf(thing('dog', left), thing('cat', right))).toBe('dog');
    expect(phraseOf(thing('dog', left, { attributes: ['red', '7'] }), thing('cat', right))).toBe('red dog 7');
    expect(
      phraseOf(thing('dog', left, { attributes: ['red'] }), thing('dog', right, { attributes: ['blue'] })),
    ).toBe('red dog');
    expect(phraseOf(thing('dog', left, { phrase: 'wet dog' }), thing('dog', right))).toBe('wet dog');
    expect(phraseOf(thing('dog', left), thing('dog', right), thing('tree', box(180, 80, 220, 120)))).toBe(
      'dog left of the tree',
    );
    expect(phraseOf(thing('dog', right), thing('dog', left))).toBe('second dog from the left');
    expect(phraseOf(thing('dog', left), thing('dog', box(2, 0, 42, 40)))).toBeNull();
    expect(phraseOf(thing('dog', left), thing('dog', right, { crowd: true }))).toBeNull();
    expect(phraseOf(thing('dog', left, { crowd: true }))).toBeNull();
  });
});

describe('relations', () => {
  const size = { width: 100, height: 100 };
  it.each([
    [box(0, 40, 10, 50), box(50, 42, 60, 52), 'left of'],
    [box(50, 40, 60, 50), box(0, 42, 10, 52), 'right of'],
    [box(40, 0, 50, 10), box(42, 50, 52, 60), 'above'],
    [box(40, 50, 50, 60), box(42, 0, 52, 10), 'below'],
    [box(40, 40, 50, 50), box(0, 0, 100, 100), 'inside'],
    [box(0, 0, 100, 100), box(40, 40, 50, 50), null],
    [box(0, 0, 40, 40), box(10, 0, 50, 40), 'overlapping'],
    // Diagonal, and too near.
    [box(0, 0, 10, 10), box(50, 50, 60, 60), null],
    [box(40, 40, 44, 44), box(45, 45, 49, 49), null],
  ])('%o to %o', (a, b, expected) => {
    expect(positionOf(a, b, size)).toBe(expected);
  });

  it('compares areas beyond a factor of two', () => {
    const at = (side: number) => box(0, 0, side, 10);
    expect(comparisonOf(at(21), at(10))).toBe('larger than');
    expect(comparisonOf(at(10), at(21))).toBe('smaller than');
    expect(comparisonOf(at(20), at(10))).toBeNull();
  });
});

/** A picture of one colour. */
function flat(width: number, height: number, colour: readonly number[]): Rgb {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) data[i] = colour[i % 3]!;
  return { width, height, data };
}

function pixel({ width, data }: Rgb, x: number, y: number): number[] {
  return [...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];
}

describe('crops', () => {
  it('stand in a strip beside the scene, which keeps its pixels', () => {
    const scene = flat(120, 200, [9, 8, 7]);
    const crops = [flat(40, 20, [255, 0, 0]), flat(10, 40, [0, 255, 0])];
    const canvas = compose(scene, crops);
    expect({ width: canvas.width, height: canvas.height }).toEqual(layoutOf(scene).size);
    for (const [x, y] of [
      [0, 0],
      [119, 199],
    ] as const)
      expect(pixel(canvas, x, y)).toEqual([9, 8, 7]);
    for (const [i, colour] of [
      [255, 0, 0],
      [0, 255, 0],
    ].entries()) {
      const { x1, y1, x2, y2 } = cellBox(scene, i);
      expect(pixel(canvas, Math.floor((x1 + x2) / 2), Math.floor((y1 + y2) / 2))).toEqual(colour);
    }
    const third = cellBox(scene, 2);
    expect(pixel(canvas, third.x1 + 5, third.y1 + 5)).toEqual([128, 128, 128]);
  });

  it('show their box with a tenth around it, whatever its place and change', () => {
    expect(
      cropWindow({ box: box(10, 20, 30, 40), change: { kind: 'none' } }, { width: 100, height: 100 }),
    ).toEqual(box(8, 18, 32, 42));
    const side = fc.integer({ min: 1, max: 90 });
    fc.assert(
      fc.property(
        side,
        side,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.constantFrom(
          { kind: 'none' } as const,
          { kind: 'flip' } as const,
          { kind: 'scale', factor: 1.3 } as const,
          { kind: 'scale', factor: 0.7 } as const,
          { kind: 'brightness', factor: 1.2 } as const,
          { kind: 'jitter', dx: -0.05, dy: 0.05 } as const,
        ),
        (w, h, x, y, change) => {
          const scene = flat(90, 90, [100, 100, 100]);
          const [x1, y1] = [x * (90 - w), y * (90 - h)];
          const crop = cutCrop(scene, { box: box(x1, y1, x1 + w, y1 + h), change }, scene);
          const { cell, size } = layoutOf(scene);
          expect(Math.max(crop.width, crop.height)).toBeLessThanOrEqual(cell);
          expect(Math.max(crop.width, crop.height)).toBeGreaterThanOrEqual(32);
          expect(Math.min(crop.width, crop.height)).toBeGreaterThan(0);
          expect(crop.data.every(level => level === (change.kind === 'brightness' ? 120 : 100))).toBe(true);
          const last = cellBox(scene, 3);
          expect(last.y2).toBeLessThanOrEqual(size.height);
          expect(last.x2).toBe(size.width);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('are mirrored when flipped', () => {
    const scene = flat(64, 64, [0, 0, 0]);
    for (let y = 0; y < 64; y++) scene.data.fill(255, y * 64 * 3, (y * 64 + 32) * 3);
    const shown = (kind: 'none' | 'flip') =>
      cutCrop(scene, { box: box(0, 0, 64, 64), change: { kind } }, scene);
    expect(pixel(shown('none'), 1, 5)).toEqual([255, 255, 255]);
    expect(pixel(shown('flip'), 1, 5)).toEqual([0, 0, 0]);
  });
});

describe('balance', () => {
  const listed = (entries: readonly (readonly [task: number, label: string | null])[]) => {
    const list = new CandidateList();
    for (const [i, [task, label]] of entries.entries()) list.add(i, 0, task, label, (i * 2654435761) >>> 0);
    return list;
  };

  it('caps tasks at 1.2 times the fewest, labels at their share, all at the count', () => {
    const entry = fc.tuple(
      fc.integer({ min: 0, max: 3 }),
      fc.option(fc.integer({ min: 0, max: 90 }).map(n => `label ${n}`)),
    );
    fc.assert(
      fc.property(
        fc.array(entry, { minLength: 1, maxLength: 600 }),
        fc.integer({ min: 1, max: 700 }),
        (entries, most) => {
          const list = listed(entries);
          const { kept, labelShare } = balance(list, 4, most);
          const tasks = new Map<number, number>();
          const labels = new Map<number, number>();
          for (const at of kept) {
            tasks.set(list.task(at), (tasks.get(list.task(at)) ?? 0) + 1);
            if (list.label(at) > 0) labels.set(list.label(at), (labels.get(list.label(at)) ?? 0) + 1);
          }
          expect(new Set(kept).size).toBe(kept.length);
          expect(kept.length).toBeLessThanOrEqual(most);
          expect(Math.max(0, ...tasks.values())).toBeLessThanOrEqual(
            Math.max(1, 1.2 * Math.min(...tasks.values())),
          );
          expect(Math.max(0, ...labels.values())).toBeLessThanOrEqual(Math.max(1, labelShare * kept.length));
        },
      ),
    );
  });

  it('keeps all that is balanced already, and takes by priority what is not', () => {
    const even = Array.from({ length: 400 }, (_, i) => [i % 4, `label ${i % 100}`] as const);
    expect(balance(listed(even), 4, 1e9).kept).toHaveLength(400);
    const list = listed(even.map(([task, label]) => [task === 0 ? 0 : 1, label] as const));
    const { kept } = balance(list, 2, 1e9);
    expect([...kept].filter(at => list.task(at) === 0)).toHaveLength(100);
    expect(kept).toHaveLength(220);
  });
});

describe('samples of scenes', () => {
  let scenes: ImageRecord[];
  beforeAll(async () => {
    scenes = await Promise.all(Array.from({ length: 30 }, (_, i) => renderScene(5, i)));
  });

  it('name one object alone, by words that are true of it', () => {
    for (const scene of scenes) {
      const phrases = chooseObjects(scene).flatMap(({ phrase }) => phrase ?? []);
      expect(new Set(phrases).size).toBe(phrases.length);
    }
  });

  it('every box is an object, every number of a choice the crop that shows it', () => {
    const tasks = new Map<string, number>();
    let [none, choices] = [0, 0];
    for (const scene of scenes) {
      for (const { task, objects, label, write } of candidatesOf(scene, 1)) {
        tasks.set(task, (tasks.get(task) ?? 0) + 1);
        const { round, crops } = write(() => [{ image: 99, box: box(0, 0, 20, 20) }]);
        for (const piece of round.answer) {
          if (piece.kind === 'box') expect(scene.objects.map(object => object.box)).toContainEqual(piece.box);
        }
        const own = scene.objects[objects[0]!]!;
        if (task !== 'global') expect(own.label).toBe(label);
        const answer = piecesText(round.answer, scene, 1000);
        const isOwn = crops.map(crop => crop.image === undefined && crop.box === own.box);
        if (task === 'text-to-crop' || task === 'box-to-crop') {
          choices++;
          if (answer === 'None of these.') none++;
          expect(isOwn.indexOf(true)).toBe(answer === 'None of these.' ? -1 : Number(answer) - 1);
          expect(crops.length).toBeLessThanOrEqual(4);
        } else if (task === 'text-and-box-to-crop') {
          expect(answer).toBe(isOwn[0] ? 'Yes.' : 'No.');
        } else if (/crop/.test(task)) expect(isOwn).toEqual([true]);
        else expect(crops).toEqual([]);
      }
    }
    expect([...tasks.keys()].sort()).toEqual([...SYNTHESIS_TASKS].sort());
    expect(none / choices).toBeGreaterThan(0.05);
    expect(none / choices).toBeLessThan(0.27);
  });

  it('a relation is asked of the only object that stands in it', () => {
    let asked = 0;
    const seeds = [0, 1, 2, 3, 4, 5];
    for (const scene of scenes) {
      for (const { task, objects, write } of seeds.flatMap(seed =>
        candidatesOf({ ...scene, relations: [] }, seed),
      )) {
        if (task !== 'relation') continue;
        const { answer } = write(() => []).round;
        const own = scene.objects[objects[0]!]!;
        const at = answer.find(piece => piece.kind === 'box');
        if (at) {
          asked++;
          expect(at.box).toEqual(own.box);
        } else
          expect(piecesText(answer, scene, 1000)).toMatch(
            /^(left of|right of|above|below|inside|overlapping|larger than|smaller than)$/,
          );
      }
    }
    expect(asked).toBeGreaterThan(5);
  });

  it('has eight phrasings a task', () => {
    for (const questions of Object.values(QUESTIONS))
      expect(new Set(questions).size).toBeGreaterThanOrEqual(8);
  });
});

describe('a synthesized dataset', () => {
  const root = mkdtempSync(join(tmpdir(), 'ground-test-'));
  afterAll(() => rm(root, { recursive: true, force: true }));
  const [input, evaluation] = ['input', 'eval'].map(name => join(root, name)) as [string, string];
  const run = (out: string, options: Partial<SynthesizeOptions> = {}) =>
    synthesize({
      datasets: [input],
      exclude: [],
      out: join(root, out),
      seed: 1,
      overwrite: true,
      ...options,
    });
  const bytesOf = async (name: string) => {
    const hash = createHash('sha256');
    const dir = join(root, name);
    for (const file of (await readdir(dir)).sort()) {
      if (file.endsWith('.arrow')) hash.update(await readFile(join(dir, file)));
    }
    return hash.digest('hex');
  };
  const recordsOf = async (dir: string): Promise<ImageRecord[]> => {
    const dataset = await openDataset(dir);
    try {
      return await Promise.all(Array.from({ length: dataset.rows }, (_, row) => dataset.read(row)));
    } finally {
      await dataset.close();
    }
  };

  beforeAll(async () => {
    await writeShards(renderScenes(21, 24), input, { builder: 'test', source: {} });
    await writeShards(renderScenes(22, 6), evaluation, { builder: 'test', source: {} });
    await run('made');
  });

  it('is valid, balanced, and trains as conversations', async () => {
    const { report, manifest } = await run('again');
    const rows = await recordsOf(join(root, 'again'));
    expect(rows).toHaveLength(report.rows);
    expect(new Set(rows.map(row => row.id)).size).toBe(rows.length);
    const counts = Object.values(report.tasks);
    expect(Math.max(...counts)).toBeLessThanOrEqual(1.2 * Math.min(...counts));
    expect(report.largestLabel).toBeLessThanOrEqual(report.labelShare);
    expect(manifest.source).toMatchObject({ seed: 1, tasks: report.tasks });
    for (const row of rows) {
      expect(await problemsOf(row)).toEqual([]);
      expect(conversationOf(row, 'conversation', taskContext())?.rounds).toHaveLength(1);
      const question = row.conversations?.[0]?.rounds[0]?.question ?? [];
      expect(piecesText(question, row, 1000)).not.toMatch(/[{}]/);
    }
  });

  it('is the same for the same seed, to the byte, and another for another', async () => {
    await run('same');
    await run('other', { seed: 2 });
    const made = await bytesOf('made');
    expect(await bytesOf('same')).toBe(made);
    expect(await bytesOf('other')).not.toBe(made);
  });

  it('boxes lie on their objects after the strip was added: the pixels under them are those of the scene', async () => {
    const scenes = new Map((await recordsOf(input)).map(scene => [scene.id, scene]));
    let checked = 0;
    for (const row of await recordsOf(join(root, 'made'))) {
      const scene = scenes.get(row.id.split('#')[0]!)!;
      if (row.width === scene.width) continue;
      const [canvas, original] = [await decodeImage(row), await decodeImage(scene)];
      for (const { box: at, label } of row.objects) {
        const object = scene.objects.find(
          one => one.label === label && one.box.x1 === at.x1 && one.box.y1 === at.y1,
        )!;
        const mask = decodeMask(object.mask!);
        for (let y = at.y1; y < at.y2; y++) {
          for (let x = at.x1; x < at.x2; x++) {
            if (mask.data[y * scene.width + x]) {
              checked++;
              if (pixel(canvas, x, y).join() !== pixel(original, x, y).join())
                throw new Error(`${row.id} at ${x}, ${y}`);
            }
          }
        }
      }
    }
    expect(checked).toBeGreaterThan(1000);
  });

  it('uses no image of an evaluation set, neither by id nor saved anew, and none twice', async () => {
    const scenes = await recordsOf(evaluation);
    const own = await recordsOf(input);
    const saved = async (record: ImageRecord, id: string): Promise<ImageRecord> => {
      const [width, height] = [Math.round(record.width * 0.95), Math.round(record.height * 0.95)];
      const image = new Uint8Array(
        await sharp(record.image).resize(width, height, { fit: 'fill' }).jpeg({ quality: 75 }).toBuffer(),
      );
      const objects = record.objects.map(({ mask: _, box: at, ...rest }) => ({
        ...rest,
        box: box(at.x1 * 0.95, at.y1 * 0.95, at.x2 * 0.95, at.y2 * 0.95),
      }));
      return { ...record, id, image, width, height, objects };
    };
    const mixed = join(root, 'mixed');
    const copies = await Promise.all(scenes.slice(0, 4).map((scene, i) => saved(scene, `copy-${i}`)));
    const listed = [
      ...own.slice(0, 8),
      ...copies,
      { ...own[9]!, id: scenes[5]!.id },
      own[0]!,
      { ...own[1]!, id: 'x' },
    ];
    const broken = { ...own[2]!, id: 'broken', image: Uint8Array.of(1, 2, 3) };
    const text = { ...own[3]!, id: 'text', image: new Uint8Array(0), width: 0, height: 0, objects: [] };
    const bare = { ...own[10]!, objects: [] };
    await writeShards([...listed, broken, text, bare], mixed, { builder: 'test', source: {} });
    const { report } = await run('guarded', { datasets: [mixed], exclude: [evaluation] });
    expect(report.leftOut).toEqual({
      'in an evaluation set, by its looks': 4,
      'in an evaluation set, by id': 1,
      'there twice, by id': 1,
      'there twice, by its looks': 1,
      'not readable': 1,
      'no image': 1,
      'no object large enough': 1,
    });
    const used = new Set((await recordsOf(join(root, 'guarded'))).map(row => row.id.split('#')[0]));
    for (const id of used) expect(own.slice(0, 8).map(scene => scene.id)).toContain(id);
    // Without the guard the copies are used.
    const { report: unguarded } = await run('unguarded', { datasets: [mixed] });
    expect(unguarded.leftOut['in an evaluation set, by its looks']).toBeUndefined();
  });

  it('has no more samples than asked for, spread over the tasks', async () => {
    const { report } = await run('few', { count: 20 });
    expect(report.rows).toBeLessThanOrEqual(20);
    expect(report.rows).toBeGreaterThanOrEqual(15);
    expect(Object.values(report.tasks).every(count => count > 0)).toBe(true);
  });

  it('is not made of nothing, and an old one is then still there', async () => {
    await expect(run('made', { exclude: [input] })).rejects.toThrow(
      /no sample can be made .*24 in an evaluation set/,
    );
    expect((await recordsOf(join(root, 'made'))).length).toBeGreaterThan(0);
    await expect(run('made', { overwrite: false })).rejects.toThrow(/holds a dataset already/);
    await expect(run('new', { datasets: [join(root, 'nowhere')] })).rejects.toThrow(/no dataset in/);
  });
});
