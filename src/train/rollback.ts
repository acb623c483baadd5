/** Going back to before a spike, in the running process. */
import { removeDirectory } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import { newestOf } from './find.ts';
import { loadCheckpoint } from './reading.ts';
import { listCheckpoints } from './rundir.ts';
import { reopen, type Session } from './session.ts';
import type { Start } from './start.ts';
import type { Spike } from './watchdog.ts';

/**
 * Takes a stage back to its newest whole checkpoint of before a spike, or to its beginning where there is none: weights,
 * moments and position in the data are those of then. The steps between are repeated, with the same result, those of the
 * spike passed over. Checkpoints of during the spike are deleted. Throws GroundError('train') once the stage has gone back as
 * often as it may.
 */
export async function rollBack(session: Session, spike: Spike): Promise<void> {
  const { guards, stageDir, saving, listener, progress } = session;
  const { limit } = guards.spike;
  if (guards.rollbacks >= limit) {
    throw new GroundError(
      'train',
      `step ${spike.last}: the loss has jumped to ${spike.loss.toPrecision(4)} (${spike.mean.toPrecision(4)} before), and the stage has gone back ${limit} times already (spike.limit)`,
      {
        hint: 'lower the learning rate, lengthen the warmup, or lower optimizer.clip_norm; the checkpoints of before the jump are still there',
      },
    );
  }
  await saving.settle();
  const all = (await listCheckpoints(stageDir)).reverse();
  const before = all.filter(({ step }) => step < spike.first);
  const { found, warnings } = await newestOf(before, path => loadCheckpoint(path));
  for (const message of warnings) listener.on({ type: 'note', message });
  const start: Start = found
    ? { kind: 'resume', checkpoint: found.value, warnings: [] }
    : { kind: 'fresh', warnings: [] };
  const from = progress.step;
  await reopen(session, start);
  guards.goBack(found?.value.state.guards, spike.first, spike.last);
  for (const { path, step } of all) if (step >= spike.first) await removeDirectory(path);
  saving.goBack(found?.path ?? '');
  listener.on({
    type: 'rollback',
    step: from,
    to: progress.step,
    checkpoint: found?.path ?? null,
    first: spike.first,
    last: spike.last,
    rollbacks: guards.rollbacks,
  });
}
