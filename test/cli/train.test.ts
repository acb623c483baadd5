import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { temporaryFolder } from '../config/sample.ts';
import { ground } from './harness.ts';

/** Runs `ground train` in an empty folder that has the named datasets; only their manifests are looked at here. */
async function train(datasets: readonly string[], ...args: string[]) {
  const cwd = temporaryFolder();
  for (const name of datasets) {
    mkdirSync(join(cwd, name), { recursive: true });
    writeFileSync(join(cwd, name, 'manifest.json'), '{}');
  }
  const spy = vi.spyOn(process, 'cwd').mockReturnValue(cwd);
  try {
    return await ground('train', '--stage', '3', '--set', 'from=null', ...args);
  } finally {
    spy.mockRestore();
  }
}

describe('the datasets of a stage', () => {
  test('are those of the recipe, each complained of where it stands', async () => {
    const { code, stderr } = await train([]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/stage3\.yaml:\d+:\d+ {2}data\.0\.dataset: dataset data\/scenes\/train does not/);
    expect(stderr).toMatch(/eval\.data\.0\.dataset: dataset data\/scenes\/val does not exist/);
  });

  test('are what --data names, and the complaint names the flag', async () => {
    const { code, stderr } = await train([], '--data', 'mine');
    expect(code).toBe(2);
    expect(stderr).toMatch(/^--data mine {2}data\.0\.dataset: dataset mine does not exist$/m);
    expect(stderr).toContain('ground data build --from coco');
    expect(stderr).not.toContain('scenes');
  });

  test('are what --eval-data names where answers are scored', async () => {
    const { code, stderr } = await train(['mine'], '--data', 'mine', '--eval-data', 'held-out');
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^--eval-data held-out {2}eval\.data\.0\.dataset: dataset held-out does not exist$/m,
    );
    expect(stderr).not.toMatch(/--data mine/);
  });
});
