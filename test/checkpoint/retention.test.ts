import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { pruneCheckpoints, selectForDeletion } from '../../src/train/retention.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { contentOf } from './content.ts';

const candidates = fc.uniqueArray(fc.record({ step: fc.nat(50), whole: fc.boolean() }), {
  selector: c => c.step,
});
const keeps = fc.integer({ min: 1, max: 6 });

describe('selectForDeletion', () => {
  it('leaves the newest `keep` whole ones, and never fewer', () => {
    fc.assert(
      fc.property(candidates, keeps, (all, keep) => {
        const doomed = new Set(selectForDeletion(all, { keep }));
        const newest = all
          .filter(c => c.whole)
          .sort((a, b) => b.step - a.step)
          .slice(0, keep);
        expect(all.filter(c => c.whole && !doomed.has(c)).sort((a, b) => b.step - a.step)).toEqual(newest);
      }),
    );
  });

  it('deletes a damaged one exactly when a newer whole one exists', () => {
    fc.assert(
      fc.property(candidates, keeps, (all, keep) => {
        const doomed = selectForDeletion(all, { keep });
        for (const c of all.filter(x => !x.whole)) {
          expect(doomed.includes(c)).toBe(all.some(other => other.whole && other.step > c.step));
        }
      }),
    );
  });

  it('does not depend on the order, and has nothing to do the second time', () => {
    fc.assert(
      fc.property(candidates, keeps, (all, keep) => {
        const doomed = selectForDeletion(all, { keep });
        expect(selectForDeletion([...all].reverse(), { keep })).toEqual(doomed);
        const left = all.filter(c => !doomed.includes(c));
        expect(selectForDeletion(left, { keep })).toEqual([]);
      }),
    );
  });

  it('deletes nothing with keep 0, or when none is whole', () => {
    expect(
      selectForDeletion(
        [
          { step: 1, whole: true },
          { step: 2, whole: true },
        ],
        { keep: 0 },
      ),
    ).toEqual([]);
    expect(
      selectForDeletion(
        [
          { step: 1, whole: false },
          { step: 2, whole: false },
        ],
        { keep: 1 },
      ),
    ).toEqual([]);
  });
});

describe('pruneCheckpoints', () => {
  it('counts whole ones only, and reports without deleting on a dry run', async () => {
    const stage = temporaryFolder();
    for (const step of [1, 2, 3, 4, 5]) await saveCheckpoint(stage, contentOf(step, 10));
    await truncate(join(stage, 'checkpoint-000004', 'model.safetensors'), 9);
    const planned = await pruneCheckpoints(stage, { keep: 2, dryRun: true });
    expect(planned.map(c => c.step)).toEqual([1, 2, 4]);
    expect(await readdir(stage)).toHaveLength(5);
    expect(await pruneCheckpoints(stage, { keep: 2 })).toEqual(planned);
    expect((await readdir(stage)).sort()).toEqual(['checkpoint-000003', 'checkpoint-000005']);
  });

  it('reads the newest in full: one with flipped bytes does not cost the last good one', async () => {
    const stage = temporaryFolder();
    for (const step of [1, 2]) await saveCheckpoint(stage, contentOf(step, 10));
    const file = join(stage, 'checkpoint-000002', 'model.safetensors');
    const bytes = await readFile(file);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    await writeFile(file, bytes);
    expect(await pruneCheckpoints(stage, { keep: 1 })).toEqual([]);
  });
});
