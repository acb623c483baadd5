/**
 * The process that the fault tests hit: `fault-run.ts STAGE_DIR STEPS` goes on from the newest whole checkpoint with a
 * model of a few numbers, and saves as training does, with frozen weights and in the background. It prints `saved N` and
 * `failed N` as that is known. Starts fast: no engine.
 */
import { setTimeout } from 'node:timers/promises';
import { reach } from '../../src/fault.ts';
import { trySaving } from '../../src/train/checkpoint.ts';
import { adoptFrozen, isUnchanged, writeFrozen } from '../../src/train/frozen.ts';
import { loadNewest } from '../../src/train/heal.ts';
import { lockFolder } from '../../src/train/lock.ts';
import { Saving } from '../../src/train/saving.ts';
import { openWriter } from '../../src/train/writer.ts';
import { advance, contentAt, FIRST, frozenWeights, modelOf, SAVE_EVERY } from './fault-model.ts';

const [stageDir = '', steps = '0'] = process.argv.slice(2);
const last = Number(steps);
const lock = await lockFolder(stageDir);
const { found } = await loadNewest(stageDir, async () => frozenWeights());
await trySaving(stageDir);
let frozen = found?.value.frozen
  ? await adoptFrozen(stageDir, found.value.frozen)
  : await writeFrozen(stageDir, frozenWeights());
let model = found ? modelOf(found.value) : FIRST;
const saving = new Saving(
  {
    stageDir,
    writer: openWriter(true),
    listener: {
      on(event) {
        if (event.type === 'checkpoint') process.stdout.write(`saved ${event.step}\n`);
        if (event.type === 'save-failed') process.stdout.write(`failed ${event.step}\n`);
      },
      close: async () => undefined,
    },
    policy: { last: 2, best: 1, every: 0, goal: 'max' },
    metric: undefined,
    retryAfter: [5, 5, 5],
  },
  found?.path ?? '',
);
while (model.step < last) {
  reach('step');
  model = advance(model);
  // What the real loop does while it waits for its batch: the writer gets a turn.
  await setTimeout(1);
  const take = async () => {
    if (!(await isUnchanged(frozen))) frozen = await writeFrozen(stageDir, frozenWeights());
    return contentAt(model, frozen);
  };
  if (model.step === last) await saving.complete(model.step, take);
  else if (model.step % SAVE_EVERY === 0) await saving.begin(model.step, take);
}
await saving.close();
await lock.release();
