import { GroundError } from '../errors.ts';
import type { NamedArraySource } from './checkpoint.ts';
import { type Newest, openNewest } from './find.ts';
import { repairFrozen } from './frozen.ts';
import { type LoadedCheckpoint, loadCheckpoint } from './reading.ts';
import { listCheckpoints } from './rundir.ts';

/**
 * Loads the newest whole checkpoint of a stage, once those have been healed in which nothing but the weights is damaged
 * that all of them share. Call it while holding the stage's lock.
 *
 * @param initial the weights that the stage started with, made again
 */
export async function loadNewest(
  stageDir: string,
  initial: () => Promise<ReadonlyMap<string, NamedArraySource>>,
): Promise<Newest<LoadedCheckpoint>> {
  const newest = await openNewest(stageDir, path => loadCheckpoint(path));
  const damaged = (await listCheckpoints(stageDir)).filter(({ step }) => step > (newest.found?.step ?? -1));
  if (damaged.length === 0) return newest;
  const healed = await repairFrozen(stageDir, damaged, initial).catch(thrown => {
    // What it would be made from is gone or damaged as well: the older checkpoint it is.
    if (thrown instanceof GroundError) return [];
    throw thrown;
  });
  if (healed.length === 0) return newest;
  const again = await openNewest(stageDir, path => loadCheckpoint(path));
  const notes = healed.map(({ path }) => `made the damaged frozen weights of ${path} again`);
  return { found: again.found, warnings: [...notes, ...again.warnings] };
}
