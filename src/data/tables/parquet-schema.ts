/** The schema of a Parquet file that has the columns of an Arrow schema. */
import { DataType, type Field, type Schema } from 'apache-arrow';
import type { SchemaElement } from 'hyparquet';
import { GroundError } from '../../errors.ts';

/**
 * Elements in depth-first order, as Parquet lists them. Lists become LIST groups of three levels, lists of a fixed length
 * too (Parquet has none); what Arrow calls nullable is OPTIONAL, all else REQUIRED.
 */
export function parquetSchemaOf({ fields }: Schema): SchemaElement[] {
  return [{ name: 'schema', num_children: fields.length }, ...fields.flatMap(elementsOf)];
}

function elementsOf({ name, nullable, type }: Field): SchemaElement[] {
  const head = { name, repetition_type: nullable ? 'OPTIONAL' : 'REQUIRED' } as const;
  if (DataType.isStruct(type)) {
    return [{ ...head, num_children: type.children.length }, ...type.children.flatMap(elementsOf)];
  }
  if (DataType.isList(type) || DataType.isFixedSizeList(type)) {
    const [item] = type.children;
    if (!item) throw unknownType(name, type);
    return [
      { ...head, num_children: 1, converted_type: 'LIST', logical_type: { type: 'LIST' } },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
      ...elementsOf(item.clone({ name: 'element' })),
    ];
  }
  if (DataType.isUtf8(type)) {
    return [{ ...head, type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } }];
  }
  if (DataType.isBinary(type)) return [{ ...head, type: 'BYTE_ARRAY' }];
  if (DataType.isBool(type)) return [{ ...head, type: 'BOOLEAN' }];
  if (DataType.isInt(type) && type.bitWidth === 32) return [{ ...head, type: 'INT32' }];
  if (DataType.isFloat(type)) return [{ ...head, type: 'DOUBLE' }];
  throw unknownType(name, type);
}

function unknownType(name: string, type: DataType): GroundError {
  return new GroundError('data', `column ${name} of type ${type} cannot be written to Parquet`);
}
