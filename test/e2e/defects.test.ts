import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEFECTS, type Defect, SHARD_ROWS, writeDefect, writeDefects } from '../data/defects.ts';
import { ground, metricsOf, QUICK } from './ground.ts';

/** One conversation a row, so that four steps of three samples see every row. */
const STAGE = [
  ...['train', '--stage', '1', ...QUICK],
  ...[
    'from=null',
    'steps=4',
    'batch.samples=3',
    'data=[{dataset: data/bad, task: conversation, weight: 1}]',
    'eval.data=[]',
  ].flatMap(value => ['--set', value]),
];

/** Defects of single records, which can be in one dataset together: row by row, as far as it has rows. */
const TOGETHER = DEFECTS.filter(({ damage, files }) => damage !== 'dataset' && files === undefined).slice(
  -11,
);

let folder = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ground-defects-'));
  await writeDefects(
    join(folder, 'data/bad'),
    new Map(TOGETHER.map((defect, i): [number, Defect] => [i + 1, defect])),
  );
  await writeDefect(join(folder, 'data/one'), DEFECTS.find(({ name }) => name === 'inverted box')!);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const placeOf = (defect: Defect) => {
  const row = TOGETHER.indexOf(defect) + 1;
  return [`shard-0000${Math.floor(row / SHARD_ROWS)}.arrow`, row % SHARD_ROWS] as const;
};

it('a dataset with many defects at once: validate names each with shard and row, and exits with 1', () => {
  const { code, stdout } = ground(folder, 'data', 'validate', 'data/bad');
  expect(code).toBe(1);
  for (const defect of TOGETHER) {
    const [shard, row] = placeOf(defect);
    const lines = stdout.split('\n').filter(line => line.includes(`${shard} row ${row} `));
    expect(lines, defect.name).toContainEqual(expect.stringMatching(defect.says));
  }
});

it('training that skips goes to its end and logs each damaged row once or more', () => {
  const done = ground(folder, ...STAGE, '--run', 'skipping', '--set', 'on_bad_sample=skip');
  expect(done, done.stderr).toMatchObject({ code: 0 });
  const log = JSON.stringify(metricsOf(folder, 'skipping', 1));
  for (const defect of TOGETHER.filter(({ damage }) => damage === 'row')) {
    const [shard, row] = placeOf(defect);
    expect(log, defect.name).toContain(`data/bad, ${shard}:${row}`);
  }
  for (const defect of TOGETHER.filter(({ damage }) => damage === 'none')) {
    const [shard, row] = placeOf(defect);
    expect(log, defect.name).not.toContain(`data/bad, ${shard}:${row}:`);
  }
});

it('training on which bad samples are fatal ends with dataset, shard and row in one line, without a stack', () => {
  const source = 'data=[{dataset: data/one, task: conversation, weight: 1}]';
  const done = ground(folder, ...STAGE, '--run', 'failing', '--set', source);
  expect(done.code).toBe(1);
  const lines = done.stderr.split('\n').filter(line => line.includes('object 0: box'));
  expect(lines).toEqual([
    expect.stringMatching(/data\/one, shard-00001\.arrow:2: .*box \[30, 10, 20, 40\] is inverted or empty/),
  ]);
  expect(done.stderr).not.toMatch(/\n\s+at /);
});
