/** Flickr30k Entities: captions whose phrases are tied to boxes. */
import { isUtf8 } from 'node:buffer';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, ioError } from '../../atomic.ts';
import { GroundError } from '../../errors.ts';
import type { PixelBox, Size } from '../box.ts';
import type { CaptionSpan, ObjectAnnotation } from '../record.ts';
import { type EntityBoxes, parseEntityBoxes } from './entity-boxes.ts';
import { type EntityPhrase, parseEntitySentence } from './entity-sentence.ts';
import { type Entry, type RecordContent, readEntries } from './entries.ts';
import { type MdetrPart, mdetrEntries, mdetrSentences } from './mdetr.ts';
import { namesOf } from './phrase-heads.ts';
import {
  checkInputs,
  inputOf,
  note,
  type SourceFormat,
  type SourceOptions,
  type SourceReader,
  type SourceReport,
  tally,
} from './source.ts';
import { tidyCaption } from './tidy-caption.ts';
import { soundBox } from './turn-boxes.ts';

export const flickr30kEntities: SourceFormat = {
  name: 'flickr30k-entities',
  describes: 'Flickr30k Entities: Sentences and Annotations, or the MDETR-style final_flickr_*.json',
  inputs: [
    {
      flag: 'entities',
      what: 'folder',
      required: false,
      help: 'folder with Sentences/, Annotations/ and, for --split, train.txt, val.txt, test.txt',
    },
    {
      flag: 'annotations',
      what: 'file',
      required: false,
      help: 'final_flickr_mergedGT_test.json and its like, instead of --entities',
    },
    {
      flag: 'images',
      what: 'folder',
      required: true,
      many: true,
      help: 'folder of the images (flickr30k-images)',
    },
  ],
  async open(options) {
    checkInputs(flickr30kEntities, options);
    const folder = inputOf(options, 'entities');
    const file = inputOf(options, 'annotations');
    if (folder !== undefined && file === undefined) return openFolder(options, folder);
    if (file !== undefined && folder === undefined) return openFile(options, file);
    throw new GroundError('usage', 'flickr30k-entities reads either --entities DIR or --annotations FILE', {
      hint: `${folder === undefined ? 'none' : 'both'} of them ${folder === undefined ? 'is' : 'are'} given`,
    });
  },
};

const SPLITS = ['train', 'val', 'test'] as const;

/** What the folder holds of one image. */
interface EntityFiles {
  readonly id: string;
  readonly split: string | null;
  /** Null where there is no such file. */
  readonly sentences: string | null;
  readonly boxes: string | null;
}

function openFolder(options: SourceOptions, folder: string): SourceReader {
  return readEntries<EntityFiles>(options, {
    partial: true,
    async *entries(report) {
      const splits = await readSplits(folder);
      for (const id of await idsOf(folder, options.split, splits)) {
        const sentences = await readText(join(folder, 'Sentences', `${id}.txt`), report);
        const boxes = await readText(join(folder, 'Annotations', `${id}.xml`), report);
        const split = SPLITS.find(name => splits.get(name)?.has(id)) ?? null;
        const place = join(folder, 'Sentences', `${id}.txt`);
        if (sentences === null) {
          note(report, 'skipped', 'image without a file of sentences', place);
          continue;
        }
        yield {
          images: [`${id}.jpg`, `flickr30k-images/${id}.jpg`],
          id: `flickr30k-${id}`,
          place,
          content: { id, split, sentences, boxes },
        };
      }
    },
    contentOf: ([entry], size, report) => (entry && size ? contentOfFiles(entry, size, report) : null),
  });
}

/** Which images are in which split, as far as there are lists. */
async function readSplits(folder: string): Promise<Map<string, ReadonlySet<string>>> {
  const splits = new Map<string, ReadonlySet<string>>();
  for (const name of SPLITS) {
    const text = await readText(join(folder, `${name}.txt`));
    if (text !== null)
      splits.set(
        name,
        new Set(
          text
            .split(/\s+/)
            .map(id => id.replace(/\.jpg$/, ''))
            .filter(Boolean),
        ),
      );
  }
  return splits;
}

/** The images to read, by ascending number. */
async function idsOf(
  folder: string,
  split: string | undefined,
  splits: ReadonlyMap<string, ReadonlySet<string>>,
): Promise<string[]> {
  const listed = split === undefined ? undefined : splits.get(split);
  if (split !== undefined && !listed) {
    throw new GroundError('usage', `--split ${split}: there is no list ${join(folder, `${split}.txt`)}`, {
      hint:
        splits.size > 0
          ? `there are lists of ${[...splits.keys()].join(', ')}`
          : 'leave --split out to read all',
    });
  }
  const sentences = join(folder, 'Sentences');
  const names = await readdir(sentences).catch(thrown => {
    throw ioError(thrown, 'list', sentences);
  });
  const ids = listed ?? names.filter(name => name.endsWith('.txt')).map(name => name.slice(0, -4));
  return [...ids].sort((a, b) => Number(a) - Number(b) || (a < b ? -1 : 1));
}

/** A file's text, or null where there is none. */
async function readText(file: string, report?: SourceReport): Promise<string | null> {
  const bytes = await readFile(file).catch(thrown => {
    if (errorCode(thrown) === 'ENOENT') return null;
    throw ioError(thrown, 'read', file);
  });
  if (bytes === null) return null;
  if (isUtf8(bytes)) return bytes.toString('utf8');
  if (report) note(report, 'mended', 'text that is no UTF-8 read as Latin-1', file);
  return bytes.toString('latin1');
}

function contentOfFiles(
  { content, place }: Entry<EntityFiles>,
  size: Size,
  report: SourceReport,
): RecordContent | null {
  const annotated = readBoxes(content, size, place, report);
  if (!annotated) return null;
  const { boxes, chains, known } = annotated;
  const captions: string[] = [];
  const spans: CaptionSpan[] = [];
  for (const line of (content.sentences ?? '').replace(/\s+$/, '').split('\n')) {
    const sentence = parseEntitySentence(line);
    if (sentence.broken) note(report, 'mended', 'broken markup of a phrase left as text', place);
    if (sentence.text === '') {
      note(report, 'skipped', 'empty caption', place);
      continue;
    }
    captions.push(sentence.text);
    for (const phrase of sentence.phrases) {
      tally(report.counts, 'phrases');
      const objects = objectsOf(phrase, chains, known, place, report);
      if (objects.length === 0) continue;
      tally(report.counts, 'phrases with boxes');
      spans.push({ caption: captions.length - 1, start: phrase.start, end: phrase.end, objects });
    }
  }
  if (captions.length === 0) {
    note(report, 'skipped', 'image without a sentence', place);
    return null;
  }
  return grounded(content.split, captions, boxes, spans, place, report);
}

interface AnnotatedBoxes {
  readonly boxes: readonly PixelBox[];
  /** Chain to the boxes it names. */
  readonly chains: ReadonlyMap<string, readonly number[]>;
  /** All chains of the file, those without boxes too; null where there is no file. */
  readonly known: ReadonlySet<string> | null;
}

/** Boxes in pixels; null, noted, where the image has another size than annotated. */
function readBoxes(
  { boxes: xml, id }: EntityFiles,
  size: Size,
  place: string,
  report: SourceReport,
): AnnotatedBoxes | null {
  const none = { boxes: [], chains: new Map(), known: null };
  if (xml === null) {
    note(report, 'mended', 'captions without a file of boxes', place);
    return none;
  }
  const file: EntityBoxes | null = parseEntityBoxes(xml);
  if (!file) {
    note(report, 'mended', 'file of boxes that is no XML dropped', `Annotations/${id}.xml`);
    return none;
  }
  if ((file.width ?? size.width) !== size.width || (file.height ?? size.height) !== size.height) {
    note(report, 'skipped', 'image of another size than annotated', `Annotations/${id}.xml`);
    return null;
  }
  const boxes: PixelBox[] = [];
  const chains = new Map<string, number[]>();
  for (const { chains: names, corners } of file.boxes) {
    const sound = corners ? soundBox(corners, size, 1) : 'box that is not four numbers';
    if (typeof sound === 'string') {
      note(report, 'skipped', sound, `Annotations/${id}.xml`);
      continue;
    }
    if (sound.cut) note(report, 'mended', 'box cut at the edge of the image', `Annotations/${id}.xml`);
    for (const chain of new Set(names)) {
      const list = chains.get(chain);
      if (list) list.push(boxes.length);
      else chains.set(chain, [boxes.length]);
    }
    boxes.push(sound.box);
  }
  return { boxes, chains, known: file.chains };
}

/** The boxes of a phrase; none for what cannot be seen (chain 0), for whole scenes, and for what nobody boxed. */
function objectsOf(
  { chain }: EntityPhrase,
  chains: ReadonlyMap<string, readonly number[]>,
  known: ReadonlySet<string> | null,
  place: string,
  report: SourceReport,
): readonly number[] {
  // The annotators' number for phrases that are not about anything visible.
  if (chain === '0') return [];
  if (known && !known.has(chain)) note(report, 'mended', 'phrase of a chain that has no annotation', place);
  return chains.get(chain) ?? [];
}

/** Captions, spans and the objects they name. A box that no caption names is left out, for nobody knows what it shows. */
function grounded(
  split: string | null,
  captions: readonly string[],
  boxes: readonly PixelBox[],
  spans: readonly CaptionSpan[],
  place: string,
  report: SourceReport,
): RecordContent {
  const names = namesOf(boxes.length, captions, spans);
  const renumbered = new Map<number, number>();
  const objects: ObjectAnnotation[] = [];
  for (const [i, box] of boxes.entries()) {
    const name = names[i];
    if (!name) {
      note(report, 'skipped', 'box that no caption names', place);
      continue;
    }
    renumbered.set(i, objects.length);
    objects.push({ ...name, attributes: [], box });
  }
  return {
    ...(split === null ? {} : { split }),
    captions,
    objects,
    spans: spans.map(span => ({ ...span, objects: span.objects.flatMap(i => renumbered.get(i) ?? []) })),
  };
}

/** MDETR's form: a caption an entry, up to five entries an image, boxes with the parts of the caption they belong to. */
function openFile(options: SourceOptions, file: string): SourceReader {
  const split = /_(train|val|test)\.json$/.exec(file)?.[1] ?? null;
  if (options.split !== undefined && options.split !== split) {
    throw new GroundError('usage', `--split ${options.split}: ${file} is one split already`, {
      hint: 'name the file of the split you want, and leave --split out',
    });
  }
  return readEntries<MdetrPart>(options, {
    partial: true,
    entries: report =>
      mdetrEntries(file, report, name => {
        const id = name.replace(/^.*\//, '').replace(/\.\w+$/, '');
        return { images: [name, `flickr30k-images/${name}`], id: `flickr30k-${id}` };
      }),
    contentOf(entries, size, report) {
      const sentences = size && mdetrSentences(entries, size, report);
      if (!sentences) return null;
      const place = entries[0]?.place ?? file;
      const captions: string[] = [];
      const boxes: PixelBox[] = [];
      const spans: CaptionSpan[] = [];
      const numbers = new Map<string, number>();
      for (const sentence of sentences) {
        const tidy = tidyCaption(sentence.caption);
        if (tidy.text === '') {
          note(report, 'skipped', 'empty caption', place);
          continue;
        }
        captions.push(tidy.text);
        const named = new Map<string, { start: number; end: number; objects: number[] }>();
        for (const { box, key, spans: parts } of sentence.boxes) {
          const number = numbers.get(key) ?? boxes.length;
          if (number === boxes.length) boxes.push(box);
          numbers.set(key, number);
          for (const [from, to] of parts) {
            const [start, end] = [tidy.at(from), tidy.at(to)];
            const known = named.get(`${start},${end}`) ?? { start, end, objects: [] };
            if (!known.objects.includes(number)) known.objects.push(number);
            named.set(`${start},${end}`, known);
          }
        }
        const inOrder = [...named.values()].sort((a, b) => a.start - b.start || a.end - b.end);
        for (const span of inOrder) spans.push({ caption: captions.length - 1, ...span });
      }
      if (captions.length === 0) return null;
      return grounded(split, captions, boxes, spans, place, report);
    },
  });
}
