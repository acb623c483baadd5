import { z } from 'zod';
import type { KeyPath } from './problems.ts';

/** A schema without what surrounds it: defaults, optionality, null, a transformation of the result. */
export function bareSchema(schema: z.core.$ZodType): z.core.$ZodType {
  if (
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodExactOptional ||
    schema instanceof z.ZodNullable
  ) {
    return bareSchema(schema.def.innerType);
  }
  if (schema instanceof z.ZodPipe) return bareSchema(schema.def.in);
  return schema;
}

/** The schema of the value at a key path, or undefined where the schema knows no such key. */
export function schemaAt(schema: z.core.$ZodType, key: KeyPath): z.core.$ZodType | undefined {
  const [first, ...rest] = key;
  if (first === undefined) return schema;
  for (const part of partsOf(bareSchema(schema), first)) {
    const found = schemaAt(part, rest);
    if (found) return found;
  }
  return undefined;
}

function partsOf(schema: z.core.$ZodType, key: string | number): z.core.$ZodType[] {
  if (schema instanceof z.ZodObject) {
    const child: z.core.$ZodType | undefined = schema.shape[key];
    return child ? [child] : [];
  }
  if (schema instanceof z.ZodUnion) return schema.options.flatMap(option => partsOf(bareSchema(option), key));
  if (schema instanceof z.ZodRecord) return [schema.valueType];
  const index = Number(key);
  if (!Number.isInteger(index) || index < 0) return [];
  if (schema instanceof z.ZodArray) return [schema.element];
  if (schema instanceof z.ZodTuple) {
    const item = schema.def.items[index];
    return item ? [item] : [];
  }
  return [];
}

/** Every named key of a schema with its schema, outermost first; list items appear as `[]`. */
export function* walkKeys(
  schema: z.core.$ZodType,
  above: KeyPath = [],
): Generator<{ readonly key: KeyPath; readonly schema: z.core.$ZodType }> {
  const bare = bareSchema(schema);
  if (bare instanceof z.ZodArray) yield* walkKeys(bare.element, [...above, '[]']);
  if (!(bare instanceof z.ZodObject)) return;
  for (const [name, child] of Object.entries<z.core.$ZodType>(bare.shape)) {
    yield { key: [...above, name], schema: child };
    yield* walkKeys(child, [...above, name]);
  }
}
