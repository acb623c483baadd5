/** Arrow IPC, files and streams, a record batch at a time. Hugging Face's `datasets` keeps its data as streams. */
import { open } from 'node:fs/promises';
import {
  type Data,
  DataType,
  MapRow,
  type RecordBatch,
  RecordBatchReader,
  Schema,
  StructRow,
  Vector,
} from 'apache-arrow';
import { ioError } from '../../atomic.ts';
import {
  binaries,
  booleans,
  type Column,
  fieldOf,
  lists,
  nullable,
  numbers,
  strings,
} from '../arrow-columns.ts';
import { brokenTable, plainInteger, type Table } from './table.ts';

const FILE_MAGIC = 'ARROW1';

/** Opens a file. All of it is read once to count the rows. Throws `io`, and `data` where it is no Arrow. */
export async function openArrow(file: string): Promise<Table> {
  let rows = 0;
  let schema: Schema | undefined;
  for await (const part of partsOf(file)) {
    if (part instanceof Schema) schema = part;
    else rows += part.numRows;
  }
  return {
    file,
    rows,
    columns: schema?.fields.map(({ name }) => name) ?? [],
    metadata: schema?.metadata ?? new Map(),
    async *read(columns) {
      for await (const part of partsOf(file)) {
        // An empty batch may lack the columns inside of its columns.
        if (part instanceof Schema || part.numRows === 0) continue;
        const fields = columns.map(name => [name, values(fieldOf(part.data, name))] as const);
        for (let row = 0; row < part.numRows; row++) {
          yield Object.fromEntries(fields.map(([name, column]) => [name, column(row)]));
        }
      }
    },
  };
}

/** The schema, then the record batches. */
async function* partsOf(file: string): AsyncGenerator<Schema | RecordBatch> {
  const handle = await open(file, 'r').catch(thrown => {
    throw ioError(thrown, 'read', file);
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(FILE_MAGIC.length), 0, FILE_MAGIC.length, 0);
    const reader =
      buffer.toString('latin1', 0, bytesRead) === FILE_MAGIC
        ? await RecordBatchReader.from(handle)
        : await RecordBatchReader.from(handle.createReadStream({ start: 0, autoClose: false }));
    await reader.open();
    yield reader.schema;
    for await (const batch of reader) yield batch;
  } catch (thrown) {
    throw brokenTable(file, 'Arrow', thrown);
  } finally {
    await handle.close();
  }
}

/** Values of a column as a table has them; types that annotations rarely are of go through Arrow's own reader. */
function values(data: Data): Column<unknown> {
  return nullable(data, present(data));
}

function present(data: Data): Column<unknown> {
  const { type, children } = data;
  if (DataType.isUtf8(type)) return strings(data);
  if (DataType.isBinary(type)) return binaries(data);
  if (DataType.isBool(type)) return booleans(data);
  if (DataType.isList(type)) return lists(data, values);
  if (DataType.isStruct(type)) {
    const fields = children.map((child, i) => [type.children[i]?.name ?? '', values(child)] as const);
    return row => Object.fromEntries(fields.map(([name, column]) => [name, column(row)]));
  }
  const [items] = children;
  if (DataType.isFixedSizeList(type) && items) {
    const item = values(items);
    const { listSize } = type;
    return row => Array.from({ length: listSize }, (_, i) => item(row * listSize + i));
  }
  if (DataType.isInt(type) && type.bitWidth <= 32) return numbers(data);
  const vector = new Vector([data]);
  return row => plain(vector.get(row));
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return plainInteger(value);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value ?? null;
  if (value instanceof Vector) return [...value].map(plain);
  if (value instanceof StructRow || value instanceof MapRow) {
    return Object.fromEntries([...value].map(([key, one]) => [key, plain(one)]));
  }
  return value;
}
