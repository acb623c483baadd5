import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, ioError } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import { readScores } from './find.ts';
import { checkFolder, listedBytes, type Problem } from './integrity.ts';
import { bestOf } from './retention.ts';
import { listStages } from './rundir.ts';

/** One checkpoint on the disk, and whether it is whole. */
export interface CheckpointEntry {
  readonly run: string;
  readonly stage: number;
  readonly step: number;
  readonly path: string;
  /** Size of all its files, bytes; null when its manifest cannot be read. */
  readonly bytes: number | null;
  /** Empty when it is whole. */
  readonly problems: readonly Problem[];
  /** By the score that the stage's recipe names; null where there is none. */
  readonly score: number | null;
  /** Whether no other of the stage has a better one. */
  readonly best: boolean;
}

/**
 * Every checkpoint of a run, or of all runs below `root`; by run, stage and step. Without `checksums` only presence and
 * sizes of the files are compared, which is quick. Throws GroundError('checkpoint') when the run named does not exist.
 */
export async function takeInventory(
  root: string,
  options: { readonly run?: string | undefined; readonly checksums: boolean },
): Promise<CheckpointEntry[]> {
  const runs = await listRuns(root);
  if (options.run !== undefined && !runs.includes(options.run)) {
    throw new GroundError('checkpoint', `there is no run ${options.run} in ${root}`, {
      hint: runs.length > 0 ? `there are: ${runs.join(', ')}` : 'no run has been started here yet',
    });
  }
  const entries: CheckpointEntry[] = [];
  for (const run of options.run === undefined ? runs : [options.run]) {
    for (const { path: stageDir, stage } of await listStages(join(root, run))) {
      const { metric, checkpoints } = await readScores(stageDir);
      const best = metric ? bestOf(checkpoints, metric.goal)[0]?.path : undefined;
      for (const { path, step, score } of checkpoints) {
        const problems = await checkFolder(path, options);
        const bytes = await listedBytes(path);
        entries.push({ run, stage, step, path, bytes, problems, score, best: path === best });
      }
    }
  }
  return entries;
}

async function listRuns(root: string): Promise<string[]> {
  try {
    const found = await readdir(root, { withFileTypes: true });
    return found
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name)
      .sort();
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return [];
    throw ioError(thrown, 'list', root);
  }
}
