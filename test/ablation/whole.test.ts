import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const ROOT = process.cwd();
/** Steps that only show that everything works, on few scenes and with few questions. */
const QUICK = [
  '--seeds',
  '1',
  '--steps-before',
  '1,1,1',
  '--steps',
  '2',
  '--scenes',
  '80,8',
  '--questions',
  '6',
];
const ONLY = ['--only', 'no-stage-2'];

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ground-ablation-'));
  for (const name of ['configs', 'scripts'])
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  for (const name of ['src', 'dist', 'node_modules', 'package.json'])
    symlinkSync(join(ROOT, name), join(folder, name));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function ablation(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', 'scripts/ablation.ts', ...QUICK, ...args],
    { cwd: folder, encoding: 'utf8' },
  );
  return { status, stdout, stderr };
}

test('from nothing to the report, and nothing is run twice', () => {
  const dry = ablation(...ONLY, '--dry-run');
  expect(dry).toMatchObject({ status: 0, stderr: '' });
  expect(dry.stdout).toContain('9 jobs, 0 done');
  expect(existsSync(join(folder, 'checkpoints'))).toBe(false);

  const first = ablation(...ONLY);
  expect(first.stderr).toBe('');
  expect(first.status).toBe(0);
  expect(first.stdout.match(/^\$ ground /gm)).toHaveLength(9);
  const read = (name: string): string => readFileSync(join(folder, 'docs', name), 'utf8');
  const results = JSON.parse(read('ablation.json')) as { variants: { name: string; scores: object }[] };
  expect(results.variants.map(({ name }) => name)).toEqual(['full', 'no-stage-2']);
  expect(results.variants.map(({ scores }) => Object.keys(scores).length > 1)).toEqual([true, true]);
  expect(read('ablation.md')).toContain('**without stage 2.**');
  expect(existsSync(join(folder, 'docs', 'ablation.png'))).toBe(true);

  const written = read('ablation.md');
  rmSync(join(folder, 'docs'), { recursive: true });
  const again = ablation(...ONLY);
  expect(again.status).toBe(0);
  expect(again.stdout).not.toContain('$ ground');
  expect(read('ablation.md')).toBe(written);
});

test.each([
  [['--only', 'nothing'], 'there is no variant "nothing"'],
  [['--jobs', '0'], '--jobs 0: expected a whole number from 1 on'],
  [['--scenes', '5'], '--scenes 5: expected 2 whole numbers'],
  [['--unknown'], "Unknown option '--unknown'"],
])('%s is refused', (args, message) => {
  const { status, stderr } = ablation(...args);
  expect(status).toBe(2);
  expect(stderr).toContain(message);
  expect(stderr).not.toContain('    at ');
});

test('a job that fails is named with the end of its output, and nothing is reported', () => {
  const name = ['--name', 'broken', '--out', 'elsewhere'];
  const { status, stderr } = ablation(
    ...ONLY,
    ...name,
    '--scenes',
    '80,1',
    '--questions',
    '6',
    '--engine',
    'nonsense',
  );
  expect(status).toBe(1);
  expect(stderr).toContain('1-full-stage0 failed: ground train --stage 0');
  expect(stderr).toContain('nonsense');
  expect(existsSync(join(folder, 'elsewhere'))).toBe(false);
});
