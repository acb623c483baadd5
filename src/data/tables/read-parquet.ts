/** Parquet files, a row group at a time. */
import { type FileHandle, open } from 'node:fs/promises';
import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  type RowGroup,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { ioError } from '../../atomic.ts';
import { GroundError } from '../../errors.ts';
import { brokenTable, plainInteger, type Table, type TableRow } from './table.ts';

/** A row group is read whole; the library cannot read less of most files. */
const MAX_GROUP_BYTES = 2 ** 30;

/** The library's LZ4 takes a page without values for a damaged one. */
const CODECS: Compressors = Object.fromEntries(
  Object.entries(compressors).map(([name, unpack]) => [
    name,
    (input: Uint8Array, length: number) => (length === 0 ? new Uint8Array(0) : unpack(input, length)),
  ]),
);

/**
 * Opens a file. All encodings, and the codecs snappy, gzip, zstd, brotli and lz4, are read. Memory while reading: about
 * three times the wanted columns of the largest row group. Throws `io`, and `data` where the file is no Parquet.
 */
export async function openParquet(file: string): Promise<Table> {
  const metadata = await withFile(file, buffer => parquetMetadataAsync(buffer));
  return {
    file,
    rows: Number(metadata.num_rows),
    columns: topColumns(metadata),
    metadata: new Map((metadata.key_value_metadata ?? []).map(({ key, value = '' }) => [key, value])),
    async *read(columns) {
      let start = 0;
      for (const group of metadata.row_groups) {
        const rows = Number(group.num_rows);
        checkSize(group, columns, file);
        yield* await withFile(file, buffer =>
          parquetReadObjects({
            file: buffer,
            metadata,
            columns: [...columns],
            compressors: CODECS,
            utf8: false,
            parsers: { stringFromBytes: textOf },
            rowStart: start,
            rowEnd: start + rows,
          }),
        ).then(found => found.map(row => plain(row) as TableRow));
        start += rows;
      }
    },
  };
}

function checkSize(group: RowGroup, columns: readonly string[], file: string): void {
  const bytes = group.columns
    .filter(({ meta_data: meta }) => columns.includes(meta?.path_in_schema[0] ?? ''))
    .reduce((sum, { meta_data: meta }) => sum + Number(meta?.total_uncompressed_size), 0);
  if (bytes <= MAX_GROUP_BYTES) return;
  throw new GroundError(
    'data',
    `${file} has a row group of ${bytes} bytes in ${group.num_rows} rows, more than ${MAX_GROUP_BYTES}`,
    { hint: 'write it again with smaller row groups: pyarrow.parquet.write_table(..., row_group_size=500)' },
  );
}

function topColumns({ schema }: FileMetaData): string[] {
  const names: string[] = [];
  const [root] = schema;
  for (let i = 1; names.length < (root?.num_children ?? 0) && i < schema.length; ) {
    names.push(schema[i]?.name ?? '');
    // Past the whole branch below this column.
    for (let open = 1; open > 0; i++) open += (schema[i]?.num_children ?? 0) - 1;
  }
  return names;
}

async function withFile<T>(file: string, work: (buffer: AsyncBuffer) => Promise<T>): Promise<T> {
  const handle = await open(file, 'r').catch(thrown => {
    throw ioError(thrown, 'read', file);
  });
  try {
    return await work(await bufferOf(handle));
  } catch (thrown) {
    throw brokenTable(file, 'Parquet', thrown);
  } finally {
    await handle.close();
  }
}

async function bufferOf(handle: FileHandle): Promise<AsyncBuffer> {
  const { size } = await handle.stat();
  return {
    byteLength: size,
    async slice(start, end = size) {
      const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start));
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
      if (bytesRead < bytes.length) throw new Error(`it ends at byte ${start + bytesRead}`);
      return bytes.buffer;
    },
  };
}

/** The library's own reader drops a byte order mark, which is a character like any other here. */
function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return plainInteger(value);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value ?? null;
  if (Array.isArray(value)) return value.map(plain);
  if (ArrayBuffer.isView(value) || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}
