import { describe, expect, it } from 'vitest';
import type { SourceOptions } from '../../../src/data/sources/source.ts';
import { visualGenome } from '../../../src/data/sources/visual-genome.ts';
import { plainImage } from '../sample-records.ts';
import { filesIn, readAll } from './files.ts';

const url = (id: number, folder = 'VG_100K') => `https://example.org/rak248/${folder}/${id}.jpg`;
const object = (id: number, x: number, names: unknown, more: object = {}) => ({
  object_id: id,
  x,
  y: 5,
  w: 10,
  h: 8,
  names,
  synsets: ['dog.n.01'],
  ...more,
});

const FILES = {
  'image-data': [
    { image_id: 2, url: url(2, 'VG_100K_2'), width: 40, height: 30, coco_id: null },
    { image_id: 1, url: url(1), width: 40, height: 30, coco_id: 7 },
  ],
  objects: [
    {
      image_id: 1,
      objects: [
        object(10, 0, ['Dog']),
        object(11, 20, ['dog']),
        object(12, 5, ['water  bowl'], { merged_object_ids: [13] }),
      ],
    },
    { image_id: 2, objects: [object(20, 3, ['tree'])] },
  ],
  attributes: [
    {
      image_id: 1,
      attributes: [
        object(10, 0, ['dog'], { attributes: ['Brown ', 'small', 'brown'] }),
        object(11, 20, ['dog'], { attributes: ['small'] }),
        object(12, 5, ['water bowl']),
        object(14, 30, ['ball'], { attributes: ['red'] }),
      ],
    },
  ],
  relationships: [
    {
      image_id: 1,
      relationships: [
        {
          relationship_id: 1,
          predicate: 'NEXT to',
          subject: object(10, 0, undefined, { name: 'dog' }),
          object: object(13, 5, ['bowl']),
        },
        {
          relationship_id: 2,
          predicate: 'looks at',
          subject: object(11, 20, ['dog']),
          object: object(15, 12, undefined, { name: 'cat' }),
        },
      ],
    },
  ],
  regions: [
    {
      id: 1,
      regions: [
        {
          region_id: 5,
          image_id: 1,
          x: 0,
          y: 0,
          width: 20,
          height: 20,
          phrase: 'a  brown dog\nbeside a bowl ',
        },
        { region_id: 6, image_id: 1, x: 30, y: 20, width: 20, height: 20, phrase: 'café 🐈' },
      ],
    },
    { id: 2, regions: [] },
  ],
};

type Name = keyof typeof FILES;

async function folderOf(
  files: Partial<Record<Name, unknown>> = FILES,
  images: readonly string[] = ['VG_100K/1.jpg', 'VG_100K_2/2.jpg'],
): Promise<SourceOptions> {
  const png = await plainImage(40, 30);
  const folder = filesIn({
    ...Object.fromEntries(Object.entries(files).map(([name, json]) => [`${name}.json`, json])),
    ...Object.fromEntries(images.map(name => [`images/${name}`, png])),
  });
  const given = Object.keys(files).map(name => [name, [`${folder}/${name}.json`]]);
  return { inputs: { ...Object.fromEntries(given), images: [`${folder}/images`] } };
}

describe("Visual Genome's files", () => {
  it('become objects with attributes, relations among them, and regions', async () => {
    const { records, report, listed } = await readAll(visualGenome, await folderOf());
    expect(listed).toBe(2);
    expect(records.map(({ id, width, height }) => [id, width, height])).toEqual([
      ['vg-1', 40, 30],
      ['vg-2', 40, 30],
    ]);
    const [first, second] = records;
    expect(
      first?.objects.map(({ label, phrase, attributes, box }) => [label, phrase, attributes, box.x1, box.x2]),
    ).toEqual([
      ['dog', 'brown dog', ['brown', 'small'], 0, 10],
      ['dog', 'dog', ['small'], 20, 30],
      ['water bowl', 'water bowl', [], 5, 15],
      ['ball', 'ball', ['red'], 30, 40],
      ['cat', 'cat', [], 12, 22],
    ]);
    expect(first?.relations).toEqual([
      { subject: 0, predicate: 'next to', object: 2 },
      { subject: 1, predicate: 'looks at', object: 4 },
    ]);
    expect(first?.regions).toEqual([
      { phrase: 'a brown dog beside a bowl', box: { space: 'pixels', x1: 0, y1: 0, x2: 20, y2: 20 } },
      { phrase: 'café 🐈', box: { space: 'pixels', x1: 30, y1: 20, x2: 40, y2: 30 } },
    ]);
    expect(second).toMatchObject({ objects: [{ label: 'tree' }], relations: [], regions: [] });
    expect(report).toMatchObject({
      counts: { images: 2, objects: 6, attributes: 4, relations: 2, 'described regions': 2 },
      skipped: {},
      mended: { 'box cut at the edge of the image': 1 },
    });
  });

  it('are each optional, but one is needed', async () => {
    for (const name of ['objects', 'attributes', 'relationships', 'regions'] as const) {
      const { records } = await readAll(
        visualGenome,
        await folderOf({ 'image-data': FILES['image-data'], [name]: FILES[name] }),
      );
      expect(
        records.map(({ id }) => id),
        name,
      ).toContain('vg-1');
    }
    const none = await folderOf({ 'image-data': FILES['image-data'] });
    await expect(readAll(visualGenome, none)).rejects.toMatchObject({
      code: 'usage',
      message: 'no annotation file was given',
    });
    const { 'image-data': _, ...rest } = FILES;
    await expect(readAll(visualGenome, await folderOf(rest))).rejects.toMatchObject({ code: 'usage' });
    await expect(readAll(visualGenome, { ...(await folderOf()), split: 'train' })).rejects.toMatchObject({
      code: 'usage',
    });
  });

  it('find images in either folder, or in one without them', async () => {
    for (const names of [
      ['VG_100K_2/1.jpg', 'VG_100K/2.jpg'],
      ['1.jpg', '2.jpg'],
    ]) {
      const { records } = await readAll(visualGenome, await folderOf(FILES, names));
      expect(records.map(({ id }) => id)).toEqual(['vg-1', 'vg-2']);
    }
    const apart = await folderOf();
    const [folder] = apart.inputs.images ?? [];
    const images = [`${folder}/VG_100K`, `${folder}/VG_100K_2`];
    expect((await readAll(visualGenome, { inputs: { ...apart.inputs, images } })).records).toHaveLength(2);
    const { records, report } = await readAll(visualGenome, await folderOf(FILES, ['VG_100K_2/2.jpg']));
    expect(records.map(({ id }) => id)).toEqual(['vg-2']);
    expect(report.skipped).toEqual({ 'image file missing': 1 });
  });

  it('may be odd in every entry', async () => {
    const files = {
      'image-data': [
        { image_id: 1, url: 'nowhere' },
        { image_id: 1, url: url(1) },
        { url: url(3) },
        { image_id: 4, url: url(4), width: 30, height: 40 },
      ],
      objects: [
        {
          image_id: 1,
          objects: [
            object(1, -4, ['dog']),
            object(2, 35, ['dog']),
            object(3, 50, ['dog']),
            object(4, 3, ['dog'], { w: 0 }),
            object(5, 3, ['dog'], { h: -2 }),
            object(6, 3, ['dog'], { x: '3' }),
            object(7, 3, [], { synsets: [] }),
            object(8, 3, [''], { synsets: ['fire_hydrant.n.01'] }),
            object(1, 20, ['another word for the same']),
            'text',
            { ...object(9, 3, ['no id']), object_id: undefined },
          ],
        },
        { image_id: 99, objects: [] },
        { image_id: 4, objects: [object(30, 3, ['cat'])] },
      ],
      attributes: [
        {
          image_id: 1,
          attributes: [
            object(3, 50, ['dog'], { attributes: ['lost'] }),
            object(2, 3, ['dog'], { attributes: [3, ' '] }),
          ],
        },
      ],
      relationships: [
        {
          image_id: 1,
          relationships: [
            { predicate: 'on', subject: object(1, 0, ['dog']), object: object(2, 0, ['dog']) },
            { predicate: 'ON ', subject: object(1, 0, ['dog']), object: object(2, 0, ['dog']) },
            { predicate: 'on', subject: object(1, 0, ['dog']), object: object(3, 50, ['dog']) },
            { predicate: 'on', subject: object(1, 0, ['dog']), object: object(1, 0, ['dog']) },
            { predicate: ' ', subject: object(1, 0, ['dog']), object: object(2, 0, ['dog']) },
            { predicate: 'on', subject: object(1, 0, ['dog']) },
            null,
          ],
        },
      ],
      regions: [
        { id: 1, regions: [{ x: 1, y: 1, width: 5, height: 5, phrase: '' }, { x: 1, y: 1, phrase: 'x' }, 7] },
      ],
    };
    const { records, report } = await readAll(visualGenome, await folderOf(files, ['1.jpg', '4.jpg']));
    expect(records.map(({ id }) => id)).toEqual(['vg-1']);
    expect(
      records[0]?.objects.map(({ label, attributes, box }) => [label, attributes, box.x1, box.x2]),
    ).toEqual([
      ['dog', [], 0, 6],
      ['dog', [], 35, 40],
      ['fire hydrant', [], 3, 13],
      ['no id', [], 3, 13],
    ]);
    expect(records[0]?.relations).toEqual([{ subject: 0, predicate: 'on', object: 1 }]);
    expect(report.mended).toEqual({ 'box cut at the edge of the image': 2 });
    expect(report.skipped).toEqual({
      'image listed twice': 1,
      'image without an id': 1,
      'image of another size than annotated': 1,
      'objects of an image that image_data.json does not list': 1,
      'box outside of the image': 1,
      'box without area': 1,
      'inverted box': 1,
      'box that is not four numbers': 2,
      'object without a name': 1,
      'object that is none': 2,
      'relation of an object that was left out': 2,
      'relation of an object to itself': 1,
      'relation listed twice': 1,
      'relation without a predicate': 2,
      'region without a description': 2,
    });
  });

  it.each([
    ['image-data', { 'image-data': { images: [] }, objects: [] }, /expected a list/],
    ['image-data', { 'image-data': FILES.objects[0]?.objects, objects: [] }, /an image without image_id/],
    ['objects', { ...FILES, objects: FILES.regions }, /an image has no list "objects"/],
    ['regions', { ...FILES, regions: FILES['image-data'] }, /an image has no list "regions"/],
    ['relationships', { ...FILES, relationships: '[{"image_id": 1' }, /file ends inside the value/],
  ])('of another kind are refused as --%s', async (_, files, message) => {
    await expect(readAll(visualGenome, await folderOf(files))).rejects.toMatchObject({
      code: 'data',
      message: expect.stringMatching(message),
    });
  });
});
