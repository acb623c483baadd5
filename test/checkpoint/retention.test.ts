import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import {
  bestOf,
  pruneCheckpoints,
  type RetentionPolicy,
  retentionPolicy,
  selectForDeletion,
} from '../../src/train/retention.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { contentOf } from './content.ts';

const candidates = fc.uniqueArray(
  fc.record({
    step: fc.nat(50),
    whole: fc.boolean(),
    score: fc.option(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constant(Number.NaN))),
  }),
  { selector: c => c.step },
);
const policies: fc.Arbitrary<RetentionPolicy> = fc.record({
  last: fc.integer({ min: 1, max: 6 }),
  best: fc.nat(3),
  every: fc.nat(12),
  goal: fc.constantFrom('max', 'min'),
});
const lastOnly = (last: number): RetentionPolicy => ({ last, best: 0, every: 0, goal: 'max' });
const newestFirst = <T extends { step: number }>(list: readonly T[]): T[] =>
  [...list].sort((a, b) => b.step - a.step);

describe('selectForDeletion', () => {
  it('never takes the newest whole one, nor the best whole one, nor one of the last', () => {
    fc.assert(
      fc.property(candidates, policies, (all, policy) => {
        const doomed = new Set(selectForDeletion(all, policy));
        const whole = newestFirst(all.filter(c => c.whole));
        for (const c of whole.slice(0, policy.last)) expect(doomed.has(c)).toBe(false);
        const scored = whole.filter(c => c.score !== null && Number.isFinite(c.score));
        const scores = scored.map(c => c.score as number);
        const top = policy.goal === 'max' ? Math.max(...scores) : Math.min(...scores);
        const holders = scored.filter(c => c.score === top);
        if (holders.length > 0) expect(holders.some(c => !doomed.has(c))).toBe(true);
      }),
    );
  });

  it('leaves exactly those whole ones that have a reason to stay', () => {
    fc.assert(
      fc.property(candidates, policies, (all, policy) => {
        const doomed = new Set(selectForDeletion(all, policy));
        const whole = newestFirst(all.filter(c => c.whole));
        const best = bestOf(whole, policy.goal).slice(0, Math.max(1, policy.best));
        for (const [age, c] of whole.entries()) {
          const stays =
            age < policy.last || best.includes(c) || (policy.every > 0 && c.step % policy.every === 0);
          expect(doomed.has(c)).toBe(!stays);
        }
      }),
    );
  });

  it('deletes a damaged one exactly when a newer whole one exists', () => {
    fc.assert(
      fc.property(candidates, policies, (all, policy) => {
        const doomed = selectForDeletion(all, policy);
        for (const c of all.filter(x => !x.whole)) {
          expect(doomed.includes(c)).toBe(all.some(other => other.whole && other.step > c.step));
        }
      }),
    );
  });

  it('deletes nothing while it is paused', () => {
    fc.assert(
      fc.property(candidates, policies, (all, policy) => {
        expect(selectForDeletion(all, policy, { paused: true })).toEqual([]);
      }),
    );
  });

  it('does not depend on the order, and has nothing to do the second time', () => {
    fc.assert(
      fc.property(candidates, policies, (all, policy) => {
        const doomed = selectForDeletion(all, policy);
        expect(selectForDeletion([...all].reverse(), policy)).toEqual(doomed);
        const left = all.filter(c => !doomed.includes(c));
        expect(selectForDeletion(left, policy)).toEqual([]);
      }),
    );
  });

  it('keeps no fewer when more is asked for', () => {
    fc.assert(
      fc.property(candidates, policies, (all, policy) => {
        const doomed = selectForDeletion(all, policy).length;
        for (const more of [
          { ...policy, last: policy.last + 1 },
          { ...policy, best: policy.best + 1 },
        ]) {
          expect(selectForDeletion(all, more).length).toBeLessThanOrEqual(doomed);
        }
      }),
    );
  });

  const whole = (step: number, score: number | null = null) => ({ step, whole: true, score });
  it.each([
    ['last 0 keeps all', [whole(1), whole(2)], lastOnly(0), []],
    ['none is whole', [{ step: 1, whole: false }], lastOnly(1), []],
    ['last 1 keeps the best, too', [whole(1, 0.9), whole(2, 0.5), whole(3, 0.7)], lastOnly(1), [2]],
    [
      'of equal scores the newer is the best',
      [whole(1, 0.9), whole(2, 0.9), whole(3, 0.1)],
      lastOnly(1),
      [1],
    ],
    [
      'less is better where the goal says so',
      [whole(1, 3), whole(2, 2), whole(3, 9)],
      { ...lastOnly(1), goal: 'min' as const },
      [1],
    ],
    [
      'those of every 10 steps stay',
      [5, 10, 15, 20, 25].map(step => whole(step)),
      { ...lastOnly(1), every: 10 },
      [5, 15],
    ],
  ])('%s', (_, all, policy, doomed) => {
    expect(selectForDeletion(all, policy).map(c => c.step)).toEqual(doomed);
  });

  it('reads a plain number in a recipe as the newest so many', () => {
    expect(retentionPolicy({ every: 5, keep: 2 })).toEqual({ last: 2, best: 1, every: 0, goal: 'max' });
    expect(
      retentionPolicy({ every: 5, keep: { last: 3, best: 2, every: 500 }, metric: 'loss', goal: 'min' }),
    ).toEqual({ last: 3, best: 2, every: 500, goal: 'min' });
  });
});

describe('pruneCheckpoints', () => {
  it('counts whole ones only, and reports without deleting on a dry run', async () => {
    const stage = temporaryFolder();
    for (const step of [1, 2, 3, 4, 5]) await saveCheckpoint(stage, contentOf(step, 10));
    await truncate(join(stage, 'checkpoint-000004', 'model.safetensors'), 9);
    const planned = await pruneCheckpoints(stage, { policy: lastOnly(2), dryRun: true });
    expect(planned.deleted.map(c => c.step)).toEqual([1, 2, 4]);
    expect(await readdir(stage)).toHaveLength(5);
    expect(await pruneCheckpoints(stage, { policy: lastOnly(2) })).toEqual(planned);
    expect((await readdir(stage)).sort()).toEqual(['checkpoint-000003', 'checkpoint-000005']);
  });

  it('reads the newest in full: one with flipped bytes does not cost the last good one', async () => {
    const stage = temporaryFolder();
    for (const step of [1, 2]) await saveCheckpoint(stage, contentOf(step, 10));
    const file = join(stage, 'checkpoint-000002', 'model.safetensors');
    const bytes = await readFile(file);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    await writeFile(file, bytes);
    expect((await pruneCheckpoints(stage, { policy: lastOnly(1) })).deleted).toEqual([]);
  });

  it('keeps the best by the score that it finds in the checkpoints', async () => {
    const stage = temporaryFolder();
    for (const [step, accuracy] of [
      [1, 0.2],
      [2, 0.8],
      [3, 0.5],
      [4, 0.3],
    ] as const) {
      const content = contentOf(step, 10);
      await saveCheckpoint(stage, { ...content, state: { ...content.state, scores: { accuracy } } });
    }
    const metric = { score: 'accuracy', goal: 'max' } as const;
    expect((await pruneCheckpoints(stage, { policy: lastOnly(1), metric })).deleted.map(c => c.step)).toEqual(
      [1, 3],
    );
    expect((await readdir(stage)).sort()).toEqual(['checkpoint-000002', 'checkpoint-000004']);
  });
});
