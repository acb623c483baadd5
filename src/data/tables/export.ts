/** A dataset as files that other tools read: what `ground data export` does. */
import type { Dataset } from '../dataset.ts';
import type { ImageRecord } from '../record.ts';
import { writeArrow } from './write-arrow.ts';
import { writeJsonl } from './write-jsonl.ts';
import { writeParquet } from './write-parquet.ts';

export const EXPORT_FORMATS = ['parquet', 'arrow', 'jsonl'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/**
 * Writes all rows in their order: to a file, or (jsonl) to a folder. Linked images are read: what is written stands for
 * itself. Throws what reading throws, and `io`; then nothing appears.
 */
export async function exportDataset(
  dataset: Dataset,
  out: string,
  format: ExportFormat,
  onProgress: (rows: number) => void = () => {},
): Promise<void> {
  const write = { parquet: writeParquet, arrow: writeArrow, jsonl: writeJsonl }[format];
  await write(recordsOf(dataset, onProgress), out);
}

async function* recordsOf(dataset: Dataset, onProgress: (rows: number) => void): AsyncGenerator<ImageRecord> {
  for (let row = 0; row < dataset.rows; row++) {
    const { path: _, ...record } = await dataset.read(row);
    yield record;
    onProgress(row + 1);
  }
}
