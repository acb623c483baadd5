/**
 * The process that the crash tests kill: `writer.ts STAGE_DIR VALUES` goes on from the newest whole checkpoint, saves one
 * step after the other, keeps two, and prints each step once its checkpoint is there.
 */
import { GroundError } from '../../src/errors.ts';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { openNewest, requireWhole } from '../../src/train/find.ts';
import { lockFolder } from '../../src/train/lock.ts';
import { pruneCheckpoints } from '../../src/train/retention.ts';
import { contentOf } from './content.ts';

const [stageDir = '', values = '1000'] = process.argv.slice(2);
try {
  await lockFolder(stageDir);
  const { found } = await openNewest(stageDir, requireWhole);
  for (let step = (found?.step ?? 0) + 1; ; step++) {
    await saveCheckpoint(stageDir, contentOf(step, Number(values)));
    process.stdout.write(`${step}\n`);
    await pruneCheckpoints(stageDir, { policy: { last: 2, best: 0, every: 0, goal: 'max' } });
  }
} catch (thrown) {
  if (!(thrown instanceof GroundError)) throw thrown;
  process.stdout.write(
    `${JSON.stringify({ code: thrown.code, message: thrown.message, hint: thrown.hint })}\n`,
  );
  process.exitCode = 1;
}
