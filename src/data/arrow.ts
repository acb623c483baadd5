/** Image records as Arrow record batches: the schema, and the way there and back. */
import {
  Binary,
  Bool,
  Field,
  FixedSizeList,
  Float64,
  Int32,
  List,
  makeBuilder,
  RecordBatch,
  Schema,
  Struct,
  type TypeMap,
  Utf8,
} from 'apache-arrow';
import type { ImageRecord, ObjectAnnotation, Relation } from './record.ts';

/** Raised whenever a column changes; a dataset of another version is refused, never guessed at. */
export const SCHEMA_VERSION = 1;

const required = (name: string, type: ConstructorParameters<typeof Field>[1]) => new Field(name, type, false);
const listOf = (type: ConstructorParameters<typeof Field>[1]) => new List(required('item', type));

const MASK = new Struct([
  required('height', new Int32()),
  required('width', new Int32()),
  required('counts', new Utf8()),
]);

const OBJECT = new Struct([
  required('label', new Utf8()),
  required('phrase', new Utf8()),
  required('attributes', listOf(new Utf8())),
  // Float64: the boxes of annotation files come back as they were written there.
  required('box', new FixedSizeList(4, required('item', new Float64()))),
  new Field('mask', MASK, true),
  required('crowd', new Bool()),
]);

const RELATION = new Struct([
  required('subject', new Int32()),
  required('predicate', new Utf8()),
  required('object', new Int32()),
]);

const FIELDS = [
  required('id', new Utf8()),
  required('image', new Binary()),
  required('width', new Int32()),
  required('height', new Int32()),
  required('captions', listOf(new Utf8())),
  required('objects', listOf(OBJECT)),
  required('relations', listOf(RELATION)),
];

/**
 * Columns: id, image (the encoded file), width, height, captions, objects (label, phrase, attributes, box x1 y1 x2 y2 in
 * pixels, mask as COCO RLE or null, crowd), relations (subject, predicate, object).
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
  return bytes + 24 * record.relations.length;
}

/** Row `row` of a batch; the image bytes are a copy, so that the batch may go. */
export function decodeRow(batch: RecordBatch, row: number): ImageRecord {
  // The schema was compared when the shard was opened: a row has these fields and no others.
  const value = batch.get(row)?.toJSON() as unknown as StoredRecord;
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
  };
}

/** A row as Arrow hands it out. */
interface StoredRecord {
  readonly id: string;
  readonly image: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly captions: Iterable<string>;
  readonly objects: Iterable<StoredObject>;
  readonly relations: Iterable<Relation>;
}
interface StoredObject {
  readonly label: string;
  readonly phrase: string;
  readonly attributes: Iterable<string>;
  readonly box: Iterable<number>;
  readonly mask: { readonly height: number; readonly width: number; readonly counts: string } | null;
  readonly crowd: boolean;
}

/** What the builder reads by field name; its own types know only rows that are in Arrow already. */
function rowOf(record: ImageRecord): Struct['TValue'] {
  const row: unknown = {
    ...record,
    objects: record.objects.map(({ label, phrase, attributes, box, mask, crowd }) => ({
      label,
      phrase,
      attributes,
      box: [box.x1, box.y1, box.x2, box.y2],
      mask: mask ? { height: mask.size[0], width: mask.size[1], counts: mask.counts } : null,
      crowd: crowd === true,
    })),
  };
  return row as Struct['TValue'];
}

function objectOf({ label, phrase, attributes, box, mask, crowd }: StoredObject): ObjectAnnotation {
  const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = box;
  return {
    label,
    phrase,
    attributes: [...attributes],
    box: { space: 'pixels', x1, y1, x2, y2 },
    ...(mask ? { mask: { size: [mask.height, mask.width], counts: mask.counts } } : {}),
    ...(crowd ? { crowd } : {}),
  };
}
