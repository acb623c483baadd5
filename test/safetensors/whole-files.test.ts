import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openSafetensors, type TensorEntry, writeSafetensors } from '../../src/models/safetensors.ts';
import { readWhole, type WholeFile } from '../../src/models/whole-files.ts';
import { temporaryFolder } from '../helpers/folder.ts';

const MEGABYTE = 2 ** 20;
const filled = (count: number, salt: number) => Float32Array.from({ length: count }, (_, i) => salt + i);

/** Opens files, reads them whole, and closes them. */
async function whole(paths: readonly string[], options?: { readonly slab: number }): Promise<WholeFile[]> {
  const files = await Promise.all(paths.map(openSafetensors));
  try {
    const found: WholeFile[] = [];
    for await (const file of readWhole(files, options)) found.push(file);
    return found;
  } finally {
    await Promise.all(files.map(file => file.close()));
  }
}

/** Bit for bit, in the order of the file. */
function bitsOf({ arrays }: WholeFile): [string, string, string][] {
  return [...arrays].map(([name, { shape, data }]) => [
    name,
    shape.join(),
    Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex'),
  ]);
}

/** As `bitsOf`, tensor by tensor. */
async function bitsOneByOne(path: string): Promise<[string, string, string][]> {
  const file = await openSafetensors(path);
  try {
    const found: [string, string, string][] = [];
    for (const [name, { shape }] of file.tensors) {
      found.push([name, shape.join(), Buffer.from((await file.readFloat32(name)).buffer).toString('hex')]);
    }
    return found;
  } finally {
    await file.close();
  }
}

describe('a whole file', () => {
  it('is read in one pass as tensor by tensor, whatever lies beside whatever, with the checksum of all its bytes', async () => {
    const file = join(temporaryFolder(), 'whole');
    const tensors: TensorEntry[] = [
      { name: 'a', dtype: 'F32', shape: [9 * MEGABYTE], data: filled(9 * MEGABYTE, 1) },
      { name: 'b', dtype: 'F32', shape: [3], data: filled(3, 2) },
      { name: 'c', dtype: 'F32', shape: [0], data: new Float32Array() },
      { name: 'd', dtype: 'F32', shape: [8 * MEGABYTE], data: filled(8 * MEGABYTE, 3) },
      { name: 'e', dtype: 'BF16', shape: [5], data: Uint16Array.of(1, 2, 3, 4, 5) },
      { name: 'f', dtype: 'BF16', shape: [0], data: new Uint16Array() },
    ];
    const { crc32c: written } = await writeSafetensors(file, tensors);
    const [read] = await whole([file]);
    expect(read?.crc32c).toBe(written);
    expect(read?.crc32c).toBe(crc32c(await readFile(file)));
    expect([...(read?.arrays.keys() ?? [])]).toEqual(tensors.map(t => t.name));
    for (const { name, dtype, shape, data } of tensors) {
      const found = read?.arrays.get(name);
      expect(found?.shape).toEqual(shape);
      if (dtype !== 'F32') continue;
      const bytes = found && Buffer.from(found.data.buffer, found.data.byteOffset, found.data.byteLength);
      expect(bytes?.equals(Buffer.from((data as Float32Array).buffer))).toBe(true);
    }
    // Neighbours share memory.
    expect(read?.arrays.get('a')?.data.buffer).toBe(read?.arrays.get('d')?.data.buffer);
    // 2^-126 × 2^-7 × the bits of bfloat16's significand.
    expect([...(read?.arrays.get('e')?.data ?? [])]).toEqual([1, 2, 3, 4, 5].map(bits => bits * 2 ** -133));
  });

  it('and the files after it, with any bounds of shared memory', async () => {
    const folder = temporaryFolder();
    const tensor = fc
      .tuple(fc.constantFrom('F32' as const, 'F16' as const, 'BF16' as const, 'F64' as const), fc.nat(5))
      .chain(([dtype, count]) => {
        const size = count * { F32: 4, F16: 2, BF16: 2, F64: 8 }[dtype];
        return fc
          .uint8Array({ minLength: size, maxLength: size })
          .map(data => ({ dtype, shape: [count], data }));
      });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(tensor, { maxLength: 6 }), { maxLength: 4 }),
        fc.integer({ min: 1, max: 60 }),
        async (files, slab) => {
          const paths: string[] = [];
          for (const [i, tensors] of files.entries()) {
            paths.push(join(folder, `${i}`));
            await writeSafetensors(
              join(folder, `${i}`),
              tensors.map((t, j) => ({ name: `t${j}`, ...t })),
            );
          }
          const found = await whole(paths, { slab });
          expect(found.map(bitsOf)).toEqual(await Promise.all(paths.map(bitsOneByOne)));
          expect(found.map(file => file.crc32c)).toEqual(
            await Promise.all(paths.map(async path => crc32c(await readFile(path)))),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it('whose values lie where no float32 may is read all the same', async () => {
    const file = join(temporaryFolder(), 'odd');
    const header = Buffer.from(
      JSON.stringify({
        a: { dtype: 'F32', shape: [0], data_offsets: [0, 0] },
        b: { dtype: 'BF16', shape: [1], data_offsets: [0, 2] },
        c: { dtype: 'F32', shape: [2], data_offsets: [2, 10] },
      }),
    );
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await writeFile(file, Buffer.concat([length, header, Buffer.from([0x80, 0x3f, ...Buffer.alloc(8)])]));
    const [read] = await whole([file]);
    expect([...(read?.arrays ?? [])].map(([name, { data }]) => [name, ...data])).toEqual([
      ['a'],
      ['b', 1],
      ['c', 0, 0],
    ]);
  });

  it('without tensors has a checksum', async () => {
    const file = join(temporaryFolder(), 'none');
    await writeSafetensors(file, []);
    expect(await whole([file])).toEqual([{ arrays: new Map(), crc32c: crc32c(await readFile(file)) }]);
  });

  it('that shrinks while it is read, or has integers, ends the reading with its name', async () => {
    const folder = temporaryFolder();
    const [good, short, whole32] = ['good', 'short', 'integers'].map(name => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const values = { name: 'a', dtype: 'F32' as const, shape: [100], data: filled(100, 1) };
    await writeSafetensors(good, [values]);
    await writeSafetensors(short, [values]);
    await writeSafetensors(whole32, [{ ...values, dtype: 'I32' }]);
    await expect(whole([good, whole32])).rejects.toMatchObject({
      code: 'model',
      message: expect.stringMatching(/tensor a of .*integers is I32/),
    });
    const files = [await openSafetensors(good), await openSafetensors(short)];
    await truncate(short, 200);
    const found: WholeFile[] = [];
    await expect(async () => {
      for await (const file of readWhole(files)) found.push(file);
    }).rejects.toMatchObject({ code: 'model', message: expect.stringMatching(/short .* ended at byte 200/) });
    // What came before it is whole.
    expect(found.map(bitsOf)).toEqual([await bitsOneByOne(good)]);
    await Promise.all(files.map(file => file.close()));
  });
});
