/** What a running stage holds open, and what of it a checkpoint keeps. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { type Loader, type LoaderPosition, openLoader } from '../data/loader.ts';
import { tokenizerCompanions } from '../data/tokenizer-files.ts';
import { compileMode } from '../engine/mode.ts';
import type { Ferret } from '../models/ferret.ts';
import type { ModuleSummary, RunEvent, RunListener } from '../telemetry/events.ts';
import { chooseAdapters } from './adapters.ts';
import {
  type CheckpointContent,
  type FrozenFile,
  type Inputs,
  type Json,
  type LayerAdapter,
  type Metric,
  requireSpace,
  trySaving,
} from './checkpoint.ts';
import { StageClock } from './clock.ts';
import { type FeatureCache, openFeatureCache } from './feature-cache.ts';
import { bestScore } from './find.ts';
import { planTraining, type TrainingPlan, trainedBy, unreadBy } from './freeze.ts';
import { adoptFrozen, isUnchanged, writeFrozen } from './frozen.ts';
import { trainedGroups } from './groups.ts';
import { Guards } from './guards.ts';
import { readInputs } from './inputs.ts';
import { largestTensors } from './largest.ts';
import type { StageOptions } from './loop.ts';
import { machinePeak } from './machine.ts';
import { initialState } from './optimizer.ts';
import { Pace } from './pace.ts';
import { StepProfile } from './profile.ts';
import type { LoadedCheckpoint } from './reading.ts';
import type { StageRecipe } from './recipe.ts';
import { retentionPolicy } from './retention.ts';
import { Saving } from './saving.ts';
import { prepareWeights, type Start } from './start.ts';
import { TrainStep } from './step.ts';
import { type Fingerprints, fingerprintsOf } from './unchanged.ts';
import { bankStates, momentSources, snapshot, weightSources } from './weights.ts';
import { openWriter } from './writer.ts';

/** What grows while a stage runs; all of it is in the checkpoints. */
export interface Progress {
  step: number;
  samples: number;
  tokens: number;
  firstLoss: number | null;
  lastLosses: number[];
  loader: LoaderPosition | undefined;
}

/** Everything a running stage holds open. */
export interface Session {
  readonly options: StageOptions;
  readonly stageDir: string;
  readonly model: Ferret;
  readonly plan: TrainingPlan;
  readonly trainStep: TrainStep;
  /** Opened again where the stage goes back. */
  loader: Loader;
  readonly listener: RunListener;
  readonly progress: Progress;
  readonly saving: Saving;
  readonly guards: Guards;
  /** Of what does not train, as the session began. */
  readonly fingerprints: Fingerprints;
  /** Null where no features of frozen encoders are kept. */
  readonly features: FeatureCache | null;
  /** What there is to say before the first step. */
  readonly notes: readonly string[];
  readonly clock: StageClock;
  readonly pace: Pace;
  /** Undefined unless steps are to be profiled. */
  readonly profile: StepProfile | undefined;
  /** Operations a second that the machine reaches at best. */
  readonly peakFlops: number;
  readonly inputs: Inputs;
  /** Adapters of the model, in its order. */
  readonly adapters: readonly LayerAdapter[];
  /** The tokenizer's files as they were when the session began; a checkpoint has its own copy. */
  readonly tokenizer: Pick<CheckpointContent, 'tokenizer' | 'companions'>;
  /** Where the weights that do not train lie; written again should somebody touch it. */
  frozen: FrozenFile | null;
  /** The best score by the stage's metric so far. */
  best: number | null;
}

/** A stage that could be saved if there were a first step. */
export interface Prepared {
  readonly model: Ferret;
  readonly stageDir: string;
  readonly plan: TrainingPlan;
  readonly adapters: readonly LayerAdapter[];
  readonly frozen: FrozenFile | null;
}

/**
 * Finds out before any work is done whether it can be saved: room for a checkpoint, a small trial of all that saving
 * does, and the weights that do not train, written. Throws GroundError('io').
 */
export async function prepareSaving(
  model: Ferret,
  stageDir: string,
  start: Start,
  stage: StageRecipe,
): Promise<Prepared> {
  const plan = planTraining(model.parameters, stage, unreadBy(model, stage));
  const adapters = chooseAdapters(model.parameters, stage.lora ?? [], unreadBy(model, stage));
  const names = plan.frozen.map(p => p.name);
  const shared = start.kind === 'fresh' ? null : start.checkpoint.frozen;
  const adopted = shared !== null && sameNames(shared.tensors, names);
  const trained = plan.banks.flatMap(bank => bank.parameters).reduce((n, p) => n + p.size, 0);
  const still = plan.frozen.reduce((n, p) => n + p.size, 0);
  await requireSpace(stageDir, 4 * ((stage.ema ? 4 : 3) * trained + (adopted ? 0 : still)));
  await trySaving(stageDir);
  if (names.length === 0) return { model, stageDir, plan, frozen: null, adapters };
  const frozen = adopted
    ? await adoptFrozen(stageDir, shared)
    : await writeFrozen(stageDir, weightSources(plan.frozen));
  return { model, stageDir, plan, frozen, adapters };
}

/** Opens the data, the optimizer and whoever listens, at the place where the stage stands. */
export async function openSession(prepared: Prepared, start: Start, options: StageOptions): Promise<Session> {
  const { model: modelConfig, stage } = options.recipe;
  const { model, plan, stageDir } = prepared;
  const progress = progressOf(start);
  const inputs = await readInputs(options.recipe);
  const tokenizer = await readTokenizer(modelConfig.tokenizer);
  const metric = metricOf(stage);
  const best = metric ? await bestScore(stageDir, metric) : null;
  const fingerprints = await fingerprintsOf(plan.frozen);
  const { cache: features, notes } = await openFeatureCache(options, model, plan);
  const loader = await openAt(progress.loader, options, features);
  const trainStep = new TrainStep(model, plan, stage);
  if (start.kind !== 'fresh') restoreStep(trainStep, plan, start.checkpoint);
  const guards = new Guards(stage, stageDir, trainedBy(plan), () => largestTensors(model, plan, trainStep));
  if (start.kind !== 'fresh') guards.restore(start.checkpoint.state.guards);
  const peakFlops = await machinePeak(options.runDir, options.engine);
  const clock = new StageClock();
  const listener = timed(await options.listeners(stageDir, progress.step), clock);
  const policy = retentionPolicy(stage.checkpoint);
  const last = start.kind === 'fresh' ? '' : start.checkpoint.path;
  const saving = new Saving(
    { stageDir, writer: openWriter(options.workers > 0), listener, policy, metric },
    last,
  );
  const pace = new Pace(stage.steps, peakFlops);
  const profile = options.profile && new StepProfile(options.profile, stageDir, clock);
  const measured = { clock, pace, profile, peakFlops };
  return {
    ...prepared,
    ...measured,
    options,
    trainStep,
    loader,
    listener,
    progress,
    saving,
    guards,
    fingerprints,
    features,
    notes,
    inputs,
    tokenizer,
    best,
  };
}

/** Puts a running session where a start says: weights, moments, counters and position in the data are those of there. */
export async function reopen(session: Session, start: Start): Promise<void> {
  const { options, model, plan, trainStep, progress } = session;
  await prepareWeights(model, options.recipe, options.runDir, start);
  if (start.kind === 'fresh') restartStep(trainStep, plan);
  else restoreStep(trainStep, plan, start.checkpoint);
  Object.assign(progress, progressOf(start));
  await session.loader.close();
  session.loader = await openAt(progress.loader, options, session.features);
}

function openAt(
  position: LoaderPosition | undefined,
  { recipe, workers }: StageOptions,
  features: FeatureCache | null,
): Promise<Loader> {
  const { model, stage } = recipe;
  return openLoader({
    model,
    stage,
    workers,
    ...(position ? { position } : {}),
    ...(features ? { features: features.sets } : {}),
  });
}

function restoreStep(
  step: TrainStep,
  plan: TrainingPlan,
  { optimizer, average, state }: LoadedCheckpoint,
): void {
  if (!optimizer) return;
  step.restore(bankStates(plan.banks, optimizer), state.updates);
  step.average?.restore(average ?? new Map());
}

/** As a new step would be, with the weights that the model has now. */
function restartStep(step: TrainStep, plan: TrainingPlan): void {
  step.restore(initialState(plan.banks), 0);
  step.average?.restore(
    new Map(trainedBy(plan).map(p => [p.name, { shape: p.shape, data: p.value.dataSync<'float32'>() }])),
  );
}

/** The files of a tokenizer, as a checkpoint keeps them. */
export async function readTokenizer(file: string): Promise<Session['tokenizer']> {
  return { tokenizer: new Uint8Array(await readFile(file)), companions: await tokenizerCompanions(file) };
}

/** Counts what a listener does as logging. */
function timed(listener: RunListener, clock: StageClock): RunListener {
  return {
    on: event => clock.time('logging', () => listener.on(event)),
    close: () => listener.close(),
  };
}

/** Ends everything, a save that is being written first. */
export async function closeSession(session: Session): Promise<void> {
  const { saving, loader, trainStep, listener, guards, features } = session;
  guards.memory.close();
  await saving.close();
  await loader.close();
  trainStep.dispose();
  features?.dispose();
  await listener.close();
}

/** The score by which checkpoints of a stage are compared; undefined where its recipe names none. */
export function metricOf({ checkpoint }: StageRecipe): Metric | undefined {
  const { metric: score, goal = 'max' } = checkpoint;
  return score === undefined ? undefined : { score, goal };
}

/** What of a session goes into a checkpoint. */
export type ContentSource = Pick<
  Session,
  'stageDir' | 'plan' | 'trainStep' | 'progress' | 'inputs' | 'adapters' | 'tokenizer' | 'frozen'
> & {
  readonly options: Pick<StageOptions, 'recipe' | 'codec'>;
  readonly guards: Pick<Guards, 'state'>;
};

/**
 * What a checkpoint of this moment holds, copied out of the engine.
 *
 * @param scores of this very step, where it was scored
 */
export async function takeContent(
  session: ContentSource,
  scores: Readonly<Record<string, number>> | undefined,
): Promise<CheckpointContent> {
  const { options, stageDir, plan, trainStep, progress, inputs, adapters, guards } = session;
  const { recipe, codec } = options;
  if (session.frozen && !(await isUnchanged(session.frozen))) {
    session.frozen = await writeFrozen(stageDir, weightSources(plan.frozen));
  }
  const metric = metricOf(recipe.stage);
  return {
    state: {
      stage: recipe.stage.stage,
      stageName: recipe.stage.name,
      step: progress.step,
      steps: recipe.stage.steps,
      samples: progress.samples,
      tokens: progress.tokens,
      updates: trainStep.updates,
      compile: trainStep.mode,
      // Every random stream is named by this seed, a purpose and an id: there is no other state of chance.
      seeds: { stage: recipe.stage.seed },
      loader: (progress.loader ?? null) as Json,
      firstLoss: progress.firstLoss,
      lastLosses: [...progress.lastLosses],
      ...(scores === undefined ? {} : { scores }),
      ...(metric === undefined ? {} : { metric }),
      inputs,
      guards: guards.state,
      ...(adapters.length === 0 ? {} : { adapters }),
      version: VERSION,
    },
    model: await snapshot(weightSources(trainedBy(plan))),
    optimizer: {
      m: await snapshot(momentSources(plan.banks, trainStep.moments, 'm')),
      v: await snapshot(momentSources(plan.banks, trainStep.moments, 'v')),
    },
    ...(trainStep.average ? { average: await snapshot(trainStep.average.sources()) } : {}),
    ...(session.frozen ? { frozen: session.frozen } : {}),
    recipe: codec.write(recipe),
    modelConfig: recipe.model,
    ...session.tokenizer,
  };
}

const { version: VERSION }: { version: string } = createRequire(import.meta.url)('../../package.json');

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  const names = new Set(a);
  return a.length === b.length && b.every(name => names.has(name));
}

/** Where a stage stands. */
export function progressOf(start: Start): Progress {
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

/** The first event of a stage. */
export function startEvent(
  { run, engine, recipe }: StageOptions,
  modules: readonly ModuleSummary[],
  start: Start,
  step: number,
  peakFlops: number,
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
      train: trainedGroups(stage).join(' '),
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
      compile: compileMode(stage.engine?.compile),
    },
    peakFlops,
  };
}
