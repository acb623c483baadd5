/** Visual Genome: objects with attributes, relations between them, and described regions. */
import { GroundError } from '../../errors.ts';
import type { Size } from '../box.ts';
import { type Entry, readEntries } from './entries.ts';
import { visualGenomeImageId } from './image-id.ts';
import { streamArray } from './json-stream.ts';
import { checkInputs, inputOf, note, type SourceFormat, type SourceReport } from './source.ts';
import { type GenomePart, genomeContent } from './visual-genome-image.ts';

export const visualGenome: SourceFormat = {
  name: 'visual-genome',
  describes: 'Visual Genome: objects, attributes, relationships, region descriptions',
  inputs: [
    { flag: 'image-data', what: 'file', required: true, help: 'image_data.json: ids, sizes and addresses' },
    { flag: 'objects', what: 'file', required: false, help: 'objects.json' },
    { flag: 'attributes', what: 'file', required: false, help: 'attributes.json' },
    { flag: 'relationships', what: 'file', required: false, help: 'relationships.json' },
    { flag: 'regions', what: 'file', required: false, help: 'region_descriptions.json' },
    {
      flag: 'images',
      what: 'folder',
      required: true,
      many: true,
      help: 'VG_100K, VG_100K_2, or the folder that holds both',
    },
  ],
  async open(options) {
    checkInputs(visualGenome, options);
    if (options.split !== undefined) {
      throw new GroundError('usage', `--split ${options.split}: Visual Genome has no splits`, {
        hint: 'leave --split out',
      });
    }
    const files = LISTS.flatMap(list => {
      const file = inputOf(options, list.flag);
      return file === undefined ? [] : [{ ...list, file }];
    });
    if (files.length === 0) {
      throw new GroundError('usage', 'no annotation file was given', {
        hint: `pass at least one of ${LISTS.map(({ flag }) => `--${flag} FILE`).join(', ')}`,
      });
    }
    const imageData = inputOf(options, 'image-data') ?? '';
    const images = new Map<number, GenomeImage>();
    return readEntries<GenomePart>(options, {
      partial: true,
      async *entries(report) {
        await readImageData(imageData, images, report);
        for (const list of files) yield* partsOf(list, images, report);
      },
      contentOf(entries, size, report) {
        const image = images.get(entries[0]?.content.image ?? Number.NaN);
        if (!image || !size) return null;
        if ((image.width ?? size.width) !== size.width || (image.height ?? size.height) !== size.height) {
          note(report, 'skipped', 'image of another size than annotated', image.names[0] ?? '');
          return null;
        }
        return genomeContent(
          entries.map(({ content }) => content),
          size,
          report,
        );
      },
    });
  },
};

/** The annotation files, in the order in which they are read: what the first says of an object counts. */
const LISTS = [
  { flag: 'objects', key: 'objects' },
  { flag: 'attributes', key: 'attributes' },
  { flag: 'relationships', key: 'relationships' },
  { flag: 'regions', key: 'regions' },
] as const;

interface GenomeImage extends Partial<Size> {
  /** Names of its file, the likeliest first. */
  readonly names: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;

/** Fills in the images by their number. Throws `data` where the file is not image_data.json. */
async function readImageData(
  file: string,
  images: Map<number, GenomeImage>,
  report: SourceReport,
): Promise<void> {
  for await (const { value, key } of streamArray(file, [])) {
    const place = `${file}, entry ${key}`;
    const id = isObject(value) ? (value.image_id ?? value.id) : undefined;
    if (!isObject(value) || typeof id !== 'number') {
      if (key === 0) {
        throw new GroundError('data', `${place}: an image without image_id`, {
          hint: '--image-data must be image_data.json: a list of image_id, width, height, url',
        });
      }
      note(report, 'skipped', 'image without an id', place);
      continue;
    }
    if (images.has(id)) {
      note(report, 'skipped', 'image listed twice', place);
      continue;
    }
    const { url, width, height } = value;
    images.set(id, {
      names: namesOf(id, url),
      ...(typeof width === 'number' ? { width } : {}),
      ...(typeof height === 'number' ? { height } : {}),
    });
  }
}

/** Where an image may lie: in the folder that its address tells, in the other one, or without any. */
function namesOf(id: number, url: unknown): string[] {
  const [, folder, name = `${id}.jpg`] =
    (typeof url === 'string' && /(VG_100K(?:_2)?)\/([^/?]+)$/.exec(url)) || [];
  const folders = folder === 'VG_100K_2' ? ['VG_100K_2', 'VG_100K'] : ['VG_100K', 'VG_100K_2'];
  return folders.map(each => `${each}/${name}`);
}

/** What a file says, image by image. Throws `data` where it is another file than its flag says. */
async function* partsOf(
  { flag, key, file }: (typeof LISTS)[number] & { readonly file: string },
  images: ReadonlyMap<number, GenomeImage>,
  report: SourceReport,
): AsyncGenerator<Entry<GenomePart>> {
  for await (const { value, key: entry } of streamArray(file, [])) {
    const place = `${file}, entry ${entry}`;
    const list = isObject(value) ? value[key] : undefined;
    if (!isObject(value) || !Array.isArray(list)) {
      throw new GroundError('data', `${place}: an image has no list "${key}"`, {
        hint: `--${flag} must be the file of that name: a list of image_id and ${key}`,
      });
    }
    const image = value.image_id ?? value.id;
    const known = typeof image === 'number' ? images.get(image) : undefined;
    if (!known || typeof image !== 'number') {
      note(report, 'skipped', `${key} of an image that image_data.json does not list`, place);
      continue;
    }
    const content = { kind: key, image, list, place };
    yield { images: known.names, id: visualGenomeImageId(image), place, content };
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
