/**
 * Sources whose files list questions or conversations, each about an image: the entries are brought together by image,
 * then images are read one by one and every one becomes a record.
 */
import { GroundError } from '../../errors.ts';
import type { Size } from '../box.ts';
import { type ImageRecord, isTextAlone } from '../record.ts';
import { Groups } from './group.ts';
import { type ImageFile, type ImageProblem, readImageFile, requireFolder } from './image-file.ts';
import { imageIdOf } from './image-id.ts';
import {
  emptyReport,
  inputsOf,
  note,
  type SourceOptions,
  type SourceReader,
  type SourceReport,
  tally,
} from './source.ts';

/** One entry of an annotation file on its way to its image; plain JSON, for it may wait on disk. */
export interface Entry<T> {
  /** Names that the image's file may have, the likeliest first; none for text alone. */
  readonly images: readonly string[];
  /** Id of the record; by default that of the first name. */
  readonly id?: string;
  /** Where the entry stands, for reports. */
  readonly place: string;
  readonly content: T;
}

/** What a record holds beside its image. */
export type RecordContent = Partial<Omit<ImageRecord, 'id' | 'image' | 'path' | 'width' | 'height'>>;

export interface EntryFormat<T> {
  /** Whether an entry is but a part of what is known of its image: a missing image is one loss then, not one an entry. */
  readonly partial?: boolean;
  /** All entries of all files. What can be refused without the image is noted and left out. */
  entries(report: SourceReport): AsyncIterable<Entry<T>>;
  /**
   * What the entries of one image (of its size), or of one text (null), say; null where nothing of it can be used. What is
   * left out is noted.
   */
  contentOf(entries: readonly Entry<T>[], image: Size | null, report: SourceReport): RecordContent | null;
}

/**
 * Reads entries and images (from the folders of the input `images`, searched in turn) into records, one an image, by
 * ascending id. Throws `io` where a file or a folder cannot be read, `data` where a file is no JSON or not one record comes
 * of it.
 */
export function readEntries<T>(options: SourceOptions, format: EntryFormat<T>): SourceReader {
  return new EntryReader(options, format);
}

class EntryReader<T> implements SourceReader {
  readonly report = emptyReport();
  readonly #options: SourceOptions;
  readonly #format: EntryFormat<T>;
  readonly #limit: number;
  readonly #groups: Groups;
  #reading: Promise<void> | undefined;

  constructor(options: SourceOptions, format: EntryFormat<T>) {
    this.#options = options;
    this.#format = format;
    this.#groups = new Groups(options.spill);
    this.#limit = options.limit ?? Number.POSITIVE_INFINITY;
  }

  async count(): Promise<number> {
    await this.#read();
    return Math.min(this.#limit, this.#groups.keys);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ImageRecord> {
    let records = 0;
    await this.#read();
    for await (const { key, entries } of this.#groups) {
      if (records >= this.#limit) break;
      // Written below, by `#readAll`.
      const record = await this.#recordOf(
        String(key),
        entries.map(({ value }) => value as Entry<T>),
      );
      if (!record) continue;
      countContent(record, this.report);
      records++;
      yield record;
    }
    if (records === 0) throw nothingUsable(this.report, this.#options);
  }

  async close(): Promise<void> {
    await this.#groups.close();
  }

  #read(): Promise<void> {
    this.#reading ??= this.#readAll();
    return this.#reading;
  }

  async #readAll(): Promise<void> {
    for (const folder of inputsOf(this.#options, 'images')) await requireFolder(folder);
    for await (const entry of this.#format.entries(this.report)) {
      const [name] = entry.images;
      if (entry.images.some(leadsAway)) {
        note(this.report, 'skipped', 'image that is no name inside of the image folder', entry.place);
        continue;
      }
      const id = entry.id ?? imageIdOf(name ?? entry.place);
      await this.#groups.add(id, JSON.stringify(entry));
    }
  }

  async #recordOf(id: string, entries: readonly Entry<T>[]): Promise<ImageRecord | null> {
    const file = await this.#imageOf(entries);
    if (typeof file === 'string') {
      const lost = this.#format.partial
        ? entries.slice(0, 1).flatMap(({ images }) => images.slice(0, 1))
        : entries.map(({ place, images }) => `${place}: ${images[0]}`);
      for (const place of lost) note(this.report, 'skipped', file, place);
      return null;
    }
    const content = this.#format.contentOf(entries, file, this.report);
    if (!content) return null;
    const empty = { captions: [], objects: [], relations: [] };
    if (!file) return { id, image: new Uint8Array(0), width: 0, height: 0, ...empty, ...content };
    const { bytes, path, width, height } = file;
    const image = this.#options.link ? { image: new Uint8Array(0), path } : { image: bytes };
    return { id, ...image, width, height, ...empty, ...content };
  }

  /** The first of the files that the entries name; null where they name none. */
  async #imageOf(entries: readonly Entry<T>[]): Promise<ImageFile | ImageProblem | null> {
    const names = new Set(entries.flatMap(({ images }) => images));
    const folders = inputsOf(this.#options, 'images');
    if (names.size === 0) return null;
    if (folders.length === 0)
      throw new GroundError('usage', 'the annotations name images, and no folder of images was given', {
        hint: 'pass --images DIR',
      });
    for (const name of names) {
      for (const folder of folders) {
        const file = await readImageFile(folder, name);
        if (file !== 'image file missing') return file;
      }
    }
    return 'image file missing';
  }
}

/** A name that is a path out of the folder, or none. */
function leadsAway(name: string): boolean {
  return name.trim() === '' || name.includes('\0') || name.split(/[\\/]/).includes('..');
}

function countContent(record: ImageRecord, { counts }: SourceReport): void {
  tally(counts, isTextAlone(record) ? 'texts' : 'images');
  for (const { rounds } of record.conversations ?? []) {
    tally(counts, 'conversations');
    tally(counts, 'rounds', rounds.length);
    for (const piece of rounds.flatMap(({ question, answer }) => [...question, ...answer])) {
      if (piece.kind === 'box') tally(counts, 'boxes');
      if (piece.kind === 'region') tally(counts, 'regions');
    }
  }
  const { objects, captions, relations, regions = [], spans = [] } = record;
  const masks = objects.filter(({ mask }) => mask);
  const lists = { objects, masks, captions, relations, spans, 'described regions': regions };
  for (const [name, list] of Object.entries(lists)) if (list.length > 0) tally(counts, name, list.length);
}

function nothingUsable({ skipped, examples }: SourceReport, options: SourceOptions): GroundError {
  const reasons = Object.entries(skipped).map(
    ([reason, times]) => `${reason}: ${times}, first ${examples[reason]?.[0] ?? 'unknown'}`,
  );
  const folders = inputsOf(options, 'images');
  return new GroundError(
    'data',
    `not one record can be made of the annotations (${reasons.join('; ') || 'they list nothing'})`,
    {
      hint:
        'image file missing' in skipped && folders.length > 0
          ? `--images must be the folder that the file names start from; ${folders.join(', ')} does not seem to be`
          : 'is this the right --from for the files?',
    },
  );
}
