import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { execute } from '../../scripts/ablation/execute.ts';
import type { Job } from '../../scripts/ablation/plan.ts';

let logs = '';

beforeAll(() => {
  logs = mkdtempSync(join(tmpdir(), 'ground-execute-'));
});

afterAll(() => rmSync(logs, { recursive: true, force: true }));

function job(id: string, script: string, ...after: string[]): Job {
  return { id, kind: id, args: ['-e', script], after, makes: '', seconds: 1 };
}

const options = {
  parallel: 2,
  command: [process.execPath] as const,
  onStart: () => undefined,
  onEnd: () => undefined,
};

test('a job that waits for two begins, however close together they end', async () => {
  const finished: string[] = [];
  let bothEnded = (): void => undefined;
  const together = new Promise<void>(resolve => {
    bothEnded = resolve;
  });
  // The first is written down once both have ended, the second a while after it.
  const ledger = {
    isDone: () => false,
    finish: async ({ id }: Job): Promise<void> => {
      if (finished.length === 0 && id !== 'last') {
        finished.push(id);
        await together;
        return;
      }
      bothEnded();
      await new Promise(resolve => setTimeout(resolve, 20));
      finished.push(id);
    },
  };
  await execute([job('a', ''), job('b', ''), job('last', '', 'a', 'b')], ledger, { ...options, logs });
  expect(finished).toHaveLength(3);
  expect(finished.at(-1)).toBe('last');
});

test('a failure names the job, shows the end of its output and begins nothing more', async () => {
  const finished: string[] = [];
  const ledger = {
    isDone: () => false,
    finish: async ({ id }: Job): Promise<void> => {
      finished.push(id);
    },
  };
  const broken = job('broken', "console.error('no such image'); process.exit(1)");
  await expect(
    execute([broken, job('next', '', 'broken')], ledger, { ...options, logs }),
  ).rejects.toMatchObject({ message: expect.stringMatching(/^broken failed: [\s\S]*no such image/) });
  expect(finished).toEqual([]);
});
