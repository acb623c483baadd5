/** A dataset as a file that other tools read: what `ground data export` does. */
import type { Dataset } from '../dataset.ts';
import type { ImageRecord } from '../record.ts';
import { writeArrow } from './write-arrow.ts';
import { writeParquet } from './write-parquet.ts';

export const EXPORT_FORMATS = ['parquet', 'arrow'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/**
 * Writes all rows in their order. Linked images are read and put into the file, which stands for itself. Throws what
 * reading throws, and `io`; then no file appears.
 */
export async function exportDataset(
  dataset: Dataset,
  file: string,
  format: ExportFormat,
  onProgress: (rows: number) => void = () => {},
): Promise<void> {
  const write = { parquet: writeParquet, arrow: writeArrow }[format];
  await write(recordsOf(dataset, onProgress), file);
}

async function* recordsOf(dataset: Dataset, onProgress: (rows: number) => void): AsyncGenerator<ImageRecord> {
  for (let row = 0; row < dataset.rows; row++) {
    const { path: _, ...record } = await dataset.read(row);
    yield record;
    onProgress(row + 1);
  }
}
