/**
 * Values of Arrow columns by row, straight from their buffers. Arrow's own row objects go through a proxy for each
 * nested value, which takes several times as long.
 */
import { isUtf8 } from 'node:buffer';
import type { Data } from 'apache-arrow';
import { GroundError } from '../errors.ts';

/** The value of a column at a row, or of a list's items at an item's number. */
export type Column<T> = (row: number) => T;

/** The field of a struct, or the column of a batch. Throws `data` where there is none. */
export function fieldOf(struct: Data, name: string): Data {
  const index = struct.type.children.findIndex(field => field.name === name);
  const found = struct.children[index];
  if (!found) throw broken(`there is no column ${name}`);
  return found;
}

/** Whole numbers or floats, as they are. */
export function numbers(data: Data): Column<number> {
  const values: ArrayLike<number> = data.values;
  return row => values[row] ?? 0;
}

export function booleans(data: Data): Column<boolean> {
  const { offset } = data;
  const bits: Uint8Array = data.values;
  return row => (((bits[(offset + row) >> 3] ?? 0) >> ((offset + row) & 7)) & 1) === 1;
}

/** A window of the batch's memory, not a copy. */
export function binaries(data: Data): Column<Uint8Array> {
  const range = rangesOf(data, data.values.length);
  const values: Uint8Array = data.values;
  return row => {
    const [start, end] = range(row);
    return values.subarray(start, end);
  };
}

/** Reading throws `data` on a text that is no UTF-8. */
export function strings(data: Data): Column<string> {
  const range = rangesOf(data, data.values.length);
  const { buffer, byteOffset, length }: Uint8Array = data.values;
  const bytes = Buffer.from(buffer, byteOffset, length);
  // Mostly all texts of a batch are sound, which is found out at once; only otherwise each is looked at.
  const sound = isUtf8(bytes);
  return row => {
    const [start, end] = range(row);
    if (start === end) return '';
    const text = bytes.toString('utf8', start, end);
    if (sound || isUtf8(bytes.subarray(start, end))) return text;
    throw new GroundError('data', `a text is not UTF-8: ${JSON.stringify(text.slice(0, 60))}`, {
      hint: 'convert the annotations to UTF-8 and build the dataset again',
    });
  };
}

/** Lists of any length; `itemsOf` is handed the column that holds the items of all rows. */
export function lists<T>(data: Data, itemsOf: (items: Data) => Column<T>): Column<T[]> {
  const items = itemColumn(data);
  const range = rangesOf(data, items.length);
  const item = itemsOf(items);
  return row => {
    const [start, end] = range(row);
    const list: T[] = [];
    for (let i = start; i < end; i++) list.push(item(i));
    return list;
  };
}

/** Lists of `length` floats each; `make` is handed the floats of all rows and where those of a row begin. */
export function tuples<T>(
  data: Data,
  length: number,
  make: (values: ArrayLike<number>, at: number) => T,
): Column<T> {
  const values: ArrayLike<number> = itemColumn(data).values;
  return row => make(values, row * length);
}

/** Null where the column says so. */
export function nullable<T>(data: Data, column: Column<T>): Column<T | null> {
  if (data.nullCount === 0) return column;
  return row => (data.getValid(row) ? column(row) : null);
}

function itemColumn(list: Data): Data {
  const [items] = list.children;
  if (!items) throw broken('a list has no items');
  return items;
}

/** Where a row's values begin and end; what a damaged file claims beyond `size` values is never followed. */
function rangesOf(data: Data, size: number): (row: number) => [start: number, end: number] {
  const offsets: ArrayLike<number> = data.valueOffsets;
  return row => {
    const start = offsets[row] ?? 0;
    const end = offsets[row + 1] ?? 0;
    if (start < 0 || end < start || end > size) throw broken(`values ${start} to ${end} of ${size}`);
    return [start, end];
  };
}

function broken(why: string): GroundError {
  return new GroundError('data', `a record batch is damaged: ${why}`, {
    hint: 'copy the folder again or build the dataset again',
  });
}
