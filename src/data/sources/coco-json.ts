/** The annotation files of COCO and its kin (LVIS, Objects365): read, looked over, and put in order by image. */
import { readFile, stat } from 'node:fs/promises';
import { ioError } from '../../atomic.ts';
import { GroundError, messageOf } from '../../errors.ts';

/** An image as the annotation files describe it. */
export interface CocoImage {
  readonly id: number;
  /** Name inside the image folder. */
  readonly file: string;
  /** Null where the file does not tell. */
  readonly width: number | null;
  readonly height: number | null;
}

/** An annotation of an object, its fields still unchecked. */
export interface CocoInstance {
  readonly label: string;
  readonly bbox: unknown;
  readonly segmentation: unknown;
  readonly crowd: boolean;
}

/** What is known of each image, by its id. */
export interface CocoIndex {
  /** By ascending id. */
  readonly images: readonly CocoImage[];
  readonly instances: ReadonlyMap<number, readonly CocoInstance[]>;
  readonly captions: ReadonlyMap<number, readonly string[]>;
}

/** Counts one more thing that was left out, or mended, for a reason. */
export type Tally = (reason: string) => void;

type Json = Readonly<Record<string, unknown>>;

/** V8 cannot hold a longer text; the file would have to be read as a stream. */
const MAX_FILE_BYTES = 2 ** 29 - 2 ** 20;

/**
 * Reads one or both annotation files. Throws `data` where a file is no COCO file at all, and `usage` where none is given;
 * single annotations that make no sense are left out and tallied.
 */
export async function readCocoFiles(
  files: { readonly instances?: string | undefined; readonly captions?: string | undefined },
  skipped: Tally,
): Promise<CocoIndex> {
  if (files.instances === undefined && files.captions === undefined) {
    throw new GroundError('usage', 'no annotation file was given', {
      hint: 'pass --instances FILE, --captions FILE, or both',
    });
  }
  const images = new Map<number, CocoImage>();
  const instances = new Map<number, CocoInstance[]>();
  const captions = new Map<number, string[]>();
  if (files.instances !== undefined) {
    const json = await readJson(files.instances);
    addImages(images, listOf(json, 'images', files.instances), skipped);
    const labels = labelsOf(listOf(json, 'categories', files.instances));
    const seen = new Set<unknown>();
    for (const annotation of listOf(json, 'annotations', files.instances)) {
      const id = imageIdOf(annotation, images, seen, skipped);
      if (id === null) continue;
      const label = labels.get(annotation.category_id);
      if (label === undefined) skipped('object of an unknown category');
      else append(instances, id, instanceOf(annotation, label));
    }
  }
  if (files.captions !== undefined) {
    const json = await readJson(files.captions);
    addImages(images, listOf(json, 'images', files.captions), skipped);
    const seen = new Set<unknown>();
    for (const annotation of listOf(json, 'annotations', files.captions)) {
      if (typeof annotation.caption !== 'string') {
        throw new GroundError('data', `${files.captions}: an annotation has no caption`, {
          hint: 'this looks like another kind of annotation file; object annotations go to --instances',
        });
      }
      const id = imageIdOf(annotation, images, seen, skipped);
      if (id === null) continue;
      // Captions are people's typing: stray line breaks and double blanks are no content.
      const caption = annotation.caption.replace(/\s+/g, ' ').trim();
      if (caption === '') skipped('empty caption');
      else append(captions, id, caption);
    }
  }
  return { images: [...images.values()].sort((a, b) => a.id - b.id), instances, captions };
}

function addImages(images: Map<number, CocoImage>, entries: readonly Json[], skipped: Tally): void {
  const own = new Set<number>();
  for (const entry of entries) {
    const file = fileNameOf(entry);
    if (typeof entry.id !== 'number' || !Number.isSafeInteger(entry.id) || file === null) {
      skipped('image without an id or a file name');
    } else if (own.has(entry.id)) {
      skipped('image listed twice');
    } else {
      own.add(entry.id);
      // The other annotation file lists the same images again.
      if (images.has(entry.id)) continue;
      images.set(entry.id, {
        id: entry.id,
        file,
        width: typeof entry.width === 'number' ? entry.width : null,
        height: typeof entry.height === 'number' ? entry.height : null,
      });
    }
  }
}

/** LVIS names images by their address alone. A name that leads out of the image folder is none. */
function fileNameOf(entry: Json): string | null {
  const name = typeof entry.file_name === 'string' ? entry.file_name : baseName(entry.coco_url);
  if (name === null || name === '' || name.startsWith('/') || name.split(/[\\/]/).includes('..')) return null;
  return name;
}

function baseName(address: unknown): string | null {
  return typeof address === 'string' ? (address.split('/').at(-1) ?? null) : null;
}

function imageIdOf(
  annotation: Json,
  images: ReadonlyMap<number, CocoImage>,
  seen: Set<unknown>,
  skipped: Tally,
): number | null {
  const { id, image_id: imageId } = annotation;
  if (typeof imageId !== 'number' || !images.has(imageId)) {
    skipped('annotation of an unknown image');
    return null;
  }
  if (id !== undefined && seen.has(id)) {
    skipped('annotation listed twice');
    return null;
  }
  seen.add(id);
  return imageId;
}

function labelsOf(categories: readonly Json[]): Map<unknown, string> {
  const labels = new Map<unknown, string>();
  for (const { id, name } of categories) {
    if (typeof name === 'string' && name.trim() !== '') labels.set(id, name.replaceAll('_', ' ').trim());
  }
  return labels;
}

function instanceOf(annotation: Json, label: string): CocoInstance {
  const { bbox, segmentation, iscrowd } = annotation;
  return { label, bbox, segmentation, crowd: iscrowd === 1 || iscrowd === true };
}

function append<V>(map: Map<number, V[]>, key: number, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

async function readJson(file: string): Promise<unknown> {
  const text = await stat(file)
    .then(({ size }) => {
      if (size <= MAX_FILE_BYTES) return readFile(file, 'utf8');
      throw new GroundError(
        'data',
        `${file} has ${size} bytes; files above ${MAX_FILE_BYTES} are not read yet`,
        {
          hint: 'split it by images into several files and build one dataset from each',
        },
      );
    })
    .catch(thrown => {
      throw ioError(thrown, 'read', file);
    });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new GroundError('data', `${file} is no JSON: ${messageOf(cause)}`, {
      hint: 'was the file copied completely?',
      cause,
    });
  }
}

function listOf(json: unknown, key: string, file: string): readonly Json[] {
  const list = isObject(json) ? json[key] : undefined;
  if (Array.isArray(list) && list.every(isObject)) return list;
  throw new GroundError('data', `${file} has no list "${key}" of objects`, {
    hint: 'COCO annotation files have the lists images, annotations and (for objects) categories',
  });
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
