import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Golden {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

/** The tensors of a case's io.safetensors (F32, I32 and U8). */
export function readGolden(name: string): Map<string, Golden> {
  const file = readFileSync(fixture(name, 'io.safetensors'));
  const headerLength = Number(file.readBigUInt64LE(0));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> =
    JSON.parse(file.toString('utf8', 8, 8 + headerLength));
  return new Map(
    Object.entries(header)
      .filter(([key]) => key !== '__metadata__')
      .map(
        ([
          key,
          {
            dtype,
            shape,
            data_offsets: [start, end],
          },
        ]) => {
          const bytes = Uint8Array.from(file.subarray(8 + headerLength + start, 8 + headerLength + end));
          const data =
            dtype === 'U8' ? bytes : new (dtype === 'F32' ? Float32Array : Int32Array)(bytes.buffer);
          return [key, { shape, data }];
        },
      ),
  );
}

export function fixture(name: string, file: string): string {
  return join(import.meta.dirname, '..', 'fixtures', name, file);
}
