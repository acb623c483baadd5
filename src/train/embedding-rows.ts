import { type Dtype, itemSize, narrow, widen } from '../models/dtypes.ts';

/** A table of token vectors as it is stored, row-major, little-endian. */
export interface StoredTable {
  readonly dtype: Dtype;
  readonly rows: number;
  readonly width: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * The table with `rows` rows: those it has, byte for byte, and the mean of them all in every row beyond and in the rows
 * of `newIds`, which an untrained row that was kept in reserve may have held. `label` names the tensor.
 */
export function extendTable(
  table: StoredTable,
  rows: number,
  newIds: readonly number[],
  label: string,
): Uint8Array<ArrayBuffer> {
  const rowBytes = table.width * itemSize(table.dtype);
  const extended = new Uint8Array(rows * rowBytes);
  extended.set(table.bytes);
  const fresh = new Set(newIds);
  for (let row = table.rows; row < rows; row++) fresh.add(row);
  if (fresh.size === 0) return extended;
  const mean = narrow(table.dtype, meanRow(table, label), label);
  const bytes = new Uint8Array(mean.buffer, mean.byteOffset, mean.byteLength);
  for (const row of fresh) extended.set(bytes, row * rowBytes);
  return extended;
}

function meanRow({ dtype, rows, width, bytes }: StoredTable, label: string): Float32Array<ArrayBuffer> {
  const sums = new Float64Array(width);
  const rowBytes = width * itemSize(dtype);
  for (let row = 0; row < rows; row++) {
    const values = widen.float32(dtype, bytes.subarray(row * rowBytes, (row + 1) * rowBytes), label);
    for (const [i, value] of values.entries()) sums[i] = (sums[i] ?? 0) + value;
  }
  return Float32Array.from(sums, sum => sum / rows);
}
