import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openSafetensors, writeSafetensors } from '../../src/models/safetensors.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { findPython, runPython } from '../helpers/python.ts';

const python = findPython(['safetensors', 'numpy']);

describe.skipIf(python === undefined)('the reference implementation', () => {
  it('reads our files, and writes the same bytes for the same tensors', async () => {
    const folder = temporaryFolder();
    const ours = join(folder, 'ours.safetensors');
    const theirs = join(folder, 'theirs.safetensors');
    await writeSafetensors(
      ours,
      [
        { name: 'b.weight', dtype: 'F32', shape: [2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) },
        { name: 'a.ids', dtype: 'I64', shape: [2], data: BigInt64Array.of(-1n, 7n) },
        { name: 'mask', dtype: 'BOOL', shape: [3], data: Uint8Array.of(1, 0, 1) },
        { name: 'z', dtype: 'F64', shape: [1], data: Float64Array.of(0.1) },
        { name: 'h', dtype: 'F16', shape: [2], data: Uint16Array.of(0x3c00, 0xc000) },
        { name: 'i', dtype: 'I32', shape: [1], data: Int32Array.of(9) },
        { name: 'é', dtype: 'U8', shape: [0], data: new Uint8Array(0) },
      ],
      { format: 'pt' },
    );
    const script = `
import sys, json
from safetensors.numpy import load_file, save_file
t = load_file(sys.argv[1])
save_file(t, sys.argv[2], metadata={"format": "pt"})
print(json.dumps({k: [str(v.dtype), list(v.shape), v.astype('float64').ravel().tolist()] for k, v in t.items()}))`;
    expect(JSON.parse(runPython(python as string, script, [ours, theirs]))).toEqual({
      'b.weight': ['float32', [2, 3], [0, 1, 2, 3, 4, 5]],
      'a.ids': ['int64', [2], [-1, 7]],
      mask: ['bool', [3], [1, 0, 1]],
      z: ['float64', [1], [0.1]],
      h: ['float16', [2], [1, -2]],
      i: ['int32', [1], [9]],
      é: ['uint8', [0], []],
    });
    expect((await readFile(ours)).equals(await readFile(theirs))).toBe(true);
    const read = await openSafetensors(theirs);
    expect([...(await read.readFloat32('h'))]).toEqual([1, -2]);
    await read.close();
  });
});
