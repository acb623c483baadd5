import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findRecipeDir, PACKAGE_ROOT } from '../../src/cli/options.ts';
import { parseStages } from '../../src/cli/train.ts';
import { GroundError } from '../../src/errors.ts';
import { temporaryFolder } from '../config/sample.ts';
import { ground } from './harness.ts';

describe('--recipe', () => {
  test('means the current folder first, then what came with the program', () => {
    const cwd = temporaryFolder();
    expect(findRecipeDir('configs/ferret-v2-tiny', cwd)).toBe(join(PACKAGE_ROOT, 'configs/ferret-v2-tiny'));
    mkdirSync(join(cwd, 'configs/ferret-v2-tiny'), { recursive: true });
    expect(findRecipeDir('configs/ferret-v2-tiny', cwd)).toBe(join(cwd, 'configs/ferret-v2-tiny'));
  });

  test('names both places where nothing was found', () => {
    expect(() => findRecipeDir('nowhere', '/tmp')).toThrow(
      expect.objectContaining({ code: 'config', message: expect.stringContaining('/tmp/nowhere or ') }),
    );
  });
});

describe('--stage', () => {
  test.each([
    ['2', [2]],
    ['1-3', [1, 2, 3]],
    ['3,0-1', [0, 1, 3]],
    ['1,1-2', [1, 2]],
  ])('%s', (text, stages) => {
    expect(parseStages(text)).toEqual(stages);
  });

  test.each(['', 'x', '3-1', '1-', '-1', '1..3', '1,,2', '1.5'])('refuses "%s"', text => {
    expect(() => parseStages(text)).toThrow(GroundError);
  });
});

describe('ground config show', () => {
  test('prints the recipe with origins', async () => {
    const { code, stdout, stderr } = await ground('config', 'show', '--stage', '1', '--set', 'steps=7');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('steps: 7 # --set steps=7\n');
    expect(stdout).toMatch(/from: stage0 # configs\/ferret-v2-tiny\/stage1\.yaml:\d+:7\n/);
  });

  test('as JSON is the recipe and its origins', async () => {
    const { stdout } = await ground('config', 'show', '--stage', '1', '--set', 'lr=0.5', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      recipe: { stage: { stage: 1, lr: 0.5 }, model: { name: 'ferret-v2-tiny' } },
      origins: { lr: '--set lr=0.5', 'batch.accumulate': expect.any(String) },
    });
  });

  test('of a wrong flag ends with 2 and the flag', async () => {
    const { code, stderr } = await ground('config', 'show', '--stage', '1', '--set', 'stpes=7');
    expect(code).toBe(2);
    expect(stderr).toContain('--set stpes=7  stpes: no such key\n  = did you mean steps?');
  });
});

test('ground train refuses flags that contradict each other', async () => {
  expect(await ground('train', '--stage', '1', '--fresh', '--resume')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--fresh and --resume contradict each other'),
  });
});
