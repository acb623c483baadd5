import { closeSync, openSync, statSync, truncateSync, writeSync } from 'node:fs';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { openSafetensors } from '../../src/models/safetensors.ts';
import { temporaryFolder } from '../helpers/folder.ts';

/** A file of 3 GB that takes up next to nothing: one huge tensor of holes, then a small one. */
function sparseFile(file: string): { bytes: number; header: number } {
  const rows = 3 * 2 ** 28;
  const huge = 4 * rows;
  const json = JSON.stringify({
    'model.embed_tokens.weight': { dtype: 'F32', shape: [rows, 1], data_offsets: [0, huge] },
    'model.norm.weight': { dtype: 'F32', shape: [4], data_offsets: [huge, huge + 16] },
  });
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8), 0);
  header.write(json, 8);
  const handle = openSync(file, 'w');
  writeSync(handle, header);
  writeSync(handle, Buffer.from(Float32Array.of(1, 2, 3, 4).buffer), 0, 16, header.length + huge);
  closeSync(handle);
  return { bytes: header.length + huge + 16, header: header.length };
}

test('one tensor of a file beyond 2 GB is read without the rest', async () => {
  const file = join(temporaryFolder(), 'model.safetensors');
  const { bytes, header } = sparseFile(file);
  expect(statSync(file).size).toBe(bytes);
  expect(bytes).toBeGreaterThan(3 * 10 ** 9);
  let read = 0;
  const open = fs.open;
  const probe = await open(file);
  const prototype = Object.getPrototypeOf(probe);
  await probe.close();
  const original = prototype.read;
  const spy = vi.spyOn(prototype, 'read').mockImplementation(async function (this: unknown, ...args) {
    const result = await original.apply(this, args);
    read += result.bytesRead;
    return result;
  });
  const source = await openSafetensors(file);
  expect([...(await source.readFloat32('model.norm.weight'))]).toEqual([1, 2, 3, 4]);
  await source.close();
  spy.mockRestore();
  expect(read).toBe(header + 16);
  truncateSync(file);
});
