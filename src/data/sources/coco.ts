/** COCO annotations (and those of LVIS, Objects365 and others in the same form) as image records. */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import sharp from 'sharp';
import { errorCode, ioError } from '../../atomic.ts';
import { GroundError } from '../../errors.ts';
import type { Size } from '../box.ts';
import type { ImageRecord } from '../record.ts';
import { type CocoImage, type CocoIndex, readCocoFiles } from './coco-json.ts';
import { cocoObject } from './coco-objects.ts';
import { withPhrases } from './coco-phrases.ts';

export interface CocoOptions {
  /** Folder of the images. */
  readonly images: string;
  /** Annotation file with boxes; without it records have no objects. */
  readonly instances?: string | undefined;
  /** Annotation file with captions; without it records have none. */
  readonly captions?: string | undefined;
  /** At most so many records. */
  readonly limit?: number | undefined;
  /** Whether to keep masks; true by default. */
  readonly masks?: boolean | undefined;
}

/** What became of the annotations. */
export interface CocoReport {
  images: number;
  objects: number;
  crowds: number;
  masks: number;
  captions: number;
  /** Images, annotations and captions left out, by reason. */
  readonly skipped: Record<string, number>;
  /** Annotations kept with something cut or dropped, by what it was. */
  readonly mended: Record<string, number>;
}

/** Records by ascending image id. `report` is complete once all have been taken. */
export interface CocoReader extends AsyncIterable<ImageRecord> {
  readonly report: CocoReport;
  /** Images that the annotation files list, within the limit: what progress is measured by. */
  count(): Promise<number>;
}

/**
 * Reads COCO annotations. Boxes go from [x, y, width, height] to corners, cut at the image's edge; polygons and both
 * forms of RLE become masks as pycocotools makes them; crowds are kept and marked. Images that are missing, cannot be
 * decoded, or are of another size than annotated are left out and counted in the report, as are broken annotations.
 * Throws `data` where a file is no annotation file or not one image is found, `usage` without an annotation file.
 */
export function readCoco(options: CocoOptions): CocoReader {
  const report: CocoReport = {
    images: 0,
    objects: 0,
    crowds: 0,
    masks: 0,
    captions: 0,
    skipped: {},
    mended: {},
  };
  const limit = options.limit ?? Number.POSITIVE_INFINITY;
  let reading: Promise<CocoIndex> | undefined;
  const index = () => {
    reading ??= requireFolder(options.images).then(() => readCocoFiles(options, tallyOf(report.skipped)));
    return reading;
  };
  return {
    report,
    async count() {
      return Math.min(limit, (await index()).images.length);
    },
    async *[Symbol.asyncIterator]() {
      const known = await index();
      for (const image of known.images) {
        if (report.images >= limit) break;
        const record = await recordOf(image, known, options, report);
        if (record) yield record;
      }
      if (report.images === 0) throw noImages(known, options.images, report);
    },
  };
}

async function recordOf(
  image: CocoImage,
  index: CocoIndex,
  options: CocoOptions,
  report: CocoReport,
): Promise<ImageRecord | null> {
  const skipped = tallyOf(report.skipped);
  const bytes = await readImage(options.images, image.file);
  if (!bytes) {
    skipped('image file missing');
    return null;
  }
  const size = await sizeOf(bytes);
  if (!size) {
    skipped('image file not readable');
    return null;
  }
  if ((image.width ?? size.width) !== size.width || (image.height ?? size.height) !== size.height) {
    skipped('image of another size than annotated');
    return null;
  }
  const context = { masks: options.masks !== false, skipped, mended: tallyOf(report.mended) };
  const found = (index.instances.get(image.id) ?? []).flatMap(
    instance => cocoObject(instance, size, context) ?? [],
  );
  const captions = index.captions.get(image.id) ?? [];
  report.images++;
  report.objects += found.length;
  report.crowds += found.filter(object => object.crowd).length;
  report.masks += found.filter(object => object.mask).length;
  report.captions += captions.length;
  return {
    id: `coco-${image.id}`,
    image: bytes,
    ...size,
    captions,
    objects: withPhrases(found, size),
    relations: [],
  };
}

async function requireFolder(folder: string): Promise<void> {
  await readdir(folder).catch(thrown => {
    throw ioError(thrown, 'read the image folder', folder);
  });
}

/** The file, looked for under its name and, where that is a path, under its last part; null where there is none. */
async function readImage(folder: string, file: string): Promise<Uint8Array | null> {
  for (const path of new Set([join(folder, file), join(folder, basename(file))])) {
    try {
      return new Uint8Array(await readFile(path));
    } catch (thrown) {
      if (errorCode(thrown) !== 'ENOENT') throw ioError(thrown, 'read', path);
    }
  }
  return null;
}

/** Width and height as stored: annotations do not follow the orientation that a camera noted. */
async function sizeOf(bytes: Uint8Array): Promise<Size | null> {
  try {
    const { width, height } = await sharp(bytes).metadata();
    return { width, height };
  } catch {
    return null;
  }
}

function noImages(index: CocoIndex, folder: string, report: CocoReport): GroundError {
  const reasons = Object.entries(report.skipped).map(([reason, count]) => `${reason}: ${count}`);
  const example = index.images[0] ? `, the first is ${index.images[0].file}` : '';
  return new GroundError(
    'data',
    `none of the ${index.images.length} annotated images could be used from ${folder} (${reasons.join('; ')})`,
    { hint: `--images must name the folder that holds the files the annotations list${example}` },
  );
}

function tallyOf(counts: Record<string, number>): (reason: string) => void {
  return reason => {
    counts[reason] = (counts[reason] ?? 0) + 1;
  };
}
