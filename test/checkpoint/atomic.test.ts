import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { describe, expect, it } from 'vitest';
import {
  ioError,
  publishDirectory,
  removeDirectory,
  writeDirectoryAtomic,
  writeFileAtomic,
  writeStreamAtomic,
} from '../../src/atomic.ts';
import { GroundError } from '../../src/errors.ts';
import { temporaryFolder } from '../helpers/folder.ts';

describe('a file written atomically', () => {
  it('replaces the old one in one step, and its size and checksum are returned', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'f');
    await writeFileAtomic(file, 'old');
    const before = await stat(file);
    expect(await writeFileAtomic(file, 'né')).toEqual({ bytes: 3, crc32c: crc32c('né') });
    expect(await readFile(file, 'utf8')).toBe('né');
    expect((await stat(file)).ino).not.toBe(before.ino);
    expect(await readdir(folder)).toEqual(['f']);
  });

  it('takes its bytes in pieces, from a buffer that is used again', async () => {
    const file = join(temporaryFolder(), 'f');
    const buffer = new Uint8Array(4);
    const written = await writeStreamAtomic(file, async sink => {
      for (let i = 0; i < 3; i++) await sink(buffer.fill(i));
    });
    expect([...(await readFile(file))]).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    expect(written).toEqual({ bytes: 12, crc32c: crc32c(await readFile(file)) });
  });

  it('is the same in large and small pieces, and where the disk begins before the end', async () => {
    const file = join(temporaryFolder(), 'f');
    const all = Uint8Array.from({ length: 70 * 2 ** 20 }, (_, i) => i % 251);
    const sizes = [3, 2 ** 20, 40 * 2 ** 20 + 1, 5, 2 ** 20 - 1, 7, 27 * 2 ** 20];
    const written = await writeStreamAtomic(file, async sink => {
      let at = 0;
      for (const size of sizes) {
        await sink(all.subarray(at, at + size));
        at += size;
      }
    });
    const expected = all.subarray(
      0,
      sizes.reduce((a, b) => a + b, 0),
    );
    expect((await readFile(file)).equals(expected)).toBe(true);
    expect(written).toEqual({ bytes: expected.length, crc32c: crc32c(expected) });
  });

  it('stays as it was when filling fails', async () => {
    const folder = temporaryFolder();
    await writeFileAtomic(join(folder, 'f'), 'old');
    const failing = writeStreamAtomic(join(folder, 'f'), async sink => {
      await sink(new Uint8Array(10));
      throw new Error('no more');
    });
    await expect(failing).rejects.toThrow('no more');
    expect(await readFile(join(folder, 'f'), 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['f']);
  });

  it('that cannot take its place leaves nothing behind', async () => {
    const folder = temporaryFolder();
    await mkdir(join(folder, 'f'));
    await expect(writeFileAtomic(join(folder, 'f'), 'x')).rejects.toMatchObject({
      code: 'io',
      message: expect.stringContaining(`cannot publish ${join(folder, 'f')}`),
    });
    expect(await readdir(folder)).toEqual(['f']);
  });

  it('in a folder that does not exist is refused with advice', async () => {
    const file = join(temporaryFolder(), 'nowhere', 'f');
    await expect(writeFileAtomic(file, 'x')).rejects.toMatchObject({
      code: 'io',
      hint: expect.stringMatching(/no folder .*nowhere: check/),
    });
  });
});

describe('a folder written atomically', () => {
  it('replaces one that is not empty', async () => {
    const parent = temporaryFolder();
    for (const name of ['a', 'b']) {
      await writeDirectoryAtomic(join(parent, 'd'), folder => writeFile(join(folder, name), ''));
    }
    expect(await readdir(join(parent, 'd'))).toEqual(['b']);
    expect(await readdir(parent)).toEqual(['d']);
  });

  it('puts the old one back when the new one cannot be renamed', async () => {
    const parent = temporaryFolder();
    await writeDirectoryAtomic(join(parent, 'd'), folder => writeFile(join(folder, 'old'), ''));
    const inside = join(parent, 'd', 'inside');
    await mkdir(inside);
    // The old folder is set aside together with the new one, whose name then no longer leads anywhere.
    await expect(publishDirectory(inside, join(parent, 'd'))).rejects.toBeInstanceOf(GroundError);
    expect((await readdir(join(parent, 'd'))).sort()).toEqual(['inside', 'old']);
    expect(await readdir(parent)).toEqual(['d']);
  });

  it('is deleted as a whole', async () => {
    const parent = temporaryFolder();
    await mkdir(join(parent, 'd', 'e'), { recursive: true });
    await removeDirectory(join(parent, 'd'));
    expect(await readdir(parent)).toEqual([]);
    await expect(removeDirectory(join(parent, 'd'))).rejects.toMatchObject({ code: 'io' });
  });
});

describe('a file system failure', () => {
  it.each([
    ['ENOSPC', 'full'],
    ['EDQUOT', 'quota'],
    ['EFBIG', 'ulimit'],
    ['EACCES', 'may not write'],
    ['EROFS', 'read-only'],
  ])('%s says what to do and keeps its cause', (code, word) => {
    const cause = Object.assign(new Error(`${code}: reason`), { code });
    const error = ioError(cause, 'write', '/runs/x');
    expect(error).toMatchObject({ code: 'io', message: `cannot write /runs/x: ${code}: reason`, cause });
    expect(error.hint).toContain(word);
  });

  it('that was explained already stays as it is', () => {
    const error = new GroundError('data', 'x');
    expect(ioError(error, 'write', '/y')).toBe(error);
  });
});
