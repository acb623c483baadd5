/** Records to a Parquet file, row group by row group. */
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { type Sink, writeStreamAtomic } from '../../atomic.ts';
import { encodedSize, RECORD_SCHEMA, SCHEMA_VERSION, storedRow } from '../arrow.ts';
import type { ImageRecord } from '../record.ts';
import { parquetSchemaOf } from './parquet-schema.ts';

/** A row group ends before it has more rows or bytes than this: both sides of the exchange hold one in memory. */
const GROUP_ROWS = 5000;
const GROUP_BYTES = 32 * 2 ** 20;

/**
 * Writes a file with the columns of the shards, nested as they are, texts and numbers compressed with snappy, images as
 * they are. `path` is empty: the file holds the images itself. Memory: about four row groups of 32 MB. Throws `io`, and
 * what `records` throws; then no file appears.
 */
export async function writeParquet(records: AsyncIterable<ImageRecord>, file: string): Promise<void> {
  await writeStreamAtomic(file, async sink => {
    const writer = new ParquetWriter({
      writer: new SinkWriter(sink),
      schema: parquetSchemaOf(RECORD_SCHEMA),
      statistics: false,
      kvMetadata: [{ key: 'ground.schema_version', value: String(SCHEMA_VERSION) }],
      createdBy: 'ground',
    });
    let group: ImageRecord[] = [];
    let bytes = 0;
    const flush = async () => {
      if (group.length > 0) await writer.write({ columnData: columnsOf(group), rowGroupSize: group.length });
      group = [];
      bytes = 0;
    };
    for await (const record of records) {
      const size = encodedSize(record);
      if (group.length >= GROUP_ROWS || (group.length > 0 && bytes + size > GROUP_BYTES)) await flush();
      group.push(record);
      bytes += size;
    }
    await flush();
    await writer.finish();
  });
}

function columnsOf(records: readonly ImageRecord[]) {
  const rows = records.map(record => storedRow(record));
  return RECORD_SCHEMA.fields.map(({ name }) => {
    const data = rows.map(row => row[name]);
    // Without an index: the writer keeps it of every page until the end of the file.
    const column = { name, data, offsetIndex: false };
    // Encoded images neither repeat nor get any smaller.
    return name === 'image' ? ({ ...column, codec: 'UNCOMPRESSED', encoding: 'PLAIN' } as const) : column;
  });
}

/** Hands over what was written after every row group. */
class SinkWriter extends ByteWriter {
  readonly #sink: Sink;

  constructor(sink: Sink) {
    super(2 ** 20);
    this.#sink = sink;
  }

  async flush(): Promise<void> {
    await this.#sink(this.getBytes());
    this.index = 0;
  }

  // The library types this as returning nothing, but awaits it.
  override async finish(): Promise<void> {
    await this.flush();
  }
}
