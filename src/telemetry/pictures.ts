/** The pictures of the probe set as files: those of the first evaluation and of the newest, to be compared. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, ioError } from '../atomic.ts';
import type { RunEvent, RunListener } from './events.ts';

type ProbeEvent = Extract<RunEvent, { type: 'probe' }>;

/** The folder of pictures in a stage's. */
export const PICTURES = 'probes';

/** `probes/step-000400/eval-rec-0.png`: where the picture of a probe lies in its stage's folder. */
export function picturePath({ step, tag }: Pick<ProbeEvent, 'step' | 'tag'>): string {
  return `${PICTURES}/${folderOf(step)}/${tag.replace(/[^\w-]+/g, '-')}.png`;
}

/**
 * Writes every probe's picture below `stageDir`. With the first of a new evaluation those of the one before go, unless
 * it was the first of all. What belongs to steps after `step`, from which the stage goes on, goes at once.
 * Throws GroundError('io'), but not for a full disk: a picture is not worth a run.
 */
export function openPictures(stageDir: string, { step }: { readonly step: number }): RunListener {
  const root = join(stageDir, PICTURES);
  for (const evaluated of evaluatedSteps(root)) if (evaluated > step) remove(root, evaluated);
  let current = -1;
  return {
    on(event) {
      if (event.type !== 'probe' || event.picture === null) return;
      if (event.step !== current) {
        current = event.step;
        const [, ...later] = evaluatedSteps(root);
        for (const evaluated of later) if (evaluated !== current) remove(root, evaluated);
      }
      const file = join(stageDir, picturePath(event));
      try {
        mkdirSync(join(root, folderOf(event.step)), { recursive: true });
        writeFileSync(file, event.picture.png);
      } catch (thrown) {
        if (!['ENOSPC', 'EDQUOT'].includes(errorCode(thrown) ?? '')) throw ioError(thrown, 'write', file);
      }
    },
    async close() {},
  };
}

function folderOf(step: number): string {
  return `step-${String(step).padStart(6, '0')}`;
}

/** Ascending. */
function evaluatedSteps(root: string): number[] {
  let names: string[];
  try {
    names = readdirSync(root);
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return [];
    throw ioError(thrown, 'list', root);
  }
  const steps = names.flatMap(name => {
    const step = /^step-(\d{6,})$/.exec(name)?.[1];
    return step === undefined ? [] : [Number(step)];
  });
  return steps.sort((a, b) => a - b);
}

function remove(root: string, step: number): void {
  rmSync(join(root, folderOf(step)), { recursive: true, force: true });
}
