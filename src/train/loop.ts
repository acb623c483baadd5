import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { writeFileAtomic } from '../atomic.ts';
import { tensorCount } from '../engine/memory.ts';
import { messageOf } from '../errors.ts';
import { reach } from '../fault.ts';
import type { Ferret } from '../models/ferret.ts';
import type { Histogram, RunEvent, RunListener } from '../telemetry/events.ts';
import { buildModel } from './adapters.ts';
import { gradientHistograms, weightHistograms } from './histograms.ts';
import { lockStage } from './lock.ts';
import type { ProfiledSteps } from './profile.ts';
import type { Recipe } from './recipe.ts';
import { bestOf } from './retention.ts';
import { stageFolder } from './rundir.ts';
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
import { decideStart, initialWeights, type RecipeCodec, type Start } from './start.ts';
import type { StepHooks } from './step.ts';
import { loadWeights, takeWeights } from './weights.ts';

/** Scores a model on held-out data; emits what is worth seeing. Given from above: eval/ builds on train/. */
export type Evaluate = (
  model: Ferret,
  recipe: Recipe,
  step: number,
  emit: (event: RunEvent) => void,
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

/** How many of the last steps the reported last loss averages. */
const LAST_STEPS = 20;

/**
 * Trains one stage to its end, from wherever its folder says it stands, and scores it. The same call after a crash
 * continues from the last whole checkpoint and ends with the same weights, bit for bit.
 * Throws GroundErrors; what was saved before stays whole.
 */
export async function trainStage(options: StageOptions): Promise<StageResult> {
  const { recipe, runDir, codec } = options;
  const stageDir = join(runDir, stageFolder(recipe.stage.stage));
  const lock = await lockStage(stageDir);
  const model = buildModel(recipe);
  try {
    const start = await decideStart(stageDir, runDir, recipe, codec, options);
    const done = start.kind === 'finished' ? await readResult(stageDir, start.checkpoint.path) : undefined;
    if (done) return done;
    await prepareWeights(model, recipe, runDir, start);
    const prepared = await prepareSaving(model, stageDir, start, recipe.stage);
    await writeFileAtomic(join(stageDir, 'recipe.yaml'), codec.write(recipe));
    return await runStage(prepared, start, options);
  } finally {
    model.dispose();
    await lock.release();
  }
}

async function prepareWeights(model: Ferret, recipe: Recipe, runDir: string, start: Start): Promise<void> {
  const { parameters } = model;
  if (start.kind !== 'fresh') return loadWeights(parameters, start.checkpoint.model, start.checkpoint.path);
  const weights = await initialWeights(parameters, recipe, runDir);
  await takeWeights(parameters, weights, recipe.stage.from ?? 'the random start');
}

async function runStage(prepared: Prepared, start: Start, options: StageOptions): Promise<StageResult> {
  const session = await openSession(prepared, start, options);
  const { listener, progress, plan, saving, stageDir, clock } = session;
  const { stage } = options.recipe;
  try {
    for (const message of start.warnings) listener.on({ type: 'note', message });
    listener.on(startEvent(options, plan.modules, start, progress.step, session.peakFlops));
    let scores: StageResult['scores'] | undefined;
    while (progress.step < stage.steps) {
      session.profile?.begin(progress.step + 1);
      await takeStep(session);
      // Scored before it is saved: what a crash in between costs is repeated as a whole, and logged once.
      const scored = isDue(stage.eval.every, progress.step, stage.steps);
      if (scored) scores = await scoreOrSave(session);
      await saveIfDue(session, scored ? scores : undefined);
      const profiled = await session.profile?.end(progress.step, progress.step === stage.steps);
      if (profiled) listener.on(profiled);
    }
    scores ??= await score(session);
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
    tellFailure(session, thrown);
    throw thrown;
  } finally {
    await closeSession(session);
  }
}

/** Logs why a stage ends; a log that cannot be written, which may be the reason, hides nothing. */
function tellFailure({ listener, progress }: Session, thrown: unknown): void {
  try {
    listener.on({ type: 'stop', step: progress.step, reason: 'failed', message: messageOf(thrown) });
  } catch {
    // What was thrown first is what the person needs to hear.
  }
}

/** Whether something that happens every `every` steps (0: never before the end) happens after this one. */
function isDue(every: number, step: number, steps: number): boolean {
  return step === steps || (every > 0 && step % every === 0);
}

async function takeStep(session: Session): Promise<void> {
  const { options, trainStep, plan, loader, listener, progress, clock, pace, profile } = session;
  const { stage } = options.recipe;
  const { batches, position, skipped, served, padding, queued } = await clock.wait('data', async () => {
    // A turn for what arrives from elsewhere: a finished save, a signal. Steps and batches at hand leave none.
    await setImmediate();
    return loader.next();
  });
  for (const message of skipped) listener.on({ type: 'note', message });
  reach('step');
  const { histograms: every = 0 } = stage.log;
  const histograms: Histogram[] | undefined = every > 0 && (progress.step + 1) % every === 0 ? [] : undefined;
  const hooks: StepHooks = {
    time: (phase, work) => clock.time(phase, work),
    ...(histograms && {
      gradients: (parameters, gradients) =>
        clock.time('logging', () => histograms.push(...gradientHistograms(parameters, gradients))),
    }),
  };
  const run = () => trainStep.run(batches, progress.step, hooks);
  const result = profile ? profile.run(run) : run();
  loader.recycle(batches);
  progress.step += 1;
  progress.samples += result.samples;
  progress.tokens += result.tokens;
  progress.firstLoss ??= result.loss;
  progress.lastLosses = [...progress.lastLosses, result.loss].slice(-LAST_STEPS);
  progress.loader = position;
  pace.add(result);
  if (histograms) {
    const trained = plan.banks.flatMap(bank => bank.parameters);
    clock.time('logging', () => histograms.push(...weightHistograms(trained)));
    listener.on({ type: 'histograms', step: progress.step, histograms });
  }
  if (progress.step > 1 && !isDue(stage.log.every, progress.step, stage.steps)) return;
  const seconds = clock.lap();
  listener.on({
    type: 'step',
    step: progress.step,
    loss: result.loss,
    losses: result.losses,
    gradNorm: result.gradNorm,
    lr: result.lr,
    samples: result.samples,
    tokens: result.tokens,
    mixture: Object.fromEntries(served.map(({ name, count }) => [name, count])),
    padding,
    queued,
    seconds,
    speed: pace.take(progress.step, seconds),
    tensors: tensorCount(),
    rssBytes: process.memoryUsage.rss(),
  });
}

/** Scores the model that the stage would end with: the running average, where there is one. */
async function score({
  options,
  model,
  trainStep,
  listener,
  progress,
  clock,
}: Session): Promise<StageResult['scores']> {
  const evaluate = () => options.evaluate(model, options.recipe, progress.step, event => listener.on(event));
  const scores = await clock.wait('eval', () => trainStep.average?.during(evaluate) ?? evaluate());
  listener.on({ type: 'scores', step: progress.step, scores });
  return scores;
}

/** Scores; when that fails, the steps since the last checkpoint are saved before the failure is passed on. */
async function scoreOrSave(session: Session): Promise<StageResult['scores']> {
  try {
    return await score(session);
  } catch (thrown) {
    await session.saving.begin(session.progress.step, () => takeContent(session, undefined));
    throw thrown;
  }
}

/** Saves where the recipe says so, at the end, and where the model has never been as good. */
async function saveIfDue(session: Session, scores: StageResult['scores'] | undefined): Promise<void> {
  const { options, progress, saving, clock } = session;
  const { checkpoint, steps } = options.recipe.stage;
  const better = scores !== undefined && isBest(session, scores);
  if (!better && !isDue(checkpoint.every, progress.step, steps)) return;
  const take = () => takeContent(session, scores);
  const last = progress.step === steps;
  await clock.wait('save', async () => {
    await (last ? saving.complete(progress.step, take) : saving.begin(progress.step, take));
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
