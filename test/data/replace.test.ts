import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildFrom } from '../../src/data/build.ts';
import { openDataset } from '../../src/data/dataset.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { existingParent, replaceDataset } from '../../src/data/replace.ts';
import { writeShards } from '../../src/data/shards.ts';
import { emptyReport, type SourceFormat } from '../../src/data/sources/source.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { fakeRecord } from './sample-records.ts';

/** A format of records made here, which fails after them where `failure` is given. */
function format(records: readonly ImageRecord[], failure?: Error): SourceFormat {
  return {
    name: 'fake',
    describes: 'records of a test',
    inputs: [],
    async open() {
      return {
        report: emptyReport(),
        count: async () => records.length,
        async *[Symbol.asyncIterator]() {
          yield* records;
          if (failure) throw failure;
        },
      };
    },
  };
}

async function idsOf(dir: string): Promise<string[]> {
  const dataset = await openDataset(dir);
  try {
    return await Promise.all(
      Array.from({ length: dataset.rows }, async (_, i) => (await dataset.read(i)).id),
    );
  } finally {
    await dataset.close();
  }
}

describe('a dataset that is replaced', () => {
  const [old, young] = [[fakeRecord(1)], [fakeRecord(2), fakeRecord(3)]];
  const idsFor = (records: readonly ImageRecord[]) => records.map(({ id }) => id);

  it('is there until the new one is complete, and stays where the new one fails', async () => {
    const out = join(temporaryFolder(), 'data');
    await buildFrom(format(old), { inputs: {}, out });
    await expect(buildFrom(format(young), { inputs: {}, out })).rejects.toThrow(/holds a dataset already/);
    const failing = format(young, new Error('in the middle'));
    await expect(buildFrom(failing, { inputs: {}, out, overwrite: true })).rejects.toThrow('in the middle');
    expect(await idsOf(out)).toEqual(idsFor(old));
    let during: string[] = [];
    await replaceDataset(out, true, async folder => {
      await writeShards(young, folder, { builder: 'test', source: {} });
      during = await idsOf(out);
    });
    expect([during, await idsOf(out)]).toEqual([idsFor(old), idsFor(young)]);
    expect(readdirSync(join(out, '..'))).toEqual(['data']);
  });

  it('is never anything else than a dataset', async () => {
    const out = temporaryFolder();
    writeFileSync(join(out, 'thesis.txt'), 'years of work');
    await expect(buildFrom(format(old), { inputs: {}, out, overwrite: true })).rejects.toThrow(/thesis\.txt/);
    expect(readdirSync(out)).toEqual(['thesis.txt']);
  });

  it('may be behind a link, which stays', async () => {
    const folder = temporaryFolder();
    await buildFrom(format(old), { inputs: {}, out: join(folder, 'real') });
    symlinkSync(join(folder, 'real'), join(folder, 'link'));
    await buildFrom(format(young), { inputs: {}, out: join(folder, 'link'), overwrite: true });
    expect(await idsOf(join(folder, 'real'))).toEqual(idsFor(young));
    expect(readdirSync(folder).sort()).toEqual(['link', 'real']);
  });

  it('comes back after a process that died while it swapped; half of a new one goes', async () => {
    const folder = temporaryFolder();
    const out = join(folder, 'data');
    // Above the largest process id of Linux.
    await buildFrom(format(old), { inputs: {}, out: `${out}.old-99999999` });
    mkdirSync(`${out}.tmp-99999999`);
    mkdirSync(`${out}-mine.tmp-99999999`);
    await expect(buildFrom(format(young), { inputs: {}, out })).rejects.toThrow(/holds a dataset already/);
    expect(await idsOf(out)).toEqual(idsFor(old));
    expect(readdirSync(folder).sort()).toEqual(['data', 'data-mine.tmp-99999999']);
  });

  it('has a parent that exists, or one farther up', () => {
    const folder = temporaryFolder();
    expect(existingParent(join(folder, 'a'))).toBe(folder);
    expect(existingParent(join(folder, 'a/b/c'))).toBe(folder);
    expect(existsSync(join(folder, 'a'))).toBe(false);
  });

  it('knows which flags its format reads', async () => {
    const out = join(temporaryFolder(), 'data');
    const wrong = buildFrom(format(old), { inputs: { images: ['.'] }, out });
    await expect(wrong).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('--images'),
    });
    expect(existsSync(out)).toBe(false);
  });
});
