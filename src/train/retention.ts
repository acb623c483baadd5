/** Which checkpoints of a stage stay on the disk, and the deletion of the others. */
import { removeDirectory } from '../atomic.ts';
import { messageOf } from '../errors.ts';
import type { Metric } from './checkpoint.ts';
import { checkFolder } from './integrity.ts';
import { readSummary } from './reading.ts';
import type { CheckpointConfig } from './recipe.ts';
import { type CheckpointRef, listCheckpoints } from './rundir.ts';

/** A checkpoint as the choice of what to delete sees it. */
export interface RetentionCandidate {
  readonly step: number;
  readonly whole: boolean;
  /** Its score by the stage's metric; null or absent where it has none. */
  readonly score?: number | null;
}

/** What stays; a checkpoint needs one reason only. */
export interface RetentionPolicy {
  /** The newest ones; 0 keeps all. */
  readonly last: number;
  /** The best ones by their score. */
  readonly best: number;
  /** Those of every so many steps; 0 for none. */
  readonly every: number;
  readonly goal: Metric['goal'];
}

/** The policy of a recipe, where a plain number means the newest ones. */
export function retentionPolicy({ keep, goal = 'max' }: CheckpointConfig): RetentionPolicy {
  return typeof keep === 'number'
    ? { last: keep, best: 1, every: 0, goal }
    : { last: keep.last, best: keep.best ?? 1, every: keep.every ?? 0, goal };
}

/** Those with a score, best first; of equal ones the newer is better. */
export function bestOf<T extends { readonly step: number; readonly score?: number | null }>(
  checkpoints: readonly T[],
  goal: Metric['goal'],
): T[] {
  const sign = goal === 'max' ? -1 : 1;
  const scored = checkpoints.filter(c => typeof c.score === 'number' && Number.isFinite(c.score));
  return scored.sort((a, b) => sign * ((a.score ?? 0) - (b.score ?? 0)) || b.step - a.step);
}

/**
 * Which checkpoints may go, oldest first. Never among them: the newest whole one, and the best whole one whatever
 * `best` says. Damaged ones count for nothing: they go when a newer whole one exists, and stay otherwise, since there may
 * be something to rescue. Nothing goes while `paused`: a run whose numbers are no longer finite must not trade good
 * checkpoints for bad ones.
 */
export function selectForDeletion<T extends RetentionCandidate>(
  checkpoints: readonly T[],
  policy: RetentionPolicy,
  { paused = false }: { readonly paused?: boolean } = {},
): T[] {
  const whole = checkpoints.filter(c => c.whole).sort((a, b) => b.step - a.step);
  const newest = whole[0];
  if (newest === undefined || policy.last <= 0 || paused) return [];
  const kept = new Set([
    ...whole.slice(0, Math.max(1, Math.ceil(policy.last))),
    ...bestOf(whole, policy.goal).slice(0, Math.max(1, policy.best)),
    ...whole.filter(c => policy.every > 0 && c.step % policy.every === 0),
  ]);
  return checkpoints.filter(c => !kept.has(c) && c.step < newest.step).sort((a, b) => a.step - b.step);
}

export interface PruneOptions {
  readonly policy: RetentionPolicy;
  /** The score of `policy.best`; without one no checkpoint has any. */
  readonly metric?: Metric | undefined;
  /** Folders that are known to be whole, byte for byte: just written or just read. */
  readonly known?: ReadonlySet<string>;
  readonly paused?: boolean;
  /** Reads all of them in full before anything is deleted. */
  readonly checksums?: boolean;
  readonly dryRun?: boolean;
}

export interface Pruned {
  readonly deleted: readonly CheckpointRef[];
  /** What could not be deleted, and why; it stays, and the next round tries again. */
  readonly failures: readonly string[];
}

/**
 * Deletes what `selectForDeletion` chooses. The newest whole checkpoint is read in full to be sure of it unless it is
 * `known`; for older ones sizes are compared, unless `checksums` asks for more.
 */
export async function pruneCheckpoints(stageDir: string, options: PruneOptions): Promise<Pruned> {
  const candidates: (CheckpointRef & RetentionCandidate)[] = [];
  let certain = false;
  for (const ref of (await listCheckpoints(stageDir)).reverse()) {
    const known = options.known?.has(ref.path) === true;
    const checksums: boolean = !known && (options.checksums === true || !certain);
    const whole: boolean = (await checkFolder(ref.path, { checksums })).length === 0;
    certain ||= whole;
    const { metric } = options;
    const score = metric && ((await readSummary(ref.path))?.scores?.[metric.score] ?? null);
    candidates.push({ ...ref, whole, score: score ?? null });
  }
  const doomed = selectForDeletion(candidates, options.policy, { paused: options.paused === true });
  const deleted: CheckpointRef[] = [];
  const failures: string[] = [];
  for (const { path, step } of doomed) {
    try {
      if (options.dryRun !== true) await removeDirectory(path);
      deleted.push({ path, step });
    } catch (thrown) {
      failures.push(messageOf(thrown));
    }
  }
  return { deleted, failures };
}
