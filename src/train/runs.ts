/** What runs there are, and how each stands. */
import type { Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, ioError } from '../atomic.ts';
import { readMetrics } from '../telemetry/read.ts';
import type { LineOf } from '../telemetry/schema.ts';
import type { Metric } from './checkpoint.ts';
import { readScores } from './find.ts';
import { lockHolder } from './lock.ts';
import { bestOf } from './retention.ts';
import { listCheckpoints, listStages } from './rundir.ts';

/** `running`: a living process has the stage's lock; `interrupted`: none has it, and the stage has not ended. */
export type RunStatus = 'running' | 'finished' | 'failed' | 'interrupted';

/** One score of one step. */
export interface BestScore {
  readonly name: string;
  readonly value: number;
  readonly step: number;
}

export interface StageSummary {
  readonly stage: number;
  readonly name: string;
  readonly path: string;
  readonly status: RunStatus;
  /** Steps that are logged or saved. */
  readonly step: number;
  /** 0 where they are not known. */
  readonly steps: number;
  readonly loss: number | null;
  readonly best: BestScore | null;
  /** Why it failed or was interrupted, where it could say so. */
  readonly message: string | null;
  /** Unix time of the first and of the newest line of its log, seconds; null without a log. */
  readonly began: number | null;
  readonly seen: number | null;
}

export interface RunSummary {
  readonly run: string;
  readonly path: string;
  readonly status: RunStatus;
  readonly stages: readonly StageSummary[];
  /** Of all its files, those with several names counted once. */
  readonly bytes: number;
}

/** Every folder of `root` that has a stage, by name; none where there is no such folder. Throws GroundError('io'). */
export async function summarizeRuns(root: string): Promise<RunSummary[]> {
  const runs: RunSummary[] = [];
  for (const entry of await entriesOf(root)) {
    if (!entry.isDirectory()) continue;
    const summary = await summarizeRun(join(root, entry.name), entry.name);
    if (summary) runs.push(summary);
  }
  return runs.sort((a, b) => (a.run < b.run ? -1 : 1));
}

/** One run's folder; null where it has no stage. */
export async function summarizeRun(path: string, run: string): Promise<RunSummary | null> {
  const stages: StageSummary[] = [];
  for (const { path: stageDir, stage } of await listStages(path)) {
    const summary = await summarizeStage(stageDir, stage);
    if (summary) stages.push(summary);
  }
  if (stages.length === 0) return null;
  return { run, path, status: statusOf(stages), stages, bytes: await sizeOf(path, new Set()) };
}

/** A run is what its stages are: running if one is, finished if all are, else what the newest unfinished one is. */
function statusOf(stages: readonly StageSummary[]): RunStatus {
  if (stages.some(({ status }) => status === 'running')) return 'running';
  const open = stages.filter(({ status }) => status !== 'finished');
  const newest = open.reduce<StageSummary | undefined>(
    (a, b) => (a && (a.seen ?? 0) > (b.seen ?? 0) ? a : b),
    undefined,
  );
  return newest?.status ?? 'finished';
}

/** How one stage stands by its log, its checkpoints and its lock; null for a folder in which nothing has begun. */
export async function summarizeStage(stageDir: string, stage: number): Promise<StageSummary | null> {
  const log = await readLog(join(stageDir, 'metrics.jsonl'));
  const holder = await lockHolder(stageDir);
  const saved = (await listCheckpoints(stageDir)).at(-1)?.step ?? 0;
  if (!log.start && !holder && saved === 0) return null;
  const { metric } = await readScores(stageDir);
  return {
    stage,
    name: log.start?.stageName ?? '',
    path: stageDir,
    status: holder ? 'running' : (log.ending ?? 'interrupted'),
    step: Math.max(log.step?.step ?? 0, saved),
    steps: log.start?.steps ?? 0,
    loss: log.step?.loss ?? null,
    best: bestScoreOf(log.scores, metric),
    message: log.message,
    began: log.start?.time ?? null,
    seen: log.seen,
  };
}

interface StageLog {
  start?: LineOf<'start'>;
  step?: LineOf<'step'>;
  readonly scores: LineOf<'scores'>[];
  ending: Exclude<RunStatus, 'running'> | null;
  message: string | null;
  seen: number | null;
}

async function readLog(file: string): Promise<StageLog> {
  const log: StageLog = { scores: [], ending: null, message: null, seen: null };
  for await (const line of readMetrics(file, ['start', 'step', 'scores', 'stop', 'end'])) {
    log.seen = line.time;
    if (line.type === 'start') log.start = line;
    else if (line.type === 'step') log.step = line;
    else if (line.type === 'scores') log.scores.push(line);
    // Whatever comes after an ending is of a stage that went on.
    log.ending = line.type === 'end' ? 'finished' : line.type === 'stop' ? line.reason : null;
    log.message = line.type === 'stop' ? line.message : null;
  }
  return log;
}

/** What is shown of many scores where the recipe names none: the first of these that there is. */
const HEADLINES = [/^rec_accuracy$/, /^roc_accuracy$/, /_accuracy$/, /^grounding_gap$/];

/** The best score of a stage by the metric of its recipe, or else the largest of one that tells most. */
export function bestScoreOf(
  scored: readonly Pick<LineOf<'scores'>, 'step' | 'scores'>[],
  metric: Metric | null,
): BestScore | null {
  const name = metric?.score ?? headlineOf(scored.flatMap(({ scores }) => Object.keys(scores)));
  if (name === undefined) return null;
  const candidates = scored.map(({ step, scores }) => ({ step, score: scores[name] ?? null }));
  const [best] = bestOf(candidates, metric?.goal ?? 'max');
  return best?.score == null ? null : { name, value: best.score, step: best.step };
}

function headlineOf(names: readonly string[]): string | undefined {
  for (const pattern of HEADLINES) {
    const name = names.find(candidate => pattern.test(candidate));
    if (name !== undefined) return name;
  }
  return undefined;
}

/** Bytes of all files below a folder; what disappears meanwhile counts nothing. */
async function sizeOf(folder: string, counted: Set<string>): Promise<number> {
  let bytes = 0;
  for (const entry of await entriesOf(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      bytes += await sizeOf(path, counted);
      continue;
    }
    const status = await lstat(path).catch(() => undefined);
    const file = `${status?.dev}:${status?.ino}`;
    if (!status || counted.has(file)) continue;
    counted.add(file);
    bytes += status.size;
  }
  return bytes;
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return [];
    throw ioError(thrown, 'list', folder);
  }
}
