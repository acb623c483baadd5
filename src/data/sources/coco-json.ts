/** The annotation files of COCO and its kin (LVIS, Objects365): read as streams and grouped by image. */
import { GroundError } from '../../errors.ts';
import { type Labels, labelsOf } from './coco-labels.ts';
import type { Group, Groups, Key } from './group.ts';
import { type JsonTarget, streamJson } from './json-stream.ts';
import { note, type SourceReport, tally } from './source.ts';

export interface CocoFiles {
  readonly instances: readonly string[];
  readonly captions: readonly string[];
  readonly panoptic: readonly string[];
}

/** An annotation file and its categories; what it says is known by its number. */
export interface CocoFile {
  readonly file: string;
  readonly kind: keyof CocoFiles;
  readonly labels: Labels;
}

export type Json = Readonly<Record<string, unknown>>;

/** An entry of a file's lists. */
export interface CocoEntry {
  readonly from: CocoFile;
  readonly value: Json;
}

/** All that the files say about one image. */
export interface CocoGroup {
  readonly key: Key;
  readonly images: readonly CocoEntry[];
  readonly annotations: readonly CocoEntry[];
}

/** Which list an entry is of, in the lowest bit of its tag; the rest is the number of the file. */
const [IMAGE, ANNOTATION] = [0, 1];

/**
 * Reads all files into `groups` by image id; returns the files by their numbers. Entries that have no place there are
 * left out and noted. Throws `usage` where no file is given and `data` where one is of another kind.
 */
export async function readCocoFiles(
  files: CocoFiles,
  groups: Groups,
  report: SourceReport,
): Promise<CocoFile[]> {
  const read: CocoFile[] = [];
  for (const kind of ['instances', 'captions', 'panoptic'] as const) {
    for (const file of files[kind]) {
      const number = read.length;
      read.push({ file, kind, labels: await readFile(file, kind, number, groups, report) });
    }
  }
  if (read.length > 0) return read;
  throw new GroundError('usage', 'no annotation file was given', {
    hint: 'pass --instances FILE, --captions FILE, or both',
  });
}

/** What the files say about the image of a group. */
export function cocoGroup({ key, entries }: Group, files: readonly CocoFile[]): CocoGroup {
  const of = (list: number) =>
    entries.flatMap(({ tag, value }) => {
      const from = files[tag >>> 1];
      return (tag & 1) === list && from && isObject(value) ? [{ from, value }] : [];
    });
  return { key, images: of(IMAGE), annotations: of(ANNOTATION) };
}

async function readFile(
  file: string,
  kind: CocoFile['kind'],
  number: number,
  groups: Groups,
  report: SourceReport,
): Promise<Labels> {
  const targets: JsonTarget[] = [{ path: ['images'] }, { path: ['annotations'] }];
  if (kind !== 'captions') targets.push({ path: ['categories'] });
  const categories: unknown[] = [];
  for await (const { value, text, target, line, column } of streamJson(file, targets)) {
    const place = `${file}:${line}:${column}`;
    if (!isObject(value)) {
      throw new GroundError(
        'data',
        `${place}: expected an object in the list "${targets[target]?.path[0]}"`,
        {
          hint: 'COCO annotation files have the lists images, annotations and (for objects) categories',
        },
      );
    }
    if (target === 2) {
      categories.push(value);
      continue;
    }
    if (target === ANNOTATION) checkKind(value, kind, place);
    const key = target === IMAGE ? imageKey(value.id) : imageKey(value.image_id);
    tally(report.counts, LISTED[target === IMAGE ? 'image' : kind]);
    if (key === null) {
      const what = target === IMAGE ? 'image without an id or a file name' : 'annotation of an unknown image';
      note(report, 'skipped', what, place);
      continue;
    }
    await groups.add(key, text, 2 * number + target);
  }
  return labelsOf(categories);
}

/** What the files list, before anything is left out: what the rest of a report adds up to. */
const LISTED = {
  image: 'images listed',
  instances: 'objects listed',
  captions: 'captions listed',
  panoptic: 'panoptic masks listed',
};

/** Throws `data` where an annotation belongs to another kind of file. */
function checkKind(annotation: Json, kind: CocoFile['kind'], place: string): void {
  if (kind === 'captions' && typeof annotation.caption !== 'string') {
    throw new GroundError('data', `${place}: an annotation has no caption`, {
      hint: 'this looks like another kind of annotation file; object annotations go to --instances',
    });
  }
  if (kind === 'panoptic' && !Array.isArray(annotation.segments_info)) {
    throw new GroundError('data', `${place}: an annotation has no segments_info`, {
      hint: 'this looks like another kind of annotation file; object annotations go to --instances',
    });
  }
  if (kind === 'instances' && Array.isArray(annotation.segments_info)) {
    throw new GroundError('data', `${place}: an annotation has segments_info`, {
      hint: 'this is a panoptic file: pass it with --panoptic, and its masks with --panoptic-masks',
    });
  }
}

/** An image's id: a whole number (also where a file has it in quotes), or any other text. */
function imageKey(id: unknown): Key | null {
  if (typeof id === 'number') return Number.isSafeInteger(id) ? id : null;
  if (typeof id !== 'string' || id === '') return null;
  return /^(?:0|[1-9]\d{0,14})$/.test(id) ? Number(id) : id;
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
