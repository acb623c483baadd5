/** Where predictions are kept: `<stage>/eval/<checkpoint>-<tasks>.jsonl`, beside the checkpoint that gave them. */
import { statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { GroundError } from '../errors.ts';
import { listFolder, listStages } from '../train/rundir.ts';

const FOLDER = 'eval';

/** The file for what a checkpoint answers; null for a checkpoint that lies in no run. */
export function predictionsFile(checkpoint: string, tasks: readonly string[] | null): string | null {
  if (!/^checkpoint-\d+$/.test(basename(checkpoint))) return null;
  const name = `${basename(checkpoint)}-${tasks?.join('+') ?? 'all'}.jsonl`;
  return join(dirname(checkpoint), FOLDER, name);
}

/**
 * The files that a path stands for: itself, or what was kept of the newest checkpoint that was evaluated in a stage, or in the
 * last stage of a run that has any, the file written last in the end; a name is that of a run below `checkpoints`. Throws
 * GroundError 'usage' where there is none.
 */
export async function findPredictions(path: string): Promise<string[]> {
  const whole = exists(resolve(path)) ? resolve(path) : resolve('checkpoints', path);
  if (!exists(whole)) {
    throw new GroundError('usage', `there is no ${path}, nor a run checkpoints/${path}`, {
      hint: 'give a file of predictions, the folder of a run or a stage, or the name of a run',
    });
  }
  if (statSync(whole).isFile()) return [whole];
  const stages = (await listStages(whole)).map(stage => stage.path).reverse();
  for (const stage of [whole, ...stages]) {
    const folder = basename(stage) === FOLDER ? stage : join(stage, FOLDER);
    const names = (await listFolder(folder)).filter(name => name.endsWith('.jsonl')).sort();
    const newest = /^checkpoint-\d+/.exec(names.at(-1) ?? '')?.[0];
    if (newest !== undefined) {
      const files = names.filter(name => name.startsWith(`${newest}-`)).map(name => join(folder, name));
      return files.sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs);
    }
  }
  throw new GroundError('usage', `${whole} holds no predictions`, {
    hint: 'make them with `ground eval`',
  });
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
