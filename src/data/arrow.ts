/** Image records as Arrow record batches: the schema, and the way there and back. */
import {
  Binary,
  Bool,
  Field,
  Int32,
  makeBuilder,
  RecordBatch,
  Schema,
  Struct,
  type TypeMap,
  Utf8,
} from 'apache-arrow';
import {
  BOX,
  boxOfRow,
  CONVERSATION,
  conversationOfRow,
  listOf,
  MASK,
  maskOfRow,
  pieceBytes,
  required,
  rowOfBox,
  rowOfConversation,
  rowOfMask,
  type StoredConversationRow,
  type StoredMask,
} from './arrow-conversation.ts';
import type { CaptionSpan, ImageRecord, ObjectAnnotation, Relation } from './record.ts';

/** Raised whenever a column changes; a dataset of another version is refused, never guessed at. */
export const SCHEMA_VERSION = 2;

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
export const RECORD_SCHEMA = new Schema<TypeMap>(
  FIELDS,
  new Map([['ground.schema_version', String(SCHEMA_VERSION)]]),
);

/** One record batch of these records, in their order. */
export function encodeBatch(records: readonly ImageRecord[]): RecordBatch {
  const builder = makeBuilder({ type: new Struct(FIELDS), nullValues: [null] });
  for (const record of records) builder.append(rowOf(record));
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

/** Row `row` of a batch; the image bytes are a copy, so that the batch may go. */
export function decodeRow(batch: RecordBatch, row: number): ImageRecord {
  // The schema was compared when the shard was opened: a row has these fields and no others.
  const value = batch.get(row)?.toJSON() as unknown as StoredRecord;
  const regions = [...value.regions].map(({ phrase, box }) => ({ phrase, box: boxOfRow(box) }));
  const spans = [...value.spans].map(spanOf);
  const conversations = [...value.conversations].map(conversationOfRow);
  const absent = [...value.absent];
  return {
    id: value.id,
    image: value.image.slice(),
    width: value.width,
    height: value.height,
    captions: [...value.captions],
    objects: [...value.objects].map(objectOf),
    relations: [...value.relations].map(
      ({ subject, predicate, object }): Relation => ({ subject, predicate, object }),
    ),
    ...(value.path === '' ? {} : { path: value.path }),
    ...(value.split === '' ? {} : { split: value.split }),
    ...(regions.length === 0 ? {} : { regions }),
    ...(spans.length === 0 ? {} : { spans }),
    ...(conversations.length === 0 ? {} : { conversations }),
    ...(absent.length === 0 ? {} : { absent }),
  };
}

/** A row as Arrow hands it out. */
interface StoredRecord {
  readonly id: string;
  readonly split: string;
  readonly path: string;
  readonly image: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly captions: Iterable<string>;
  readonly objects: Iterable<StoredObject>;
  readonly relations: Iterable<Relation>;
  readonly regions: Iterable<{ readonly phrase: string; readonly box: Iterable<number> }>;
  readonly spans: Iterable<StoredSpan>;
  readonly conversations: Iterable<StoredConversationRow>;
  readonly absent: Iterable<string>;
}
interface StoredSpan extends Omit<CaptionSpan, 'objects'> {
  readonly objects: Iterable<number>;
}
interface StoredObject {
  readonly label: string;
  readonly phrase: string;
  readonly attributes: Iterable<string>;
  readonly box: Iterable<number>;
  readonly mask: StoredMask | null;
  readonly crowd: boolean;
  readonly expressions: Iterable<string>;
}

/** What the builder reads by field name; its own types know only rows that are in Arrow already. */
function rowOf(record: ImageRecord): Struct['TValue'] {
  const row: unknown = {
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
  return row as Struct['TValue'];
}

function objectOf({
  label,
  phrase,
  attributes,
  box,
  mask,
  crowd,
  expressions,
}: StoredObject): ObjectAnnotation {
  const written = [...expressions];
  return {
    label,
    phrase,
    attributes: [...attributes],
    box: boxOfRow(box),
    ...(mask ? { mask: maskOfRow(mask) } : {}),
    ...(crowd ? { crowd } : {}),
    ...(written.length === 0 ? {} : { expressions: written }),
  };
}

function spanOf({ caption, start, end, objects }: StoredSpan): CaptionSpan {
  return { caption, start, end, objects: [...objects] };
}
