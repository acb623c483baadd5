/** COCO annotations (and those of LVIS, Objects365 and others in the same form) as image records. */
import { GroundError } from '../../errors.ts';
import type { ImageRecord, ObjectAnnotation } from '../record.ts';
import { type CocoImage, checkSameImage, cocoImage } from './coco-image.ts';
import { type CocoEntry, type CocoFile, type CocoGroup, cocoGroup, readCocoFiles } from './coco-json.ts';
import { cocoObject } from './coco-objects.ts';
import { type PanopticMasks, readPanopticMasks } from './coco-panoptic.ts';
import { withPhrases } from './coco-phrases.ts';
import { Groups } from './group.ts';
import { type ImageFile, type ImageProblem, readImageFile, requireFolder } from './image-file.ts';
import { emptyReport, inputsOf, note, type SourceOptions, type SourceReader, tally } from './source.ts';

/**
 * Records by ascending image id. Boxes go from [x, y, width, height] to corners, cut at the image's edge; polygons and both
 * forms of RLE become masks as pycocotools makes them; crowds are kept and marked, and so is stuff, which has no instances
 * either. Images that are missing, cannot be decoded, or are of another size than annotated are left out and noted, as are
 * broken annotations. Reading throws `data` where a file is no annotation file or not one image is found, `usage` without
 * an annotation file.
 */
export function openCoco(options: SourceOptions): SourceReader {
  return new CocoReader(options);
}

class CocoReader implements SourceReader {
  readonly report = emptyReport();
  readonly #options: SourceOptions;
  readonly #limit: number;
  readonly #groups: Groups;
  readonly #ids = new Set<string>();
  #reading: Promise<CocoFile[]> | undefined;
  /** A file that was not found, for a hint. */
  #missing: string | undefined;

  constructor(options: SourceOptions) {
    this.#options = options;
    this.#limit = options.limit ?? Number.POSITIVE_INFINITY;
    this.#groups = new Groups(options.spill);
  }

  async count(): Promise<number> {
    await this.#read();
    return Math.min(this.#limit, this.#groups.keys);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ImageRecord, void, undefined> {
    const files = await this.#read();
    let images = 0;
    for await (const group of this.#groups) {
      if (images >= this.#limit) break;
      const found = cocoGroup(group, files);
      const record = await this.#recordOf(found);
      if (!record) {
        if (found.images.length > 0 && found.annotations.length > 0) {
          tally(this.report.skipped, 'annotation of an image that was left out', found.annotations.length);
        }
        continue;
      }
      images++;
      this.#count(record);
      yield record;
    }
    if (images === 0) throw this.#nothing();
  }

  async close(): Promise<void> {
    await this.#groups.close();
  }

  #read(): Promise<CocoFile[]> {
    this.#reading ??= this.#readAll();
    return this.#reading;
  }

  async #readAll(): Promise<CocoFile[]> {
    for (const folder of inputsOf(this.#options, 'images')) await requireFolder(folder);
    const [instances, captions, panoptic] = ['instances', 'captions', 'panoptic'].map(flag =>
      inputsOf(this.#options, flag),
    );
    const masks = inputsOf(this.#options, 'panoptic-masks');
    if (panoptic?.length && this.#masks && masks.length === 0) {
      throw new GroundError('usage', '--panoptic needs --panoptic-masks DIR: the folder of the PNG masks', {
        hint: 'or build without masks: --no-masks',
      });
    }
    for (const folder of masks) await requireFolder(folder);
    const files = { instances: instances ?? [], captions: captions ?? [], panoptic: panoptic ?? [] };
    return readCocoFiles(files, this.#groups, this.report);
  }

  get #masks(): boolean {
    return this.#options.masks !== false;
  }

  async #recordOf(group: CocoGroup): Promise<ImageRecord | null> {
    const place = `image ${group.key}`;
    const image = this.#imageOf(group, place);
    if (!image) {
      this.#skip(
        'annotation of an unknown image',
        place,
        group.images.length > 0 ? 0 : group.annotations.length,
      );
      return null;
    }
    if (this.#options.split !== undefined && image.split !== this.#options.split) {
      this.#skip('image of another split', place);
      return null;
    }
    const file = await this.#fileOf(image);
    if (typeof file === 'string') {
      if (file === 'image file missing') this.#missing ??= image.names[0];
      this.#skip(file, `${place}, ${image.names[0]}`);
      return null;
    }
    if ((image.width ?? file.width) !== file.width || (image.height ?? file.height) !== file.height) {
      const sizes = `annotated ${image.width} x ${image.height}, found ${file.width} x ${file.height}`;
      this.#skip('image of another size than annotated', `${place}, ${image.names[0]}: ${sizes}`);
      return null;
    }
    const annotations = this.#distinct(group.annotations, place);
    const captions = annotations.flatMap(entry => this.#captionOf(entry, place));
    const objects = annotations.flatMap(entry => this.#objectOf(entry, group, file, place));
    for (const entry of annotations) objects.push(...(await this.#segmentsOf(entry, group, file, place)));
    const absent = absentLabels(group);
    return {
      id: this.#idOf(image, group),
      ...(this.#options.link ? { image: new Uint8Array(0), path: file.path } : { image: file.bytes }),
      width: file.width,
      height: file.height,
      captions,
      objects: withPhrases(objects, file),
      relations: [],
      ...(image.split === undefined ? {} : { split: image.split }),
      ...(absent.length === 0 ? {} : { absent }),
    };
  }

  #imageOf(group: CocoGroup, place: string): CocoImage | null {
    checkSameImage(group.images);
    const known: CocoImage[] = [];
    const files = new Set<string>();
    for (const entry of group.images) {
      const image = cocoImage(entry);
      if (!image) this.#skip('image without an id or a file name', place);
      // Another annotation file lists the same images again.
      else if (files.has(entry.from.file)) this.#skip('image listed twice', place);
      else known.push(image);
      files.add(entry.from.file);
    }
    return known[0] ?? null;
  }

  /** The image's id; where two entries have one file, the second gets its number behind. */
  #idOf(image: CocoImage, group: CocoGroup): string {
    const id = this.#ids.has(image.id) ? `${image.id}#${group.key}` : image.id;
    if (id !== image.id) note(this.report, 'mended', 'image file of two image ids', `image ${group.key}`);
    this.#ids.add(id);
    return id;
  }

  async #fileOf({ names }: CocoImage): Promise<ImageFile | ImageProblem> {
    for (const folder of inputsOf(this.#options, 'images')) {
      for (const name of names) {
        const file = await readImageFile(folder, name);
        if (file !== 'image file missing') return file;
      }
    }
    return 'image file missing';
  }

  /** Each annotation once, by its kind and id. */
  #distinct(entries: readonly CocoEntry[], place: string): CocoEntry[] {
    const seen = new Set<string>();
    return entries.filter(({ from, value }) => {
      const { id } = value;
      if (typeof id !== 'number' && typeof id !== 'string') return true;
      const name = `${from.kind} ${id}`;
      if (seen.has(name)) this.#skip('annotation listed twice', `${place}, ${from.kind} ${id}`);
      const first = !seen.has(name);
      seen.add(name);
      return first;
    });
  }

  #captionOf({ from, value }: CocoEntry, place: string): string[] {
    if (from.kind !== 'captions' || typeof value.caption !== 'string') return [];
    // Captions are people's typing: stray line breaks and double blanks are no content.
    const caption = value.caption.replace(/\s+/g, ' ').trim();
    if (caption === '') this.#skip('empty caption', `${place}, caption ${String(value.id)}`);
    return caption === '' ? [] : [caption];
  }

  #objectOf(
    { from, value }: CocoEntry,
    group: CocoGroup,
    file: ImageFile,
    image: string,
  ): ObjectAnnotation[] {
    if (from.kind !== 'instances') return [];
    const place = `${image}, annotation ${String(value.id)}`;
    const category = from.labels.get(value.category_id);
    if (!category) {
      this.#skip('object of an unknown category', place);
      return [];
    }
    const partial = listsCategory(group, from, 'not_exhaustive_category_ids', value.category_id);
    if (partial) tally(this.report.counts, 'objects of labels not annotated exhaustively');
    const { bbox, segmentation, iscrowd } = value;
    const crowd = iscrowd === 1 || iscrowd === true || partial || !category.thing;
    const object = cocoObject(
      { label: category.label, bbox, segmentation, crowd },
      file,
      this.#context(place),
    );
    return object ? [object] : [];
  }

  async #segmentsOf(
    { from, value }: CocoEntry,
    group: CocoGroup,
    file: ImageFile,
    image: string,
  ): Promise<ObjectAnnotation[]> {
    if (from.kind !== 'panoptic' || !Array.isArray(value.segments_info)) return [];
    const name = typeof value.file_name === 'string' ? value.file_name : '';
    const masks = this.#masks ? await this.#panopticMasks(name, file) : null;
    if (typeof masks === 'string') note(this.report, 'mended', `${masks}: boxes stay`, `${image}, ${name}`);
    // Where the image's instances are given too, things are there already, with the masks that people drew.
    const hasThings = group.images.some(entry => entry.from.kind === 'instances');
    const objects: ObjectAnnotation[] = [];
    for (const segment of value.segments_info) {
      tally(this.report.counts, 'segments listed');
      const { id, category_id, bbox, iscrowd } = { ...segment };
      const place = `${image}, segment ${String(id)}`;
      const category = from.labels.get(category_id);
      const mask = masks instanceof Map ? masks.get(id) : undefined;
      if (masks instanceof Map && !mask)
        note(this.report, 'mended', 'segment without a pixel: its box stays', place);
      if (!category) this.#skip('segment of an unknown category', place);
      else if (category.thing && hasThings) this.#skip('thing segment of an image that has instances', place);
      else {
        const crowd = iscrowd === 1 || iscrowd === true || !category.thing;
        const instance = { label: category.label, bbox, segmentation: mask, crowd };
        const object = cocoObject(instance, file, this.#context(place));
        if (object) {
          objects.push(object);
          if (!category.thing) tally(this.report.counts, 'stuff');
        }
      }
    }
    return objects;
  }

  async #panopticMasks(name: string, file: ImageFile): Promise<PanopticMasks> {
    if (name === '' || name.split(/[\\/]/).includes('..')) return 'panoptic mask missing';
    for (const folder of inputsOf(this.#options, 'panoptic-masks')) {
      const masks = await readPanopticMasks(folder, name, file);
      if (masks !== 'panoptic mask missing') return masks;
    }
    return 'panoptic mask missing';
  }

  #context(place: string) {
    return {
      masks: this.#masks,
      skipped: (reason: string) => this.#skip(reason, place),
      mended: (reason: string) => note(this.report, 'mended', reason, place),
    };
  }

  #skip(reason: string, place: string, times = 1): void {
    for (let i = 0; i < times; i++) note(this.report, 'skipped', reason, place);
  }

  #count({ objects, captions, absent }: ImageRecord): void {
    const { counts } = this.report;
    tally(counts, 'images');
    tally(counts, 'objects', objects.length);
    tally(counts, 'crowds', objects.filter(object => object.crowd).length);
    tally(counts, 'masks', objects.filter(object => object.mask).length);
    tally(counts, 'captions', captions.length);
    if (absent) tally(counts, 'absent labels', absent.length);
  }

  #nothing(): GroundError {
    const reasons = Object.entries(this.report.skipped).map(([reason, count]) => `${reason}: ${count}`);
    const listed = this.report.counts['images listed'] ?? 0;
    const folders = inputsOf(this.#options, 'images').join(', ');
    const example = this.#missing === undefined ? '' : `, the first is ${this.#missing}`;
    return new GroundError(
      'data',
      `none of the ${listed} annotated images could be used from ${folders} (${reasons.join('; ')})`,
      { hint: `--images must name the folder that holds the files the annotations list${example}` },
    );
  }
}

/** LVIS: whether an image's entry of the annotation's file lists its category under `key`. */
function listsCategory(group: CocoGroup, from: CocoFile, key: string, category: unknown): boolean {
  return group.images.some(entry => {
    const listed = entry.from === from ? entry.value[key] : undefined;
    return Array.isArray(listed) && listed.includes(category);
  });
}

/** LVIS: labels that annotators looked for in the image and did not find. */
function absentLabels({ images }: CocoGroup): string[] {
  const labels = images.flatMap(({ from, value }) => {
    const listed = value.neg_category_ids;
    return Array.isArray(listed) ? listed.flatMap(id => from.labels.get(id)?.label ?? []) : [];
  });
  return [...new Set(labels)];
}
