/** Which checkpoint is meant: the newest whole one, or the best one, of a stage or a run. */
import { stat } from 'node:fs/promises';
import { GroundError } from '../errors.ts';
import type { Metric } from './checkpoint.ts';
import { MANIFEST } from './integrity.ts';
import { readSummary, verifyCheckpoint } from './reading.ts';
import { bestOf } from './retention.ts';
import {
  type CheckpointRef,
  DamagedCheckpoint,
  describeProblems,
  listCheckpoints,
  listFolder,
  listStages,
} from './rundir.ts';

/** Does something with a checkpoint; throws `DamagedCheckpoint` where that shows it not to be whole. */
export type Open<T> = (path: string) => Promise<T>;

/** The newest checkpoint of a stage that could be opened, and what was passed over on the way. */
export interface Newest<T> {
  readonly found: (CheckpointRef & { readonly value: T }) | null;
  readonly warnings: readonly string[];
}

/** Opens nothing and reads everything: throws `DamagedCheckpoint` unless every file is whole. */
export async function requireWhole(path: string): Promise<void> {
  const problems = await verifyCheckpoint(path);
  if (problems.length > 0) throw new DamagedCheckpoint(path, problems);
}

/**
 * Opens the newest whole checkpoint of a stage. Each damaged one that is newer is passed over with a warning; what is
 * still being written, or was left by a killed process, has another name and is not looked at. Files are read by `open`
 * alone, and only as far as it takes to know.
 */
export async function openNewest<T>(stageDir: string, open: Open<T>): Promise<Newest<T>> {
  return newestOf((await listCheckpoints(stageDir)).reverse(), open);
}

/** As `openNewest`, of some checkpoints, newest first. */
export async function newestOf<T>(candidates: readonly CheckpointRef[], open: Open<T>): Promise<Newest<T>> {
  const warnings: string[] = [];
  for (const ref of candidates) {
    try {
      return { found: { ...ref, value: await open(ref.path) }, warnings };
    } catch (thrown) {
      if (!(thrown instanceof DamagedCheckpoint)) throw thrown;
      warnings.push(`passed over ${ref.path}: ${describeProblems(thrown.problems)}`);
    }
  }
  return { found: null, warnings };
}

/** The best checkpoints of a stage by the metric of its newest, best first; empty where none has that score. */
async function byScore(stageDir: string): Promise<CheckpointRef[]> {
  const { metric, checkpoints } = await readScores(stageDir);
  return metric ? bestOf(checkpoints, metric.goal) : [];
}

/** The checkpoints of a stage, oldest first, with their scores by a metric, of itself that which its newest names. */
export async function readScores(
  stageDir: string,
  asked?: Metric,
): Promise<{
  readonly metric: Metric | null;
  readonly checkpoints: readonly (CheckpointRef & { readonly score: number | null })[];
}> {
  const refs = await listCheckpoints(stageDir);
  const summaries = await Promise.all(refs.map(({ path }) => readSummary(path)));
  const metric = asked ?? summaries.findLast(s => s !== null && s.metric !== null)?.metric ?? null;
  const scoreOf = (i: number) => (metric && summaries[i]?.scores?.[metric.score]) ?? null;
  return { metric, checkpoints: refs.map((ref, i) => ({ ...ref, score: scoreOf(i) })) };
}

/** The best score of a stage's checkpoints by a metric; null where none has it. */
export async function bestScore(stageDir: string, metric: Metric): Promise<number | null> {
  const { checkpoints } = await readScores(stageDir, metric);
  return bestOf(checkpoints, metric.goal)[0]?.score ?? null;
}

/** What was opened, and where. */
export interface Opened<T> {
  readonly path: string;
  readonly value: T;
  readonly warnings: readonly string[];
}

/**
 * Opens the checkpoint that a path stands for: itself, or one of a stage's folder, or of the last stage of a run's folder
 * that has one; the newest whole one, or with `best` the one of the best score. Throws GroundError('checkpoint') when
 * there is none.
 */
export async function openResolved<T>(
  path: string,
  open: Open<T>,
  { best = false }: { readonly best?: boolean } = {},
): Promise<Opened<T>> {
  const names = await listFolder(path);
  if (names.includes(MANIFEST) || names.includes('model.safetensors')) {
    return { path, value: await open(path), warnings: [] };
  }
  const stages = (await listStages(path)).reverse();
  const candidates = stages.length > 0 ? stages.map(s => s.path) : [path];
  const warnings: string[] = [];
  for (const stageDir of candidates) {
    const refs = best ? await byScore(stageDir) : (await listCheckpoints(stageDir)).reverse();
    const newest = await newestOf(refs, open);
    warnings.push(...newest.warnings);
    if (newest.found) return { path: newest.found.path, value: newest.found.value, warnings };
    if (candidates.length > 1) warnings.push(`${stageDir} has no ${best ? 'scored' : 'whole'} checkpoint`);
  }
  throw await nothingFound(path, warnings, best);
}

/** As `openResolved`, when only the path is wanted. */
export async function resolveCheckpoint(
  path: string,
  options: { readonly best?: boolean } = {},
): Promise<{ readonly path: string; readonly warnings: readonly string[] }> {
  const { path: found, warnings } = await openResolved(path, requireWhole, options);
  return { path: found, warnings };
}

async function nothingFound(path: string, warnings: readonly string[], best: boolean): Promise<GroundError> {
  const seen = warnings.length > 0 ? ` (${warnings.join('; ')})` : '';
  const exists = await stat(path).then(
    () => true,
    () => false,
  );
  const message = best
    ? `no checkpoint in ${path} has a score to be best by`
    : `no whole checkpoint in ${path}`;
  return new GroundError('checkpoint', exists ? `${message}${seen}` : `there is no folder ${path}`, {
    hint: best
      ? 'checkpoint.metric of the recipe names the score; without one, leave --best out and the newest is taken'
      : 'give a checkpoint, a stage or a run folder; `ground checkpoints list` shows what there is',
  });
}
