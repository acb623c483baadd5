/** Image records as Arrow record batches: the schema, and the way there and back. */
import {
  Binary,
  Bool,
  type Data,
  Field,
  Int32,
  makeBuilder,
  RecordBatch,
  Schema,
  Struct,
  type TypeMap,
  Utf8,
} from 'apache-arrow';
import { binaries, booleans, type Column, fieldOf, lists, numbers, strings } from './arrow-columns.ts';
import {
  BOX,
  boxColumn,
  CONVERSATION,
  conversationColumn,
  listOf,
  MASK,
  maskColumn,
  pieceBytes,
  required,
  rowOfBox,
  rowOfConversation,
  rowOfMask,
} from './arrow-conversation.ts';
import type { CaptionSpan, DescribedRegion, ImageRecord, ObjectAnnotation, Relation } from './record.ts';

/** Raised whenever a column changes; a dataset of another version is refused, never guessed at. */
export const SCHEMA_VERSION = 2;
/** Where a shard's metadata says so. */
export const VERSION_KEY = 'ground.schema_version';

const OBJECT = new Struct([
  required('label', new Utf8()),
  required('phrase', new Utf8()),
  required('attributes', listOf(new Utf8())),
  required('box', BOX),
  new Field('mask', MASK, true),
  required('crowd', new Bool()),
  required('expressions', listOf(new Utf8())),
]);

const RELATION = new Struct([
  required('subject', new Int32()),
  required('predicate', new Utf8()),
  required('object', new Int32()),
]);

const REGION = new Struct([required('phrase', new Utf8()), required('box', BOX)]);

const SPAN = new Struct([
  required('caption', new Int32()),
  required('start', new Int32()),
  required('end', new Int32()),
  required('objects', listOf(new Int32())),
]);

const FIELDS = [
  required('id', new Utf8()),
  required('media', new Utf8()),
  required('split', new Utf8()),
  required('path', new Utf8()),
  required('image', new Binary()),
  required('width', new Int32()),
  required('height', new Int32()),
  required('captions', listOf(new Utf8())),
  required('objects', listOf(OBJECT)),
  required('relations', listOf(RELATION)),
  required('regions', listOf(REGION)),
  required('spans', listOf(SPAN)),
  required('conversations', listOf(CONVERSATION)),
  required('absent', listOf(new Utf8())),
];

/**
 * Columns: id, media ("image"), split, path (of an image that is linked instead of stored, or ''), image (the encoded
 * file; empty where linked), width, height, captions, objects (label, phrase, attributes, box x1 y1 x2 y2 in pixels, mask
 * as COCO RLE or null, crowd, expressions), relations (subject, predicate, object), regions (phrase, box), spans
 * (caption, start, end, objects), conversations (kind, rounds of question and answer pieces, accepted), absent.
 */
export const RECORD_SCHEMA = new Schema<TypeMap>(FIELDS, new Map([[VERSION_KEY, String(SCHEMA_VERSION)]]));

/** One record batch of these records, in their order. */
export function encodeBatch(records: readonly ImageRecord[]): RecordBatch {
  return encodeRows(records.map(storedRow));
}

/** The same of rows as `storedRow` makes them. */
export function encodeRows(rows: readonly Readonly<Record<string, unknown>>[]): RecordBatch {
  const builder = makeBuilder({ type: new Struct(FIELDS), nullValues: [null] });
  // The builder reads fields by name, although its types know only rows that are in Arrow already.
  for (const row of rows) builder.append(row as Struct['TValue']);
  return new RecordBatch(RECORD_SCHEMA, builder.finish().flush());
}

/** About how many bytes a record takes in a shard; exact for what is large (image, masks, text). */
export function encodedSize(record: ImageRecord): number {
  let bytes = 128 + record.image.byteLength;
  for (const caption of record.captions) bytes += caption.length + 4;
  for (const object of record.objects) bytes += 96 + (object.mask?.counts.length ?? 0);
  for (const { rounds } of record.conversations ?? []) {
    for (const { question, answer } of rounds) {
      for (const piece of [...question, ...answer]) bytes += pieceBytes(piece);
    }
  }
  for (const { phrase } of record.regions ?? []) bytes += phrase.length + 40;
  return bytes + 24 * record.relations.length + 24 * (record.spans?.length ?? 0);
}

/**
 * Reads rows of a batch, column by column. The image bytes are a copy, so that the batch may go. Throws `data` where the
 * batch is damaged. The schema was compared when the shard was opened: a batch has these columns and no others.
 */
export function rowReader(batch: RecordBatch): Column<ImageRecord> {
  const column = (name: string) => fieldOf(batch.data, name);
  const ids = strings(column('id'));
  const images = binaries(column('image'));
  const widths = numbers(column('width'));
  const heights = numbers(column('height'));
  const captions = lists(column('captions'), strings);
  const objects = lists(column('objects'), objectColumn);
  const relations = lists(column('relations'), relationColumn);
  const paths = strings(column('path'));
  const splits = strings(column('split'));
  const allRegions = lists(column('regions'), regionColumn);
  const allSpans = lists(column('spans'), spanColumn);
  const allConversations = lists(column('conversations'), conversationColumn);
  const allAbsent = lists(column('absent'), strings);
  return row => {
    const path = paths(row);
    const split = splits(row);
    const regions = allRegions(row);
    const spans = allSpans(row);
    const conversations = allConversations(row);
    const absent = allAbsent(row);
    return {
      id: ids(row),
      image: images(row).slice(),
      width: widths(row),
      height: heights(row),
      captions: captions(row),
      objects: objects(row),
      relations: relations(row),
      ...(path === '' ? {} : { path }),
      ...(split === '' ? {} : { split }),
      ...(regions.length === 0 ? {} : { regions }),
      ...(spans.length === 0 ? {} : { spans }),
      ...(conversations.length === 0 ? {} : { conversations }),
      ...(absent.length === 0 ? {} : { absent }),
    };
  };
}

/** A record as the columns of `RECORD_SCHEMA` name it: plain objects, lists and null. */
export function storedRow(record: ImageRecord): Readonly<Record<string, unknown>> {
  return {
    ...record,
    media: 'image',
    split: record.split ?? '',
    path: record.path ?? '',
    objects: record.objects.map(({ label, phrase, attributes, box, mask, crowd, expressions }) => ({
      label,
      phrase,
      attributes,
      box: rowOfBox(box),
      mask: rowOfMask(mask),
      crowd: crowd === true,
      expressions: expressions ?? [],
    })),
    regions: (record.regions ?? []).map(({ phrase, box }) => ({ phrase, box: rowOfBox(box) })),
    spans: record.spans ?? [],
    conversations: (record.conversations ?? []).map(rowOfConversation),
    absent: record.absent ?? [],
  };
}

function objectColumn(data: Data): Column<ObjectAnnotation> {
  const labels = strings(fieldOf(data, 'label'));
  const phrases = strings(fieldOf(data, 'phrase'));
  const attributes = lists(fieldOf(data, 'attributes'), strings);
  const boxes = boxColumn(fieldOf(data, 'box'));
  const masks = maskColumn(fieldOf(data, 'mask'));
  const crowds = booleans(fieldOf(data, 'crowd'));
  const written = lists(fieldOf(data, 'expressions'), strings);
  return i => {
    const mask = masks(i);
    const crowd = crowds(i);
    const expressions = written(i);
    return {
      label: labels(i),
      phrase: phrases(i),
      attributes: attributes(i),
      box: boxes(i),
      ...(mask ? { mask } : {}),
      ...(crowd ? { crowd } : {}),
      ...(expressions.length === 0 ? {} : { expressions }),
    };
  };
}

function relationColumn(data: Data): Column<Relation> {
  const subjects = numbers(fieldOf(data, 'subject'));
  const predicates = strings(fieldOf(data, 'predicate'));
  const objects = numbers(fieldOf(data, 'object'));
  return i => ({ subject: subjects(i), predicate: predicates(i), object: objects(i) });
}

function regionColumn(data: Data): Column<DescribedRegion> {
  const phrases = strings(fieldOf(data, 'phrase'));
  const boxes = boxColumn(fieldOf(data, 'box'));
  return i => ({ phrase: phrases(i), box: boxes(i) });
}

function spanColumn(data: Data): Column<CaptionSpan> {
  const captions = numbers(fieldOf(data, 'caption'));
  const starts = numbers(fieldOf(data, 'start'));
  const ends = numbers(fieldOf(data, 'end'));
  const objects = lists(fieldOf(data, 'objects'), numbers);
  return i => ({ caption: captions(i), start: starts(i), end: ends(i), objects: objects(i) });
}
