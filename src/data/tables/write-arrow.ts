/** Records to one Arrow IPC file, of any size, with the columns of the shards. */
import { writeStreamAtomic } from '../../atomic.ts';
import { encodedSize } from '../arrow.ts';
import type { ImageRecord } from '../record.ts';
import { BatchWriter, DEFAULT_LIMITS } from '../shards.ts';

/** Writes batches as large as those of shards. Throws `io`, and what `records` throws; then no file appears. */
export async function writeArrow(records: AsyncIterable<ImageRecord>, file: string): Promise<void> {
  const { batchRows, batchBytes } = DEFAULT_LIMITS;
  await writeStreamAtomic(file, async sink => {
    const writer = new BatchWriter(sink);
    let batch: ImageRecord[] = [];
    let bytes = 0;
    for await (const record of records) {
      const size = encodedSize(record);
      if (batch.length >= batchRows || (batch.length > 0 && bytes + size > batchBytes)) {
        await writer.write(batch);
        batch = [];
        bytes = 0;
      }
      batch.push(record);
      bytes += size;
    }
    if (batch.length > 0) await writer.write(batch);
    await writer.close();
  });
}
