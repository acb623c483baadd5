/** Which columns of a foreign table hold what, by the names that Hugging Face's datasets use or as flags say. */
import { GroundError } from '../../errors.ts';
import type { Table, TableRow } from './table.ts';

/** What a record can take from a table, and the columns it is looked for in where no flag says. */
const DEFAULTS = {
  id: ['id', 'image_id'],
  image: ['image', 'img', 'jpg', 'png'],
  caption: ['caption', 'captions'],
  'objects.bbox': ['objects.bbox'],
  'objects.category': ['objects.category', 'objects.label'],
  conversations: ['conversations', 'messages'],
  split: ['split'],
} as const satisfies Record<string, readonly string[]>;

export type Role = keyof typeof DEFAULTS;
export const ROLES = Object.keys(DEFAULTS) as readonly Role[];

/** Paths of names by role, ['objects', 'bbox']; the first that leads to something counts. */
export type ColumnMap = Readonly<Partial<Record<Role, readonly (readonly string[])[]>>>;

/**
 * Roles of the columns of a table. `given` are the values of --column, `role=column`; a column inside of another is
 * `outer.inner`. Throws `usage` on a role that is none, and `data` where a column that a flag names is not there.
 */
export function columnMap(table: Table, given: readonly string[]): ColumnMap {
  const map: Partial<Record<Role, readonly (readonly string[])[]>> = {};
  for (const role of ROLES) {
    const found = DEFAULTS[role]
      .map(name => name.split('.'))
      .filter(([top = '']) => table.columns.includes(top));
    if (found.length > 0) map[role] = found;
  }
  for (const flag of given) {
    const [name, column = '', ...more] = flag.split('=');
    const role = ROLES.find(known => known === name);
    if (!role || column === '' || more.length > 0) {
      throw new GroundError('usage', `--column "${flag}" makes no sense`, {
        hint: `it must be ROLE=COLUMN, such as caption=text; roles are ${ROLES.join(', ')}`,
      });
    }
    const path = column.split('.');
    if (!table.columns.includes(path[0] ?? '')) {
      throw new GroundError('data', `${table.file} has no column ${path[0]}`, {
        hint: `its columns are ${table.columns.join(', ')}`,
      });
    }
    map[role] = [path];
  }
  return map;
}

/** The value of the first of the paths at which the row has one. */
export function firstValue(row: TableRow, paths: readonly (readonly string[])[] = []): unknown {
  for (const path of paths) {
    const value = valueAt(row, path);
    const missing = Array.isArray(value) && value.length > 0 && value.every(one => one === undefined);
    if (value !== undefined && !missing) return value;
  }
  return undefined;
}

/** The value at a path of a row; undefined where there is none. A list on the way is taken item by item. */
export function valueAt(row: unknown, path: readonly string[]): unknown {
  const [name, ...rest] = path;
  if (name === undefined || row === null || row === undefined) return row;
  if (Array.isArray(row)) return row.map(item => valueAt(item, path));
  return isRow(row) ? valueAt(row[name], rest) : undefined;
}

export function isRow(value: unknown): value is TableRow {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  );
}

/**
 * Names of the classes of a column that holds numbers, as Hugging Face's `datasets` notes them in the file; null where
 * it does not.
 */
export function classNames(table: Table, path: readonly string[]): readonly string[] | null {
  try {
    const known: unknown = JSON.parse(table.metadata.get('huggingface') ?? 'null');
    return namesIn(valueAt(known, ['info', 'features']), path);
  } catch {
    return null;
  }
}

/** `Sequence` and `List` wrap a feature in `feature`; a list may also be written as a list of one. */
function namesIn(feature: unknown, path: readonly string[]): readonly string[] | null {
  if (Array.isArray(feature)) return namesIn(feature[0], path);
  if (!isRow(feature)) return null;
  const { names, feature: inner } = feature;
  if (path.length === 0 && Array.isArray(names) && names.every(name => typeof name === 'string'))
    return names;
  const [name = '', ...rest] = path;
  return namesIn(feature[name], rest) ?? (inner === undefined ? null : namesIn(inner, path));
}
