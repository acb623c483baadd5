/** RefCOCO, RefCOCO+ and RefCOCOg: sentences that each mean one object of an image of COCO's. */
import { basename } from 'node:path';
import { GroundError } from '../../errors.ts';
import type { Size } from '../box.ts';
import type { ObjectAnnotation } from '../record.ts';
import { cocoObject } from './coco-objects.ts';
import { withPhrases } from './coco-phrases.ts';
import { type Entry, type RecordContent, readEntries } from './entries.ts';
import { streamJson } from './json-stream.ts';
import { type MdetrPart, mdetrEntries, mdetrSentences } from './mdetr.ts';
import { type Ref, readRefs, refFileKind } from './refcoco-refs.ts';
import {
  checkInputs,
  inputOf,
  inputsOf,
  note,
  type SourceFormat,
  type SourceOptions,
  type SourceReader,
  type SourceReport,
  tally,
} from './source.ts';

export const refcoco: SourceFormat = {
  name: 'refcoco',
  describes: 'RefCOCO, RefCOCO+, RefCOCOg: refs with instances, or the MDETR-style finetune JSON',
  inputs: [
    {
      flag: 'refs',
      what: 'file',
      required: false,
      help: 'refs(unc).p, refs(google).p, refs(umd).p, or the same as JSON',
    },
    { flag: 'instances', what: 'file', required: false, help: 'instances.json that belongs to the refs' },
    {
      flag: 'annotations',
      what: 'file',
      required: false,
      help: 'finetune_refcoco_val.json and its like, instead of --refs and --instances',
    },
    {
      flag: 'images',
      what: 'folder',
      required: true,
      many: true,
      help: "COCO's images, of 2014 or 2017; several folders are searched in turn",
    },
  ],
  async open(options) {
    checkInputs(refcoco, options);
    const [file, other] = [...inputsOf(options, 'refs'), ...inputsOf(options, 'annotations')];
    if (file === undefined || other !== undefined) {
      throw new GroundError(
        'usage',
        'refcoco reads either --refs FILE with --instances FILE, or --annotations FILE',
        {
          hint: `${other === undefined ? 'neither' : 'both'} of them ${other === undefined ? 'is' : 'are'} given`,
        },
      );
    }
    const instances = inputOf(options, 'instances');
    // What a file is its content says, whichever flag it came with.
    if ((await refFileKind(file)) === 'object') return openSentences(options, file);
    if (instances === undefined) {
      throw new GroundError(
        'usage',
        `refcoco needs --instances FILE: the refs of ${file} have no boxes of their own`,
        {
          hint: 'it is the instances.json in the folder of the refs',
        },
      );
    }
    return openRefs(options, file, instances);
  },
};

/** An image that refs speak of, until its annotations come. */
interface RefImage extends Partial<Size> {
  readonly names: readonly string[];
  readonly split: string;
}

/** An annotation of an image, with the sentences that mean it. */
interface RefObject {
  readonly category: unknown;
  readonly bbox: unknown;
  readonly segmentation: unknown;
  readonly crowd: boolean;
  readonly refs: number;
  readonly sentences: readonly string[];
  readonly image: number;
}

type Json = Readonly<Record<string, unknown>>;

/** Refs and instances. Every annotation of an image becomes an object; those with refs have expressions. */
function openRefs(options: SourceOptions, file: string, instances: string): SourceReader {
  const images = new Map<number, RefImage>();
  const labels = new Map<unknown, string>();
  return readEntries<RefObject>(options, {
    partial: true,
    async *entries(report) {
      const refs = refsByAnnotation(await readRefs(file, options.split, report));
      await readImages(instances, splitsOf(refs), images, labels);
      const seen = new Set<unknown>();
      for await (const { value, key } of streamJson(instances, [{ path: ['annotations'] }])) {
        const place = `${instances}, annotations[${key}]`;
        if (!isObject(value)) {
          note(report, 'skipped', 'annotation that is no object', place);
          continue;
        }
        const { id, image_id: image, category_id: category, bbox, segmentation, iscrowd } = value;
        if (typeof id === 'number' && seen.has(id)) {
          note(report, 'skipped', 'annotation listed twice', place);
          continue;
        }
        const known = typeof image === 'number' ? images.get(image) : undefined;
        const mine = (typeof id === 'number' ? refs.get(id) : undefined) ?? [];
        if (typeof id === 'number' && (mine.length > 0 || known)) seen.add(id);
        const fitting = mine.filter(ref => ref.image === image);
        for (const ref of mine) {
          if (ref.image === image) continue;
          note(report, 'skipped', 'ref to an annotation of another image', ref.place);
        }
        if (!known || typeof image !== 'number') {
          for (const ref of fitting) note(report, 'skipped', 'ref to an unknown image', ref.place);
          continue;
        }
        const sentences = fitting.flatMap(ref => ref.sentences);
        const crowd = iscrowd === 1 || iscrowd === true;
        yield {
          images: known.names,
          place,
          content: { category, bbox, segmentation, crowd, refs: fitting.length, sentences, image },
        };
      }
      for (const [annotation, mine] of refs) {
        if (seen.has(annotation)) continue;
        for (const ref of mine) {
          const why = images.has(ref.image) ? 'an unknown annotation' : 'an unknown image';
          note(report, 'skipped', `ref to ${why}`, ref.place);
        }
      }
    },
    contentOf(entries, size, report) {
      const image = images.get(entries[0]?.content.image ?? Number.NaN);
      if (!image || !size) return null;
      if ((image.width ?? size.width) !== size.width || (image.height ?? size.height) !== size.height) {
        note(report, 'skipped', 'image of another size than annotated', image.names[0] ?? '');
        return null;
      }
      if (image.split.includes('+')) tally(report.counts, 'images of several splits');
      const objects = entries.flatMap(entry => referredObject(entry, size, labels, options, report) ?? []);
      return withCounts({ split: image.split, objects: withPhrases(objects, size) }, report);
    },
  });
}

function refsByAnnotation(refs: readonly Ref[]): Map<number, Ref[]> {
  const byAnnotation = new Map<number, Ref[]>();
  for (const ref of refs) {
    const list = byAnnotation.get(ref.annotation);
    if (list) list.push(ref);
    else byAnnotation.set(ref.annotation, [ref]);
  }
  return byAnnotation;
}

/** The splits of every image's refs, with the name of its file as a ref tells it. */
function splitsOf(
  refs: ReadonlyMap<number, readonly Ref[]>,
): Map<number, { splits: Set<string>; file: string | null }> {
  const images = new Map<number, { splits: Set<string>; file: string | null }>();
  for (const ref of [...refs.values()].flat()) {
    const image = images.get(ref.image) ?? { splits: new Set(), file: ref.file };
    image.splits.add(ref.split);
    images.set(ref.image, image);
  }
  return images;
}

/** Fills in the images that have refs, and the categories. Throws `data` where the file is no instances file. */
async function readImages(
  instances: string,
  wanted: ReadonlyMap<number, { readonly splits: ReadonlySet<string>; readonly file: string | null }>,
  images: Map<number, RefImage>,
  labels: Map<unknown, string>,
): Promise<void> {
  const lists = [{ path: ['images'] }, { path: ['categories'], optional: true }];
  for await (const { value, target } of streamJson(instances, lists)) {
    if (!isObject(value)) continue;
    const { id, name, file_name: file, width, height } = value;
    if (target === 1) {
      if (typeof name === 'string' && name.trim() !== '') labels.set(id, name.replaceAll('_', ' ').trim());
      continue;
    }
    const known = typeof id === 'number' ? wanted.get(id) : undefined;
    if (!known || typeof id !== 'number') continue;
    images.set(id, {
      names: cocoNames(typeof file === 'string' ? file : (known.file ?? trainName(id))),
      // An image of RefCOCOg's Google split may have objects of train and of val: such a record is of neither.
      split: [...known.splits].sort().join('+'),
      ...(typeof width === 'number' ? { width } : {}),
      ...(typeof height === 'number' ? { height } : {}),
    });
  }
}

/** The name of an image that no file names: RefCOCO is made of COCO's training images of 2014. */
function trainName(id: number): string {
  return `COCO_train2014_${String(id).padStart(12, '0')}.jpg`;
}

/** Names that an image may have: the annotation's own, and COCO's of 2017 with and without the folder. */
function cocoNames(file: string): string[] {
  // A ref's file name ends in the number of its object.
  const own = file.replace(/^(COCO_[a-z]+\d{4}_\d{12})_\d+(\.\w+)$/, '$1$2');
  const number = /^(?:COCO_[a-z]+\d{4}_)?(\d{12}\.\w+)$/.exec(basename(own))?.[1];
  if (number === undefined) return [own];
  return [own, `train2014/${own}`, `val2014/${own}`, number, `train2017/${number}`, `val2017/${number}`];
}

function referredObject(
  { content, place }: Entry<RefObject>,
  size: Size,
  labels: ReadonlyMap<unknown, string>,
  options: SourceOptions,
  report: SourceReport,
): ObjectAnnotation | null {
  const { category, bbox, segmentation, crowd, refs, sentences } = content;
  const object = cocoObject({ label: labels.get(category) ?? 'object', bbox, segmentation, crowd }, size, {
    masks: options.masks !== false,
    skipped: (reason: string) => note(report, 'skipped', reason, place),
    mended: (reason: string) => note(report, 'mended', reason, place),
  });
  if (!object) {
    for (let i = 0; i < refs; i++) note(report, 'skipped', 'ref to an object that was left out', place);
    return null;
  }
  tally(report.counts, 'refs', refs);
  return withExpressions(object, sentences, place, report);
}

/** Gives an object its sentences, each once. */
function withExpressions(
  object: ObjectAnnotation,
  sentences: readonly string[],
  place: string,
  report: SourceReport,
): ObjectAnnotation {
  const expressions = new Map<string, string>();
  for (const sentence of sentences) {
    if (sentence === '') note(report, 'skipped', 'empty expression', place);
    else if (expressions.has(sentence.toLowerCase())) note(report, 'skipped', 'expression said twice', place);
    else expressions.set(sentence.toLowerCase(), sentence);
  }
  tally(report.counts, 'expressions', expressions.size);
  return expressions.size === 0 ? object : { ...object, expressions: [...expressions.values()] };
}

/** MDETR's form: a sentence and its one box an entry, several entries an image. */
function openSentences(options: SourceOptions, file: string): SourceReader {
  const split = /_(train|val|test[AB]?)(?:_\w+)?\.json$/.exec(file)?.[1];
  if (options.split !== undefined && options.split !== split) {
    const own = split === undefined ? 'tells no split by its name' : `is the split "${split}"`;
    throw new GroundError('usage', `--split ${options.split}: ${file} ${own}`, {
      hint: 'a finetune JSON holds one split: name the file of the split you want, and leave --split out',
    });
  }
  return readEntries<MdetrPart>(options, {
    partial: true,
    entries: report => mdetrEntries(file, report, name => ({ images: cocoNames(name) })),
    contentOf(entries, size, report) {
      const sentences = size && mdetrSentences(entries, size, report);
      if (!sentences || !size) return null;
      const place = entries[0]?.place ?? file;
      const objects = new Map<string, { readonly object: ObjectAnnotation; readonly sentences: string[] }>();
      for (const { caption, boxes } of sentences) {
        const [box, another] = boxes;
        if (!box || another) {
          note(report, 'skipped', box ? 'expression with several boxes' : 'expression without a box', place);
          continue;
        }
        const sentence = caption.replace(/\s+/g, ' ').trim();
        const known = objects.get(box.key);
        if (known) known.sentences.push(sentence);
        else {
          const object = { label: box.label, phrase: sentence || box.label, attributes: [], box: box.box };
          objects.set(box.key, { object, sentences: [sentence] });
        }
      }
      const found = [...objects.values()].map(({ object, sentences }) =>
        withExpressions(object, sentences, place, report),
      );
      if (found.length === 0) return null;
      return withCounts({ ...(split === undefined ? {} : { split }), objects: found }, report);
    },
  });
}

function withCounts<T extends RecordContent & { readonly objects: readonly ObjectAnnotation[] }>(
  content: T,
  report: SourceReport,
): T {
  tally(report.counts, 'referred objects', content.objects.filter(({ expressions }) => expressions).length);
  return content;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
