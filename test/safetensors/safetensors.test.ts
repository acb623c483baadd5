import { open, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GroundError } from '../../src/errors.ts';
import { openSafetensors, type TensorEntry, writeSafetensors } from '../../src/models/safetensors.ts';
import { temporaryFolder } from '../helpers/folder.ts';

/** A file with the given header and as many zero bytes of data. */
async function writeRaw(file: string, header: string, dataBytes: number): Promise<void> {
  const json = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await writeFile(file, Buffer.concat([length, json, Buffer.alloc(dataBytes)]));
}

async function complaintOf(work: Promise<unknown>): Promise<string> {
  const thrown = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(thrown).toBeInstanceOf(GroundError);
  return (thrown as GroundError).message;
}

const names = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).filter(n => n !== '__metadata__');
const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
const entry = fc
  .tuple(names, shapes, fc.constantFrom('F32' as const, 'I32' as const, 'U8' as const, 'F64' as const))
  .chain(([name, shape, dtype]) => {
    const width = { F32: 4, I32: 4, U8: 1, F64: 8 }[dtype];
    const bytes = shape.reduce((a, b) => a * b, 1) * width;
    return fc
      .uint8Array({ minLength: bytes, maxLength: bytes })
      .map((data): TensorEntry & { data: Uint8Array } => ({ name, dtype, shape, data }));
  });
const entries = fc.uniqueArray(entry, { selector: e => e.name, maxLength: 8 });
const metadata = fc.dictionary(
  fc.string({ minLength: 1 }).filter(k => k !== '__proto__'),
  fc.string(),
);

describe('writing then reading', () => {
  it('returns every tensor and the metadata', async () => {
    const folder = temporaryFolder();
    await fc.assert(
      fc.asyncProperty(entries, metadata, async (tensors, meta) => {
        const file = join(folder, 'a.safetensors');
        await writeSafetensors(file, tensors, meta);
        const read = await openSafetensors(file);
        expect(read.tensors.size).toBe(tensors.length);
        for (const { name, dtype, shape, data } of tensors) {
          expect(read.info(name)).toMatchObject({ dtype, shape });
          expect(await read.readBytes(name)).toEqual(data);
        }
        expect(read.metadata).toEqual({ ...meta });
        await read.close();
      }),
      { numRuns: 60 },
    );
    expect(await readdir(folder)).toEqual(['a.safetensors']);
  });

  it('gives the same bytes whatever the order, with the header ending on a multiple of 8', async () => {
    const folder = temporaryFolder();
    await fc.assert(
      fc.asyncProperty(entries, async tensors => {
        const [one, two] = [join(folder, 'one'), join(folder, 'two')];
        await writeSafetensors(one, tensors);
        await writeSafetensors(two, [...tensors].reverse());
        const bytes = await readFile(one);
        expect(bytes.equals(await readFile(two))).toBe(true);
        expect(bytes.readBigUInt64LE(0) % 8n).toBe(0n);
      }),
      { numRuns: 30 },
    );
  });

  it('asks for lazy data only when its turn comes', async () => {
    const file = join(temporaryFolder(), 'lazy');
    const asked: string[] = [];
    const lazy = (name: string): TensorEntry => ({
      name,
      dtype: 'F32',
      shape: [2],
      data: async () => {
        asked.push(name);
        return Float32Array.of(1, 2);
      },
    });
    await writeSafetensors(file, [lazy('b'), lazy('a')]);
    expect(asked).toEqual(['a', 'b']);
  });

  it('refuses data that does not fill its shape and leaves nothing behind', async () => {
    const folder = temporaryFolder();
    const wrong: TensorEntry = { name: 'w', dtype: 'F32', shape: [3], data: new Float32Array(2) };
    expect(await complaintOf(writeSafetensors(join(folder, 'x'), [wrong]))).toBe(
      'tensor w: F32 [3] takes 12 bytes, but 8 were given',
    );
    expect(await readdir(folder)).toEqual([]);
  });

  it('refuses two tensors of one name', async () => {
    const twice: TensorEntry = { name: 'w', dtype: 'F32', shape: [1], data: new Float32Array(1) };
    expect(await complaintOf(writeSafetensors(join(temporaryFolder(), 'x'), [twice, twice]))).toContain(
      'two tensors named w',
    );
  });
});

describe('widening', () => {
  /** Value of IEEE half bits by the definition. */
  const half = (bits: number): number => {
    const [sign, exponent, mantissa] = [bits >> 15, (bits >> 10) & 31, bits & 1023];
    const magnitude =
      exponent === 31
        ? mantissa
          ? Number.NaN
          : Number.POSITIVE_INFINITY
        : exponent
          ? (1 + mantissa / 1024) * 2 ** (exponent - 15)
          : mantissa * 2 ** -24;
    return sign ? -magnitude : magnitude;
  };

  it('is exact for all 65536 halves', async () => {
    const file = join(temporaryFolder(), 'half');
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    await writeSafetensors(file, [{ name: 'h', dtype: 'F16', shape: [65536], data: bits }]);
    const read = await openSafetensors(file);
    expect(await read.readFloat32('h')).toEqual(Float32Array.from(bits, half));
    await read.close();
  });

  it('keeps every float32 whose lower 16 bits are 0 through BF16, and rounds F64', async () => {
    const file = join(temporaryFolder(), 'b');
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const expected = new Float32Array(Uint32Array.from(bits, b => b * 65536).buffer);
    const doubles = Float64Array.of(Math.PI, -1e-300, 1e300, 0.1);
    await writeSafetensors(file, [
      { name: 'b', dtype: 'BF16', shape: [256, 256], data: bits },
      { name: 'd', dtype: 'F64', shape: [4], data: doubles },
    ]);
    const read = await openSafetensors(file);
    expect(await read.readFloat32('b')).toEqual(expected);
    expect(await read.readFloat32('d')).toEqual(Float32Array.from(doubles));
    await read.close();
  });

  it('reads integers and refuses those beyond 32 bits, and the wrong kind of dtype, by name', async () => {
    const file = join(temporaryFolder(), 'i');
    await writeSafetensors(file, [
      { name: 'ok', dtype: 'I64', shape: [3], data: BigInt64Array.of(-(2n ** 31n), 0n, 2n ** 31n - 1n) },
      { name: 'big', dtype: 'I64', shape: [2], data: BigInt64Array.of(1n, 2n ** 31n) },
      { name: 'u8', dtype: 'U8', shape: [2], data: Uint8Array.of(0, 255) },
      { name: 'f', dtype: 'F32', shape: [], data: Float32Array.of(1) },
    ]);
    const read = await openSafetensors(file);
    expect([...(await read.readInt32('ok'))]).toEqual([-(2 ** 31), 0, 2 ** 31 - 1]);
    expect([...(await read.readInt32('u8'))]).toEqual([0, 255]);
    expect(await complaintOf(read.readInt32('big'))).toBe(
      `tensor big of ${file}: value 2147483648 at index 1 does not fit 32 bits`,
    );
    expect(await complaintOf(read.readInt32('f'))).toBe(
      `tensor f of ${file} is F32, where integers are needed`,
    );
    expect(await complaintOf(read.readFloat32('u8'))).toContain(
      'is U8, where floating-point values are needed',
    );
    expect(await complaintOf(read.readFloat32('none'))).toBe(`${file} has no tensor none`);
    await read.close();
  });
});

describe('a damaged file', () => {
  const tensor = (begin: number, end: number, more: object = {}) => ({
    dtype: 'F32',
    shape: [(end - begin) / 4],
    data_offsets: [begin, end],
    ...more,
  });
  const cases: [string, string, number, RegExp][] = [
    ['bad JSON', '{"a":', 0, /header is not JSON/],
    ['an array as header', '[]', 0, /not a JSON object/],
    ['metadata that is not text', '{"__metadata__":{"k":1}}', 0, /__metadata__\.k is not a string/],
    [
      'an unknown dtype',
      JSON.stringify({ w: tensor(0, 4, { dtype: 'F8_E4M3' }) }),
      4,
      /tensor w: dtype "F8_E4M3"/,
    ],
    [
      'a dtype from Object.prototype',
      JSON.stringify({ w: tensor(0, 4, { dtype: 'toString' }) }),
      4,
      /tensor w: dtype/,
    ],
    ['a negative shape', JSON.stringify({ w: tensor(0, 4, { shape: [-1] }) }), 4, /tensor w: shape \[-1\]/],
    [
      'a fractional shape',
      JSON.stringify({ w: tensor(0, 4, { shape: [0.5] }) }),
      4,
      /tensor w: shape \[0.5\]/,
    ],
    ['missing offsets', '{"w":{"dtype":"F32","shape":[1]}}', 4, /tensor w: data_offsets undefined/],
    [
      'reversed offsets',
      JSON.stringify({ w: tensor(0, 4, { data_offsets: [4, 0] }) }),
      4,
      /tensor w: F32 \[1\] takes 4/,
    ],
    [
      "a size that is not the shape's",
      JSON.stringify({ w: tensor(0, 4, { shape: [2] }) }),
      4,
      /takes 8 bytes, but data_offsets span 4/,
    ],
    [
      'overlapping tensors',
      JSON.stringify({ a: tensor(0, 8), b: tensor(4, 12) }),
      12,
      /tensor b overlaps tensor a by 4 bytes/,
    ],
    [
      'a hole',
      JSON.stringify({ a: tensor(0, 4), b: tensor(8, 12) }),
      12,
      /4 bytes between tensor a and tensor b/,
    ],
    [
      'a hole at the front',
      JSON.stringify({ a: tensor(4, 8) }),
      8,
      /4 bytes between the header and tensor a/,
    ],
    ['bytes at the end', JSON.stringify({ a: tensor(0, 4) }), 6, /2 bytes after tensor a/],
    [
      'data cut short',
      JSON.stringify({ a: tensor(0, 4), b: tensor(4, 12) }),
      8,
      /tensor b needs \d+ bytes of file, but it has \d+: it is truncated/,
    ],
  ];
  it.each(cases)('%s is refused with file and tensor named', async (_, header, dataBytes, complaint) => {
    const file = join(temporaryFolder(), 'bad.safetensors');
    await writeRaw(file, header, dataBytes);
    const message = await complaintOf(openSafetensors(file));
    expect(message).toContain(file);
    expect(message).toMatch(complaint);
  });

  it('whose header length is beyond the file, or absurd, is refused before anything is allocated', async () => {
    const file = join(temporaryFolder(), 'bad.safetensors');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(1000n);
    await writeFile(file, length);
    expect(await complaintOf(openSafetensors(file))).toMatch(/claims 1000 bytes, but the file ends after 0/);
    length.writeBigUInt64LE(2n ** 63n);
    await writeFile(file, length);
    expect(await complaintOf(openSafetensors(file))).toMatch(/claims 9223372036854775808 bytes; at most/);
    await writeFile(file, 'short');
    expect(await complaintOf(openSafetensors(file))).toMatch(/it has 5 bytes/);
  });

  it('is refused wherever it is cut', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'whole');
    await writeSafetensors(file, [
      { name: 'a', dtype: 'F32', shape: [4], data: new Float32Array(4) },
      { name: 'b', dtype: 'U8', shape: [3], data: new Uint8Array(3) },
    ]);
    const whole = await readFile(file);
    for (let length = 0; length < whole.length; length++) {
      await writeFile(join(folder, 'cut'), whole.subarray(0, length));
      expect(await complaintOf(openSafetensors(join(folder, 'cut')))).toContain(join(folder, 'cut'));
    }
  });

  it('that is missing says so with a way out', async () => {
    const file = join(temporaryFolder(), 'nowhere', 'x.safetensors');
    await expect(openSafetensors(file)).rejects.toMatchObject({
      code: 'io',
      hint: expect.stringContaining('is'),
    });
  });
});

describe('a file beyond 4 GB', () => {
  it('gives the tensor at its end without reading the rest', async () => {
    const file = join(temporaryFolder(), 'sparse.safetensors');
    const far = 5 * 2 ** 30;
    const header = JSON.stringify({
      big: { dtype: 'F32', shape: [far / 4], data_offsets: [0, far] },
      last: { dtype: 'F32', shape: [2], data_offsets: [far, far + 8] },
    });
    await writeRaw(file, header, 0);
    const start = 8 + header.length;
    // Extending by truncate makes a sparse file: no disk is used for the 5 GB.
    await truncate(file, start + far + 8);
    const handle = await open(file, 'r+');
    await handle.write(new Uint8Array(Float32Array.of(1.5, -2.5).buffer), 0, 8, start + far);
    await handle.close();
    const read = await openSafetensors(file);
    expect(read.info('last').begin).toBe(start + far);
    expect([...(await read.readFloat32('last'))]).toEqual([1.5, -2.5]);
    await read.close();
  });
});
