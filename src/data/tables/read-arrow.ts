/** Arrow IPC, files and streams, a record batch at a time. Hugging Face's `datasets` keeps its data as streams. */
import { open } from 'node:fs/promises';
import { MapRow, type RecordBatch, RecordBatchReader, Schema, StructRow, Vector } from 'apache-arrow';
import { ioError } from '../../atomic.ts';
import { brokenTable, plainInteger, type Table, type TableRow } from './table.ts';

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
        if (part instanceof Schema) continue;
        const batch = part.select([...columns]);
        for (let row = 0; row < batch.numRows; row++) yield plain(batch.get(row)) as TableRow;
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

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return plainInteger(value);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value ?? null;
  if (value instanceof Vector) return [...value].map(plain);
  if (value instanceof StructRow || value instanceof MapRow) {
    return Object.fromEntries([...value].map(([key, one]) => [key, plain(one)]));
  }
  return value;
}
