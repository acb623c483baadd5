import { removeDirectory } from '../atomic.ts';
import { checkFolder } from './integrity.ts';
import { type CheckpointRef, listCheckpoints } from './rundir.ts';

/** A checkpoint as the choice of what to delete sees it. */
export interface RetentionCandidate {
  readonly step: number;
  readonly whole: boolean;
}

/**
 * Which checkpoints may go so that the newest `keep` whole ones stay; 0 keeps all. Damaged ones count for nothing: they go
 * when a newer whole one exists, and stay otherwise, since there may be something to rescue. The newest whole one is never
 * among the result.
 */
export function selectForDeletion<T extends RetentionCandidate>(
  checkpoints: readonly T[],
  { keep }: { readonly keep: number },
): T[] {
  const whole = checkpoints.filter(c => c.whole).sort((a, b) => b.step - a.step);
  const newest = whole[0];
  if (newest === undefined || keep <= 0) return [];
  const kept = new Set(whole.slice(0, Math.max(1, Math.ceil(keep))));
  return checkpoints.filter(c => !kept.has(c) && c.step < newest.step).sort((a, b) => a.step - b.step);
}

/**
 * Deletes what `selectForDeletion` chooses and returns it. The newest whole checkpoint is read in full to be sure of it;
 * for older ones sizes are compared, unless `checksums` asks for more.
 */
export async function pruneCheckpoints(
  stageDir: string,
  options: { readonly keep: number; readonly checksums?: boolean; readonly dryRun?: boolean },
): Promise<CheckpointRef[]> {
  const candidates: (CheckpointRef & RetentionCandidate)[] = [];
  let certain = false;
  for (const ref of (await listCheckpoints(stageDir)).reverse()) {
    const checksums: boolean = options.checksums === true || !certain;
    const whole: boolean = (await checkFolder(ref.path, { checksums })).length === 0;
    certain ||= whole;
    candidates.push({ ...ref, whole });
  }
  const doomed = selectForDeletion(candidates, options);
  if (options.dryRun !== true) {
    for (const { path } of doomed) await removeDirectory(path);
  }
  return doomed;
}
