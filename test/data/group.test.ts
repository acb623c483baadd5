import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareKeys, Groups, type Key } from '../../src/data/sources/group.ts';
import { temporaryFolder } from '../helpers/folder.ts';

/** Adds all entries and takes all groups. */
async function grouped(
  entries: readonly (readonly [Key, unknown])[],
  memoryBytes: number,
  folder: string,
): Promise<{ groups: [Key, unknown[]][]; files: number }> {
  const groups = new Groups({ memoryBytes, folder });
  try {
    for (const [i, [key, value]] of entries.entries()) await groups.add(key, JSON.stringify(value), i);
    const taken: [Key, unknown[]][] = [];
    for await (const { key, entries: found } of groups) taken.push([key, found.map(({ value }) => value)]);
    return { groups: taken, files: groups.files };
  } finally {
    await groups.close();
  }
}

describe('groups', () => {
  it('are those of a sort that keeps the order, however little memory there is', async () => {
    const folder = temporaryFolder();
    const key = fc.oneof(fc.integer({ min: -3, max: 6 }), fc.constantFrom('a', 'b', 'ä', '10', '9'));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(key, fc.jsonValue({ stringUnit: 'binary' })), { maxLength: 40 }),
        fc.integer({ min: 1, max: 3000 }),
        async (entries, memory) => {
          const expected = new Map<Key, unknown[]>();
          const sorted = [...entries].sort(([a], [b]) => compareKeys(a, b));
          for (const [k, value] of sorted) {
            expected.set(k, [...(expected.get(k) ?? []), JSON.parse(JSON.stringify(value))]);
          }
          const { groups } = await grouped(entries, memory, folder);
          expect(groups).toEqual([...expected]);
        },
      ),
      { numRuns: 60 },
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it('larger than memory and than the buffers go to files and come back', async () => {
    const folder = temporaryFolder();
    const entries = Array.from({ length: 400 }, (_, i): [Key, unknown] => [
      i % 7,
      `${i}${'x'.repeat(i * 20)}`,
    ]);
    entries[200] = [3, 'y'.repeat(9_000_000)];
    const all = await grouped(entries, 2 ** 40, folder);
    const spilled = await grouped(entries, 100_000, folder);
    expect([all.files, spilled.files > 10]).toEqual([0, true]);
    expect(spilled.groups).toEqual(all.groups);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('leave nothing behind when they are left early, and clear what a killed process left', async () => {
    const folder = temporaryFolder();
    // Above the largest id that Linux gives a process.
    mkdirSync(join(folder, 'ground-groups-99999999-abc'));
    writeFileSync(join(folder, 'ground-groups-99999999-abc', 'run-0'), 'half');
    mkdirSync(join(folder, 'others'));
    const groups = new Groups({ memoryBytes: 1, folder });
    for (let i = 0; i < 5; i++) await groups.add(i, '1');
    expect(groups.keys).toBe(5);
    expect(readdirSync(folder)).toHaveLength(2);
    for await (const group of groups) if (group.key === 2) break;
    await groups.close();
    expect(readdirSync(folder)).toEqual(['others']);
  });

  it('tell where they cannot write', async () => {
    const groups = new Groups({ memoryBytes: 1, folder: '/nowhere' });
    await groups.add(1, '1');
    await expect(groups.add(2, '2')).rejects.toMatchObject({
      code: 'io',
      message: expect.stringMatching('/nowhere'),
    });
  });
});
