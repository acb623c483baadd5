import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { writeFileAtomic } from '../atomic.ts';
import { messageOf } from '../errors.ts';
import type { Ferret } from '../models/ferret.ts';
import type { RunEvent, RunListener } from '../telemetry/events.ts';
import { buildModel } from './adapters.ts';
import { freezeNotes, freezeTable } from './freeze-table.ts';
import { Interrupted, type Requests } from './interrupt.ts';
import { lockFolder } from './lock.ts';
import type { ProfiledSteps } from './profile.ts';
import type { Recipe } from './recipe.ts';
import { bestOf } from './retention.ts';
import { rollBack } from './rollback.ts';
import { checkpointName, stageFolder } from './rundir.ts';
import {
  closeSession,
  metricOf,
  openSession,
  type Prepared,
  prepareSaving,
  type Session,
  startEvent,
  takeContent,
} from './session.ts';
import { decideStart, prepareWeights, type RecipeCodec, resetNotes, type Start } from './start.ts';
import { isDue, takeStep } from './take-step.ts';
import { requireUnchanged } from './unchanged.ts';

/** Scores a model on held-out data; emits what is worth seeing. Given from above: eval/ builds on train/. */
export type Evaluate = (
  model: Ferret,
  recipe: Recipe,
  step: number,
  emit: (event: RunEvent) => void,
  /** Called every now and then; may throw to give up. */
  onProgress: () => void,
) => Promise<Readonly<Record<string, number>>>;

export interface StageOptions {
  readonly recipe: Recipe;
  readonly codec: RecipeCodec;
  /** checkpoints/<run> */
  readonly runDir: string;
  readonly run: string;
  /** One line that names engine, device and version. */
  readonly engine: string;
  readonly fresh: boolean;
  /** The user asked to resume: a longer `steps` is then no other recipe. */
  readonly resume: boolean;
  /** Worker threads that prepare batches; 0 prepares them in this thread, with the same result. */
  readonly workers: number;
  /** Opens what follows the stage (files, console), knowing the step from which it goes on. */
  readonly listeners: (stageDir: string, step: number) => Promise<RunListener>;
  readonly evaluate: Evaluate;
  /** What signals have asked for. */
  readonly requests: Requests;
  /** Steps that run op by op and are written down as a trace. */
  readonly profile?: ProfiledSteps;
}

export interface StageResult {
  readonly stage: number;
  readonly name: string;
  readonly steps: number;
  readonly parameters: number;
  readonly trainable: number;
  readonly firstLoss: number | null;
  readonly lastLoss: number | null;
  readonly seconds: number;
  readonly scores: Readonly<Record<string, number>>;
  readonly checkpoint: string;
}

/**
 * Trains one stage to its end, from wherever its folder says it stands, and scores it. The same call after a crash
 * continues from the last whole checkpoint and ends with the same weights, bit for bit.
 * Throws GroundErrors, `Interrupted` where that was asked for; what was saved before stays whole.
 */
export async function trainStage(options: StageOptions): Promise<StageResult> {
  const { recipe, runDir, codec } = options;
  const stageDir = join(runDir, stageFolder(recipe.stage.stage));
  const lock = await lockFolder(stageDir);
  const model = buildModel(recipe);
  try {
    const start = await decideStart(stageDir, runDir, recipe, codec, options);
    const done = start.kind === 'finished' ? await readResult(stageDir, start.checkpoint.path) : undefined;
    if (done) return done;
    const { requests } = options;
    const unchanged = 'no step was taken since it began';
    requests.throwIfStopped(unchanged);
    await prepareWeights(model, recipe, runDir, start);
    requests.throwIfStopped(unchanged);
    const prepared = await prepareSaving(model, stageDir, start, recipe.stage);
    await writeFileAtomic(join(stageDir, 'recipe.yaml'), codec.write(recipe));
    return await runStage(prepared, start, options);
  } finally {
    model.dispose();
    await lock.release();
  }
}

async function runStage(prepared: Prepared, start: Start, options: StageOptions): Promise<StageResult> {
  const session = await openSession(prepared, start, options);
  const { listener, progress, plan, saving, stageDir, clock, guards } = session;
  const { stage } = options.recipe;
  try {
    for (const message of start.warnings) listener.on({ type: 'note', message });
    listener.on(startEvent(options, plan.modules, start, progress.step, session.peakFlops));
    const table = freezeTable(plan, stage);
    const left = start.kind === 'fresh' ? resetNotes(stage) : [];
    for (const message of [...left, ...freezeNotes(table), ...session.notes]) {
      listener.on({ type: 'note', message });
    }
    await writeFileAtomic(join(stageDir, PARAMETERS), `${JSON.stringify(table, null, 2)}\n`);
    let scores: StageResult['scores'] | undefined;
    if (owesScores(start, options)) {
      scores = await scoreOrSave(session);
      isBest(session, scores);
      // With them, so that they are owed no more.
      await save(session, scores);
    }
    while (progress.step < stage.steps) {
      // A turn for what arrives from elsewhere: a finished save, a signal. Steps and batches at hand leave none.
      await clock.wait('data', setImmediate);
      await stopIfAsked(session);
      session.profile?.begin(progress.step + 1);
      const spike = await takeStep(session);
      saving.retentionPaused = !guards.sound;
      if (spike && guards.spike.action === 'rollback') {
        await rollBack(session, spike);
        continue;
      }
      await stopIfTooLarge(session);
      const isLast = progress.step === stage.steps;
      // Scored before it is saved: what a crash in between costs is repeated as a whole, and logged once.
      const scored = isDue(stage.eval.every, progress.step, stage.steps) && progress.step > guards.replayedTo;
      if (scored) scores = await scoreOrSave(session);
      if (isLast) await requireUnchanged(plan.frozen, session.fingerprints);
      await saveIfDue(session, scored ? scores : undefined);
      const profiled = await session.profile?.end(progress.step, isLast);
      if (profiled) listener.on(profiled);
    }
    scores ??= await scoreOrSave(session);
    const split = clock.total();
    const result: StageResult = {
      stage: stage.stage,
      name: stage.name,
      steps: progress.step,
      parameters: plan.modules.reduce((n, m) => n + m.parameters, 0),
      trainable: plan.modules.reduce((n, m) => n + m.trainable, 0),
      firstLoss: progress.firstLoss,
      lastLoss: mean(progress.lastLosses),
      seconds: split.total,
      scores,
      checkpoint: saving.last,
    };
    listener.on({
      type: 'end',
      step: result.steps,
      firstLoss: result.firstLoss ?? Number.NaN,
      lastLoss: result.lastLoss ?? Number.NaN,
      seconds: result.seconds,
      split,
      scores: result.scores,
    });
    await writeFileAtomic(join(stageDir, RESULT), `${JSON.stringify(result, null, 2)}\n`);
    return result;
  } catch (thrown) {
    // The last line of the log is how the stage ended.
    await saving.settle();
    tellFailure(session, thrown);
    throw thrown;
  } finally {
    await closeSession(session);
  }
}

/** Logs why a stage ends; a log that cannot be written, which may be the reason, hides nothing. */
function tellFailure({ listener, progress }: Session, thrown: unknown): void {
  try {
    const reason = thrown instanceof Interrupted ? 'interrupted' : 'failed';
    listener.on({ type: 'stop', step: progress.step, reason, message: messageOf(thrown) });
  } catch {
    // What was thrown first is what the person needs to hear.
  }
}

/** Whether a stage that goes on was interrupted while the step was scored at which it stands. */
function owesScores(start: Start, { recipe: { stage } }: StageOptions): boolean {
  if (start.kind !== 'resume') return false;
  const { step, scores } = start.checkpoint.state;
  return scores === undefined && step > 0 && isDue(stage.eval.every, step, stage.steps);
}

/** Saves and throws `Interrupted` where a signal has asked for the end; saves where one has asked for that. */
async function stopIfAsked(session: Session): Promise<void> {
  const { requests, recipe } = session.options;
  const { progress } = session;
  if (requests.stop === null) {
    if (requests.takeSave()) await save(session, undefined);
    return;
  }
  const place = await completeSave(session);
  const { steps } = recipe.stage;
  requests.throwIfStopped(
    place === ''
      ? 'before the first step, so there was nothing to save'
      : `step ${progress.step} of ${steps} is saved in ${place}`,
  );
}

/** Saves and throws where the process has grown too large or tensors grow in number. */
async function stopIfTooLarge(session: Session): Promise<void> {
  const { guards, progress, trainStep, features } = session;
  const recordings = trainStep.recordings + (features?.recordings ?? 0);
  const problem = guards.memory.check(progress.step, recordings);
  if (!problem) return;
  await completeSave(session);
  throw problem;
}

/** Makes sure that the step at which the stage stands is saved; yields where, '' before the first step. */
async function completeSave(session: Session): Promise<string> {
  const { progress, saving } = session;
  await saving.settle();
  if (progress.step > 0 && basename(saving.last) !== checkpointName(progress.step)) {
    await session.clock.wait('save', () =>
      saving.complete(progress.step, () => takeContent(session, undefined)),
    );
  }
  return saving.last;
}

/** Scores the model that the stage would end with: the running average, where there is one. */
async function score(session: Session): Promise<StageResult['scores']> {
  const { options, model, trainStep, listener, progress, clock } = session;
  const { recipe, requests } = options;
  const giveUp = (): void => requests.throwIfStopped('while scoring');
  const evaluate = () => options.evaluate(model, recipe, progress.step, event => listener.on(event), giveUp);
  const scores = await clock.wait('eval', () => trainStep.average?.during(evaluate) ?? evaluate());
  listener.on({ type: 'scores', step: progress.step, scores });
  return scores;
}

/** Scores; when that fails, the steps since the last checkpoint are saved before the failure is passed on. */
async function scoreOrSave(session: Session): Promise<StageResult['scores']> {
  try {
    return await score(session);
  } catch (thrown) {
    await stopIfAsked(session);
    await save(session, undefined);
    throw thrown;
  }
}

/** Saves where the recipe says so, at the end, and where the model has never been as good. */
async function saveIfDue(session: Session, scores: StageResult['scores'] | undefined): Promise<void> {
  const { options, progress } = session;
  const { checkpoint, steps } = options.recipe.stage;
  const better = scores !== undefined && isBest(session, scores);
  if (!better && !isDue(checkpoint.every, progress.step, steps)) return;
  await save(session, scores);
}

/** Saves; waits for it at the end of the stage. */
async function save(session: Session, scores: StageResult['scores'] | undefined): Promise<void> {
  const { options, progress, saving, clock } = session;
  const take = () => takeContent(session, scores);
  await clock.wait('save', async () => {
    if (progress.step === options.recipe.stage.steps) await saving.complete(progress.step, take);
    else await saving.begin(progress.step, take);
  });
}

/** Whether a step's scores are the best so far by the recipe's metric; remembers them if so. */
function isBest(session: Session, scores: StageResult['scores']): boolean {
  const metric = metricOf(session.options.recipe.stage);
  if (!metric) return false;
  const score = scores[metric.score];
  if (score === undefined) {
    const names = Object.keys(scores).join(', ') || 'none';
    const message = `checkpoint.metric: there is no score ${metric.score}; the scores are ${names}`;
    session.listener.on({ type: 'note', message });
    return false;
  }
  const [best] = bestOf(
    [
      { step: 0, score: session.best },
      { step: 1, score },
    ],
    metric.goal,
  );
  if (best?.score === session.best) return false;
  session.best = score;
  return true;
}

const RESULT = 'result.json';
/** What trains, how fast and what is decayed. */
const PARAMETERS = 'parameters.json';

/** What a finished stage wrote down, or undefined when it was killed before it was scored or has trained on since. */
async function readResult(stageDir: string, checkpoint: string): Promise<StageResult | undefined> {
  const text = await readFile(join(stageDir, RESULT), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const result = JSON.parse(text) as StageResult;
  // The run may have been moved since.
  return basename(result.checkpoint) === basename(checkpoint) ? { ...result, checkpoint } : undefined;
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
}
