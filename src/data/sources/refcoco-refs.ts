/** RefCOCO's refs: which annotation of COCO's each sentence means. Pickles of Python, or the same lists as JSON. */
import { open, readFile, stat } from 'node:fs/promises';
import { ioError } from '../../atomic.ts';
import { GroundError, messageOf } from '../../errors.ts';
import { streamArray } from './json-stream.ts';
import { readPickle } from './pickle.ts';
import { note, type SourceReport, tally } from './source.ts';

/** The sentences of one ref about one object. */
export interface Ref {
  readonly annotation: number;
  readonly image: number;
  readonly split: string;
  readonly sentences: readonly string[];
  /** Name of the image's file, where the ref tells. */
  readonly file: string | null;
  readonly place: string;
}

/** What a file given for refs is, by its first byte: a JSON object (MDETR's form), a JSON list, or a pickle. */
export type RefFileKind = 'object' | 'list' | 'pickle';

type Json = Readonly<Record<string, unknown>>;

/** A pickle is read whole; those of RefCOCO have 20 to 50 MB. */
const MAX_PICKLE_BYTES = 2 ** 30;

const HINT =
  'refs are a list of objects with ann_id, image_id, split and sentences: refs(unc).p, refs(google).p, refs(umd).p, or their JSON';

/** Looks at the beginning of a file. Throws `io` where it cannot be read. */
export async function refFileKind(file: string): Promise<RefFileKind> {
  const bytes = Buffer.alloc(4096);
  const handle = await open(file, 'r').catch(thrown => {
    throw ioError(thrown, 'read', file);
  });
  try {
    const { bytesRead } = await handle.read(bytes);
    const first = bytes
      .toString('latin1', 0, bytesRead)
      .replace(/^\xef\xbb\xbf/, '')
      .trimStart()[0];
    return first === '[' ? 'list' : first === '{' ? 'object' : 'pickle';
  } catch (thrown) {
    throw ioError(thrown, 'read', file);
  } finally {
    await handle.close();
  }
}

/**
 * All refs of a file, in its order; of a split, if one is named. Refs that make no sense are noted. Throws `data` where the
 * file holds no refs, `usage` where it has none of the split.
 */
export async function readRefs(
  file: string,
  split: string | undefined,
  report: SourceReport,
): Promise<Ref[]> {
  const refs: Ref[] = [];
  const splits: Record<string, number> = {};
  let entries = 0;
  for await (const { value, place } of (await refFileKind(file)) === 'list' ? listed(file) : pickled(file)) {
    if (entries++ === 0 && !(isObject(value) && 'ann_id' in value && 'sentences' in value)) {
      throw new GroundError('data', `${place} is no ref of RefCOCO`, { hint: HINT });
    }
    const ref = refOf(value, place);
    if (typeof ref === 'string') {
      note(report, 'skipped', ref, place);
      continue;
    }
    tally(splits, ref.split);
    if (split === undefined || ref.split === split) refs.push(ref);
  }
  if (entries === 0) throw new GroundError('data', `${file} holds no refs at all`, { hint: HINT });
  if (refs.length === 0 && split !== undefined) {
    const known = Object.entries(splits).map(([name, count]) => `${name} (${count})`);
    throw new GroundError('usage', `${file} has no refs of the split "${split}"`, {
      hint: `it has ${known.join(', ') || 'none at all'}`,
    });
  }
  return refs;
}

interface PlacedValue {
  readonly value: unknown;
  readonly place: string;
}

async function* listed(file: string): AsyncGenerator<PlacedValue> {
  for await (const { value, key } of streamArray(file, [])) yield { value, place: `${file}, ref ${key}` };
}

async function* pickled(file: string): AsyncGenerator<PlacedValue> {
  const bytes = await stat(file)
    .then(({ size }) => {
      if (size <= MAX_PICKLE_BYTES) return readFile(file);
      throw new GroundError('data', `${file} has ${size} bytes; refs have far less`, { hint: HINT });
    })
    .catch(thrown => {
      throw ioError(thrown, 'read', file);
    });
  let refs: unknown;
  try {
    refs = readPickle(bytes);
  } catch (cause) {
    throw new GroundError('data', `${file} is neither JSON nor a pickle of plain data: ${messageOf(cause)}`, {
      hint: 'was the file copied completely? Python can turn other pickles into JSON, which is read as well',
      cause,
    });
  }
  if (!Array.isArray(refs)) {
    throw new GroundError('data', `${file} is a pickle, but of no list`, { hint: HINT });
  }
  for (const [i, value] of refs.entries()) yield { value, place: `${file}, ref ${i}` };
}

/** The ref of an entry, or why there is none, in the words of a report. */
function refOf(value: unknown, place: string): Ref | string {
  if (!isObject(value)) return 'ref that is no object';
  const { ann_id: annotation, image_id: image, split, sentences, file_name: file } = value;
  // gRefCOCO's refs mean several objects, or none.
  if (Array.isArray(annotation)) return 'ref of several objects or of none';
  if (!isWhole(annotation) || !isWhole(image)) return 'ref without an annotation or an image';
  if (typeof split !== 'string' || split === '') return 'ref without a split';
  if (!Array.isArray(sentences)) return 'ref without sentences';
  return {
    annotation,
    image,
    split,
    sentences: sentences.map(sentenceOf),
    file: typeof file === 'string' ? file : null,
    place,
  };
}

/** The cleaned sentence, or what was typed, or its tokens; '' where there is nothing. */
function sentenceOf(sentence: unknown): string {
  if (typeof sentence === 'string') return tidied(sentence);
  if (!isObject(sentence)) return '';
  const tokens = Array.isArray(sentence.tokens) ? sentence.tokens.join(' ') : '';
  return (
    [sentence.sent, sentence.raw, tokens]
      .map(text => (typeof text === 'string' ? tidied(text) : ''))
      .find(text => text !== '') ?? ''
  );
}

function tidied(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value);
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
