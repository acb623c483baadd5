/** Where the parts of a run lie: `<run>/stage<k>/checkpoint-<step>`, and how to find the newest whole one. */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, ioError } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import { checkFolder, MANIFEST, type Problem } from './integrity.ts';

/** A folder that has a checkpoint's name; whether it is whole is another question. */
export interface CheckpointRef {
  readonly path: string;
  readonly step: number;
}

/** `stage2`: the name of a stage's folder inside its run's. */
export function stageFolder(stage: number): string {
  return `stage${stage}`;
}

/** `checkpoint-000030`: names sort as the steps do. */
export function checkpointName(step: number): string {
  return `checkpoint-${String(step).padStart(6, '0')}`;
}

/** All checkpoint folders of a stage, oldest first; none when the stage's folder does not exist. */
export async function listCheckpoints(stageDir: string): Promise<CheckpointRef[]> {
  const found = (await listFolder(stageDir)).flatMap(name => {
    const step = /^checkpoint-(\d{6,})$/.exec(name)?.[1];
    return step === undefined ? [] : [{ path: join(stageDir, name), step: Number(step) }];
  });
  return found.sort((a, b) => a.step - b.step);
}

/** All stage folders of a run, lowest stage first. */
export async function listStages(runDir: string): Promise<{ path: string; stage: number }[]> {
  const found = (await listFolder(runDir)).flatMap(name => {
    const stage = /^stage(\d+)$/.exec(name)?.[1];
    return stage === undefined ? [] : [{ path: join(runDir, name), stage: Number(stage) }];
  });
  return found.sort((a, b) => a.stage - b.stage);
}

/**
 * The newest whole checkpoint of a stage, or null. Each damaged one that is newer is passed over with a warning; what is
 * still being written, or was left by a killed process, has another name and is not looked at.
 */
export async function latestCheckpoint(
  stageDir: string,
): Promise<{ readonly checkpoint: CheckpointRef | null; readonly warnings: readonly string[] }> {
  const warnings: string[] = [];
  for (const checkpoint of (await listCheckpoints(stageDir)).reverse()) {
    const problems = await checkFolder(checkpoint.path, { checksums: true });
    if (problems.length === 0) return { checkpoint, warnings };
    warnings.push(`passed over ${checkpoint.path}: ${describeProblems(problems)}`);
  }
  return { checkpoint: null, warnings };
}

/**
 * The checkpoint that a path stands for: itself, the newest whole one of a stage's folder, or that of the last stage of a
 * run's folder that has one. Throws GroundError('checkpoint') when there is none.
 */
export async function resolveCheckpoint(
  path: string,
): Promise<{ readonly path: string; readonly warnings: readonly string[] }> {
  const names = await listFolder(path);
  if (names.includes(MANIFEST) || names.includes('model.safetensors')) return { path, warnings: [] };
  const stages = (await listStages(path)).reverse();
  const candidates = stages.length > 0 ? stages.map(s => s.path) : [path];
  const warnings: string[] = [];
  for (const stageDir of candidates) {
    const latest = await latestCheckpoint(stageDir);
    warnings.push(...latest.warnings);
    if (latest.checkpoint) return { path: latest.checkpoint.path, warnings };
    if (candidates.length > 1) warnings.push(`${stageDir} has no whole checkpoint`);
  }
  const seen = warnings.length > 0 ? ` (${warnings.join('; ')})` : '';
  const exists = await stat(path).then(
    () => true,
    () => false,
  );
  throw new GroundError(
    'checkpoint',
    exists ? `no whole checkpoint in ${path}${seen}` : `there is no folder ${path}`,
    { hint: 'give a checkpoint, a stage or a run folder; `ground checkpoints list` shows what there is' },
  );
}

/** What a run writes into a stage's folder; nothing else is touched by `clearStage`. */
const STAGE_FILE =
  /^(checkpoint-\d{6,}(\.(tmp|old)-\d+)?|metrics\.jsonl|recipe\.yaml|result\.json|events\.out\.tfevents\..+)$/;

/** Deletes what an earlier run left in a stage's folder, for `--fresh`. Files of other names stay. */
export async function clearStage(stageDir: string): Promise<void> {
  for (const name of await listFolder(stageDir)) {
    if (!STAGE_FILE.test(name)) continue;
    await rm(join(stageDir, name), { recursive: true, force: true }).catch(thrown => {
      throw ioError(thrown, 'delete', join(stageDir, name));
    });
  }
}

/** `model.safetensors is missing; state.json has 3 bytes instead of 300`. */
export function describeProblems(problems: readonly Problem[]): string {
  return problems.map(({ file, problem }) => `${file} ${problem}`).join('; ');
}

async function listFolder(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return [];
    if (errorCode(thrown) === 'ENOTDIR') {
      throw new GroundError('checkpoint', `${path} is a file`, {
        hint: 'give the folder of a checkpoint, a stage or a run',
      });
    }
    throw ioError(thrown, 'list', path);
  }
}
