/** A real run of few steps, made by the command itself. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { ground, type Outcome } from '../cli/harness.ts';

export const STEPS = 12;
const SETTINGS = [
  'from=null',
  `steps=${STEPS}`,
  'log.every=2',
  'log.histograms=6',
  'batch.samples=4',
  'checkpoint.every=6',
  'eval.every=6',
  'eval.samples=4',
  'eval.data=[{dataset: data/scenes/val, task: rec}, {dataset: data/scenes/val, task: caption}]',
];
export const TRAIN = ['train', '--stage', '1', ...SETTINGS.flatMap(value => ['--set', value])];

/** A folder with scenes to train on and to be asked about; the caller removes it. */
export async function foldersWithScenes(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'ground-report-'));
  await inFolder(folder, 'data', 'synth', '--out', 'data/scenes/train', '--count', '16', '--seed', '1');
  await inFolder(folder, 'data', 'synth', '--out', 'data/scenes/val', '--count', '6', '--seed', '2');
  return folder;
}

/** Runs `ground` as if it had been started in a folder; throws with what it printed when it fails. */
export async function inFolder(folder: string, ...args: string[]): Promise<Outcome> {
  const spy = vi.spyOn(process, 'cwd').mockReturnValue(folder);
  try {
    const outcome = await ground(...args);
    if (outcome.code !== 0) throw new Error(`ground ${args.join(' ')}: ${outcome.stderr}`);
    return outcome;
  } finally {
    spy.mockRestore();
  }
}

/** The lines of a stage's metrics.jsonl, as they are. */
export function linesOf(stageDir: string): { type: string; [key: string]: unknown }[] {
  return readFileSync(join(stageDir, 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line));
}
