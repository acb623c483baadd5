import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../atomic.ts';
import { type Loader, type LoaderPosition, openLoader } from '../data/loader.ts';
import { tokenizerCompanions } from '../data/tokenizer-files.ts';
import { tensorCount } from '../engine/memory.ts';
import { Ferret } from '../models/ferret.ts';
import type { ModuleSummary, RunEvent, RunListener } from '../telemetry/events.ts';
import { type Json, requireSpace, saveCheckpoint } from './checkpoint.ts';
import { planTraining, type TrainingPlan } from './freeze.ts';
import { lockStage } from './lock.ts';
import type { Recipe } from './recipe.ts';
import { pruneCheckpoints } from './retention.ts';
import { stageFolder } from './rundir.ts';
import { decideStart, initialCheckpoint, type RecipeCodec, type Start } from './start.ts';
import { TrainStep } from './step.ts';
import { bankStates, copyGroup, loadWeights, momentSources, weightSources } from './weights.ts';

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
  readonly workers: 0 | 1;
  /** Opens what follows the stage (files, console), knowing the step from which it goes on. */
  readonly listeners: (stageDir: string, step: number) => Promise<RunListener>;
  readonly evaluate: Evaluate;
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
  const model = new Ferret(recipe.model);
  try {
    const start = await decideStart(stageDir, recipe, codec, options);
    const done = start.kind === 'finished' ? await readResult(stageDir, start.checkpoint.path) : undefined;
    if (done) return done;
    await prepareWeights(model, recipe, runDir, start);
    await writeFileAtomic(join(stageDir, 'recipe.yaml'), codec.write(recipe));
    return await runStage(model, stageDir, start, options);
  } finally {
    model.dispose();
    await lock.release();
  }
}

async function prepareWeights(model: Ferret, recipe: Recipe, runDir: string, start: Start): Promise<void> {
  const source = start.kind === 'fresh' ? await initialCheckpoint(recipe, runDir) : start.checkpoint;
  if (source) loadWeights(model.parameters, source.model, source.path);
  else model.parameters.allocate(recipe.stage.seed);
  if (start.kind === 'fresh') {
    for (const { from, to } of recipe.stage.copy) copyGroup(model.parameters, from, to);
  }
}

/** What grows while a stage runs; all of it is in the checkpoints. */
interface Progress {
  step: number;
  samples: number;
  tokens: number;
  firstLoss: number | null;
  lastLosses: number[];
  loader: LoaderPosition | undefined;
}

/** Everything a running stage holds open. */
interface Session {
  readonly options: StageOptions;
  readonly stageDir: string;
  readonly model: Ferret;
  readonly plan: TrainingPlan;
  readonly trainStep: TrainStep;
  readonly loader: Loader;
  readonly listener: RunListener;
  readonly progress: Progress;
}

async function runStage(
  model: Ferret,
  stageDir: string,
  start: Start,
  options: StageOptions,
): Promise<StageResult> {
  const began = performance.now();
  const session = await openSession(model, stageDir, start, options);
  const { listener, progress, plan } = session;
  const { stage } = options.recipe;
  try {
    for (const message of start.warnings) listener.on({ type: 'note', message });
    listener.on(startEvent(options, plan.modules, start, progress.step));
    let checkpoint = start.kind === 'fresh' ? '' : start.checkpoint.path;
    let scores: StageResult['scores'] | undefined;
    while (progress.step < stage.steps) {
      await takeStep(session);
      // Scored before it is saved: what a crash in between costs is repeated as a whole, and logged once.
      if (isDue(stage.eval.every, progress.step, stage.steps)) scores = await scoreOrSave(session);
      if (isDue(stage.checkpoint.every, progress.step, stage.steps)) checkpoint = await save(session);
    }
    const result: StageResult = {
      stage: stage.stage,
      name: stage.name,
      steps: progress.step,
      parameters: plan.modules.reduce((n, m) => n + m.parameters, 0),
      trainable: plan.modules.reduce((n, m) => n + m.trainable, 0),
      firstLoss: progress.firstLoss,
      lastLoss: mean(progress.lastLosses),
      seconds: (performance.now() - began) / 1000,
      scores: scores ?? (await score(session)),
      checkpoint,
    };
    listener.on({
      type: 'end',
      step: result.steps,
      firstLoss: result.firstLoss ?? Number.NaN,
      lastLoss: result.lastLoss ?? Number.NaN,
      seconds: result.seconds,
      scores: result.scores,
    });
    await writeFileAtomic(join(stageDir, RESULT), `${JSON.stringify(result, null, 2)}\n`);
    return result;
  } finally {
    await session.loader.close();
    session.trainStep.dispose();
    await listener.close();
  }
}

async function openSession(
  model: Ferret,
  stageDir: string,
  start: Start,
  options: StageOptions,
): Promise<Session> {
  const { model: modelConfig, stage } = options.recipe;
  const plan = planTraining(model.parameters, stage, model.unused);
  await requireSpace(stageDir, checkpointBytes(plan));
  const progress = progressOf(start);
  const loader = await openLoader({
    model: modelConfig,
    stage,
    workers: options.workers,
    ...(progress.loader ? { position: progress.loader } : {}),
  });
  const trainStep = new TrainStep(model, plan, stage);
  if (start.kind !== 'fresh' && start.checkpoint.optimizer) {
    trainStep.restore(bankStates(plan.banks, start.checkpoint.optimizer));
  }
  const listener = await options.listeners(stageDir, progress.step);
  return { options, stageDir, model, plan, trainStep, loader, listener, progress };
}

/** Whether something that happens every `every` steps (0: never before the end) happens after this one. */
function isDue(every: number, step: number, steps: number): boolean {
  return step === steps || (every > 0 && step % every === 0);
}

async function takeStep({ options, trainStep, loader, listener, progress }: Session): Promise<void> {
  const { stage } = options.recipe;
  const began = performance.now();
  const { batches, position, skipped, waitSeconds } = await loader.next();
  for (const message of skipped) listener.on({ type: 'note', message });
  const computeBegan = performance.now();
  const result = trainStep.run(batches, progress.step);
  const ended = performance.now();
  progress.step += 1;
  progress.samples += result.samples;
  progress.tokens += result.tokens;
  progress.firstLoss ??= result.loss;
  progress.lastLosses = [...progress.lastLosses, result.loss].slice(-LAST_STEPS);
  progress.loader = position;
  if (progress.step > 1 && !isDue(stage.log.every, progress.step, stage.steps)) return;
  listener.on({
    type: 'step',
    step: progress.step,
    loss: result.loss,
    losses: result.losses,
    gradNorm: result.gradNorm,
    lr: result.lr,
    samples: result.samples,
    tokens: result.tokens,
    seconds: {
      data: waitSeconds,
      compute: (ended - computeBegan) / 1000,
      total: (ended - began) / 1000,
    },
    tensors: tensorCount(),
    rssBytes: process.memoryUsage.rss(),
  });
}

async function score({ options, model, listener, progress }: Session): Promise<StageResult['scores']> {
  const scores = await options.evaluate(model, options.recipe, progress.step, event => listener.on(event));
  listener.on({ type: 'scores', step: progress.step, scores });
  return scores;
}

/** Scores; when that fails, the steps since the last checkpoint are saved before the failure is passed on. */
async function scoreOrSave(session: Session): Promise<StageResult['scores']> {
  try {
    return await score(session);
  } catch (thrown) {
    await save(session);
    throw thrown;
  }
}

/** Saves a checkpoint, then deletes those that the recipe does not keep; returns its path. */
async function save(session: Session): Promise<string> {
  const { options, stageDir, model, plan, trainStep, listener, progress } = session;
  const { recipe, codec } = options;
  const saved = await saveCheckpoint(stageDir, {
    state: {
      stage: recipe.stage.stage,
      stageName: recipe.stage.name,
      step: progress.step,
      steps: recipe.stage.steps,
      samples: progress.samples,
      tokens: progress.tokens,
      updates: progress.step,
      seeds: { stage: recipe.stage.seed },
      loader: (progress.loader ?? null) as Json,
      firstLoss: progress.firstLoss,
      lastLosses: progress.lastLosses,
    },
    model: weightSources(model.parameters),
    optimizer: {
      m: momentSources(plan.banks, trainStep.moments, 'm'),
      v: momentSources(plan.banks, trainStep.moments, 'v'),
    },
    recipe: codec.write(recipe),
    modelConfig: recipe.model,
    tokenizer: new Uint8Array(await readFile(recipe.model.tokenizer)),
    companions: await tokenizerCompanions(recipe.model.tokenizer),
  });
  listener.on({ type: 'checkpoint', step: progress.step, path: saved.path, seconds: saved.seconds });
  await pruneCheckpoints(stageDir, { keep: recipe.stage.checkpoint.keep });
  return saved.path;
}

const RESULT = 'result.json';

/** What a finished stage wrote down, or undefined when it was killed before it was scored or has trained on since. */
async function readResult(stageDir: string, checkpoint: string): Promise<StageResult | undefined> {
  const text = await readFile(join(stageDir, RESULT), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const result = JSON.parse(text) as StageResult;
  return result.checkpoint === checkpoint ? result : undefined;
}

function progressOf(start: Start): Progress {
  if (start.kind === 'fresh') {
    return { step: 0, samples: 0, tokens: 0, firstLoss: null, lastLosses: [], loader: undefined };
  }
  const { state } = start.checkpoint;
  return {
    step: state.step,
    samples: state.samples,
    tokens: state.tokens,
    firstLoss: state.firstLoss,
    lastLosses: [...state.lastLosses],
    // Written by the loader of the same stage: saveCheckpoint keeps it as it was given.
    loader: state.loader as unknown as LoaderPosition,
  };
}

function startEvent(
  { run, engine, recipe }: StageOptions,
  modules: readonly ModuleSummary[],
  start: Start,
  step: number,
): RunEvent {
  const { stage } = recipe;
  return {
    type: 'start',
    run,
    stage: stage.stage,
    stageName: stage.name,
    engine,
    step,
    steps: stage.steps,
    resumedFrom: start.kind === 'fresh' ? null : start.checkpoint.path,
    modules,
    hparams: {
      stage: stage.stage,
      train: stage.train.join(' '),
      lr: typeof stage.lr === 'number' ? stage.lr : JSON.stringify(stage.lr),
      weight_decay: stage.optimizer.weight_decay,
      clip_norm: stage.optimizer.clip_norm,
      schedule: stage.schedule.kind,
      warmup: stage.schedule.warmup,
      samples: stage.batch.samples,
      accumulate: stage.batch.accumulate,
      steps: stage.steps,
      seed: stage.seed,
      views: stage.views,
    },
  };
}

/** Bytes of a checkpoint: every weight, and two moments of what trains. */
function checkpointBytes(plan: TrainingPlan): number {
  const numbers = plan.modules.reduce((n, m) => n + m.parameters + 2 * m.trainable, 0);
  return 4 * numbers;
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
}
