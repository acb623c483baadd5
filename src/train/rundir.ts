/** Where the parts of a run lie: `<run>/stage<k>/checkpoint-<step>`. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, ioError } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import type { Problem } from './integrity.ts';

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

/** What a run writes into a stage's folder; nothing else is touched by `clearStage`. */
const STAGE_FILE =
  /^(checkpoint-\d{6,}(\.trial)?(\.(tmp|old)-\d+)?|frozen\.safetensors|metrics\.jsonl|recipe\.yaml|result\.json|nonfinite-\d{6,}\.json|probes|eval|profile-\d+-\d+\.json|events\.out\.tfevents\..+)$/;

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

/** A checkpoint whose files are not those that its manifest lists. */
export class DamagedCheckpoint extends GroundError {
  readonly problems: readonly Problem[];

  constructor(path: string, problems: readonly Problem[]) {
    super('checkpoint', `checkpoint ${path} is damaged: ${describeProblems(problems)}`, {
      hint: 'use an older checkpoint; `ground checkpoints verify` says which are whole',
    });
    this.problems = problems;
  }
}

/** Names in a folder; none where it does not exist. Throws GroundError on a file and on what cannot be read. */
export async function listFolder(path: string): Promise<string[]> {
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
