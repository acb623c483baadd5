/** Rows of the layout that `ground data export` writes, back to records. */
import { DataType, type Field } from 'apache-arrow';
import { z } from 'zod';
import { GroundError } from '../../errors.ts';
import { encodeRows, RECORD_SCHEMA, rowReader, SCHEMA_VERSION } from '../arrow.ts';
import type { ImageRecord } from '../record.ts';
import type { Table, TableRow } from './table.ts';

export const OWN_COLUMNS: readonly string[] = RECORD_SCHEMA.fields.map(({ name }) => name);

/**
 * Whether a file has all the columns of a record: written by `ground data export`, or by other tools from such a file.
 * Throws `data` where it says that another version of ground wrote it.
 */
export function isOwnTable({ file, columns, metadata }: Table): boolean {
  if (!OWN_COLUMNS.every(name => columns.includes(name))) return false;
  const version = metadata.get('ground.schema_version') ?? String(SCHEMA_VERSION);
  if (version === String(SCHEMA_VERSION)) return true;
  throw new GroundError(
    'data',
    `${file} has schema_version ${version}, this version of ground reads ${SCHEMA_VERSION}`,
    { hint: 'export it again with this version' },
  );
}

/**
 * The records of rows `first` and so on of a file. Throws `data` with the row and the column where a value is of another
 * type than the layout's.
 */
export function recordsOfOwnRows(rows: readonly TableRow[], file: string, first: number): ImageRecord[] {
  const checked = rows.map((row, i) => {
    const { success, data, error } = ROW.safeParse(row);
    if (success) return data;
    const [issue] = error.issues;
    const where = `${file}, row ${first + i}: column ${issue?.path.join('.')}`;
    throw new GroundError('data', `${where}: ${issue?.message}`, {
      hint: 'the columns are those of docs/data.md; for other tables say what is what with --column',
    });
  });
  const read = rowReader(encodeRows(checked));
  return checked.map((_, i) => read(i));
}

/** Hugging Face's tools turn bytes into a struct once they were told that a column holds images. */
const imageBytes = z.preprocess(
  value => (typeof value === 'object' && value !== null && 'bytes' in value ? value.bytes : value),
  z.instanceof(Uint8Array),
);

const ROW = z.object({ ...shapeOf(RECORD_SCHEMA.fields), image: imageBytes });

function shapeOf(fields: readonly Field[]): Record<string, z.ZodType> {
  return Object.fromEntries(
    fields.map(({ name, nullable, type }) => [name, nullable ? typeOf(type).nullable() : typeOf(type)]),
  );
}

function typeOf(type: DataType): z.ZodType {
  if (DataType.isStruct(type)) return z.object(shapeOf(type.children));
  const [item] = type.children ?? [];
  if (DataType.isFixedSizeList(type) && item) return z.array(typeOf(item.type)).length(type.listSize);
  if (DataType.isList(type) && item) return z.array(typeOf(item.type));
  if (DataType.isBinary(type)) return z.instanceof(Uint8Array);
  if (DataType.isBool(type)) return z.boolean();
  if (DataType.isInt(type)) return z.int32();
  // Zod's numbers are finite; what a box says is for `ground data validate` to judge.
  return DataType.isFloat(type) ? z.custom<number>(value => typeof value === 'number') : z.string();
}
