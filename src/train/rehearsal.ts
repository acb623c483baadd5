/** A stage tried out before it is trained: its data, one step of its largest batches, one checkpoint. */
import { existsSync } from 'node:fs';
import { mkdir, rm, rmdir, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ioError, temporaryName } from '../atomic.ts';
import type { ModuleSummary } from '../telemetry/events.ts';
import { buildModel, chooseAdapters } from './adapters.ts';
import { saveCheckpoint } from './checkpoint.ts';
import { openNewest } from './find.ts';
import { planTraining, trainedBy, unreadBy } from './freeze.ts';
import { parseFrom } from './from.ts';
import { writeFrozen } from './frozen.ts';
import { Guards } from './guards.ts';
import { readInputs } from './inputs.ts';
import { drawBatches } from './plan/draw.ts';
import { processBytes } from './plan/memory.ts';
import { type BatchSizes, sizesOf } from './plan/sizes.ts';
import { largestStep, planStage } from './plan/stage.ts';
import { loadCheckpoint } from './reading.ts';
import type { Recipe } from './recipe.ts';
import { stageFolder } from './rundir.ts';
import { progressOf, readTokenizer, takeContent } from './session.ts';
import { prepareWeights, type RecipeCodec, requireSameRecipe, type Start } from './start.ts';
import { TrainStep } from './step.ts';
import { weightSources } from './weights.ts';

export interface RehearsalOptions {
  readonly recipe: Recipe;
  readonly codec: RecipeCodec;
  readonly runDir: string;
  readonly engine: 'tensorflow' | 'wasm';
  /** As the command that will train has them. */
  readonly fresh: boolean;
  readonly resume: boolean;
  /** Resident memory of the process before anything was loaded, bytes. */
  readonly idleBytes: number;
}

/** What came of it. */
export interface Rehearsal {
  readonly stage: number;
  readonly name: string;
  readonly steps: number;
  readonly modules: readonly ModuleSummary[];
  readonly parameters: number;
  readonly trainable: number;
  /** Where the stage would begin. */
  readonly begins: {
    readonly kind: 'fresh' | 'resume' | 'finished';
    readonly step: number;
    /** The checkpoint whose weights were used; null for random ones. */
    readonly from: string | null;
  };
  /** The largest of the micro-batches that were drawn, of each kind. */
  readonly batches: readonly ({ readonly kind: string } & Partial<BatchSizes>)[];
  readonly step: {
    readonly loss: number;
    readonly losses: Readonly<Record<string, number>>;
    readonly gradNorm: number;
    /** Of the first step, which records, and of the same again. */
    readonly firstSeconds: number;
    readonly seconds: number;
  };
  readonly checkpoint: {
    /** Of one, but for the weights that do not train. */
    readonly bytes: number;
    /** Of those, which a stage has once. */
    readonly frozenBytes: number;
    readonly seconds: number;
    /** Room on its volume. */
    readonly freeBytes: number;
  };
  readonly memory: {
    /** Resident memory of the process, as planned and as it was at most. */
    readonly plannedBytes: number;
    readonly measuredBytes: number;
    /** Planned peak of all tensors. */
    readonly tensorBytes: number;
  };
  readonly notes: readonly string[];
}

/**
 * Tries a stage out and leaves nothing behind: reads the data, takes two steps of the largest batches that were drawn,
 * writes a checkpoint beside the run's folder, reads it back and deletes it, and compares memory with the plan. Throws what
 * training would have thrown.
 */
export async function rehearse(options: RehearsalOptions): Promise<Rehearsal> {
  const { recipe, runDir, engine, idleBytes } = options;
  const { stage } = recipe;
  const notes: string[] = [];
  const { start, from } = await readStart(options, notes);
  const drawn = await drawBatches(stage, recipe.model);
  const batches = largestStep(drawn.groups, stage.batch.accumulate);
  const model = buildModel(recipe);
  try {
    await prepareWeights(model, from.recipe, runDir, start);
    const plan = planTraining(model.parameters, stage, unreadBy(model, stage));
    const step = new TrainStep(model, plan, stage);
    try {
      const [result, firstSeconds] = timed(() => step.run(batches, 0));
      const [, seconds] = timed(() => step.run(batches, 1));
      // The kernel's figure, in kilobytes, of the most that there was.
      const measuredBytes = 1024 * process.resourceUsage().maxRSS;
      const checkpoint = await tryCheckpoint(options, start, { model, plan, step });
      const planned = await planStage(recipe, engine, drawn);
      return {
        stage: stage.stage,
        name: stage.name,
        steps: stage.steps,
        modules: plan.modules,
        parameters: planned.parameters,
        trainable: planned.trainable,
        begins: {
          kind: start.kind,
          step: start.kind === 'fresh' ? 0 : start.checkpoint.state.step,
          from: from.path,
        },
        batches: batches.map(batch =>
          batch.kind === 'conversation'
            ? { kind: batch.kind, ...sizesOf(batch) }
            : { kind: batch.kind, samples: batch.size },
        ),
        step: {
          loss: result.loss,
          losses: result.losses,
          gradNorm: result.gradNorm,
          firstSeconds,
          seconds,
        },
        checkpoint,
        memory: {
          plannedBytes: processBytes(planned.memory, idleBytes),
          measuredBytes,
          tensorBytes: planned.memory.peak,
        },
        notes,
      };
    } finally {
      step.dispose();
    }
  } finally {
    model.dispose();
  }
}

/** What a step begins from: weights, and the recipe that says where they come from. */
interface From {
  readonly recipe: Recipe;
  readonly path: string | null;
}

/** Where the stage would begin. Random weights stand in for those of a stage that has not been trained. */
async function readStart(options: RehearsalOptions, notes: string[]): Promise<{ start: Start; from: From }> {
  const { recipe, codec, runDir, fresh } = options;
  const { stage } = recipe;
  const stageDir = join(runDir, stageFolder(stage.stage));
  const newest = fresh
    ? { found: null, warnings: [] }
    : await openNewest(stageDir, path => loadCheckpoint(path));
  notes.push(...newest.warnings);
  if (newest.found) {
    const { value: checkpoint, path } = newest.found;
    await requireSameRecipe(stageDir, checkpoint, recipe, codec, options);
    const kind = checkpoint.state.step >= stage.steps ? 'finished' : 'resume';
    return { start: { kind, checkpoint, warnings: [] }, from: { recipe, path } };
  }
  const start: Start = { kind: 'fresh', warnings: [] };
  const { stage: previous, place } = parseFrom(stage.from ?? '');
  if (previous === null || existsSync(join(runDir, place)))
    return { start, from: { recipe, path: stage.from } };
  notes.push(
    `stage ${stage.stage} starts from ${stage.from}, which is not trained yet: random weights took its place`,
  );
  return { start, from: { recipe: { ...recipe, stage: { ...stage, from: null } }, path: null } };
}

function timed<T>(work: () => T): [T, seconds: number] {
  const began = performance.now();
  const result = work();
  return [result, (performance.now() - began) / 1000];
}

/** Saves once, beside the run's folder, reads it back, and deletes it. */
async function tryCheckpoint(
  { recipe, codec, runDir }: RehearsalOptions,
  start: Start,
  trained: Pick<Parameters<typeof takeContent>[0], 'plan'> & {
    readonly model: ReturnType<typeof buildModel>;
    readonly step: TrainStep;
  },
): Promise<Rehearsal['checkpoint']> {
  const { model, plan, step } = trained;
  const { stage } = recipe;
  const folder = temporaryName(`${runDir}.dry-run`);
  const root = dirname(folder);
  const made = existsSync(root) ? undefined : await mkdir(root, { recursive: true }).catch(refused(root));
  try {
    await mkdir(folder).catch(refused(folder));
    const frozen = plan.frozen.length === 0 ? null : await writeFrozen(folder, weightSources(plan.frozen));
    const content = await takeContent(
      {
        options: { recipe, codec },
        stageDir: folder,
        plan,
        trainStep: step,
        progress: { ...progressOf(start), step: 1 },
        inputs: await readInputs(recipe),
        adapters: chooseAdapters(model.parameters, stage.lora ?? [], unreadBy(model, stage)),
        tokenizer: await readTokenizer(recipe.model.tokenizer),
        frozen,
        guards: new Guards(stage, folder, trainedBy(plan), () => []),
      },
      undefined,
    );
    const { path, bytes, seconds } = await saveCheckpoint(folder, content);
    await loadCheckpoint(path);
    const { bavail, bsize } = await statfs(root);
    return { bytes, seconds, frozenBytes: frozen?.written.bytes ?? 0, freeBytes: bavail * bsize };
  } finally {
    await rm(folder, { recursive: true, force: true });
    if (made !== undefined) await removeEmpty(root, made);
  }
}

function refused(path: string): (thrown: unknown) => never {
  return thrown => {
    throw ioError(thrown, 'create', path);
  };
}

/** Removes a folder and those above it, up to the first one that was made. What is not empty by now stays. */
async function removeEmpty(folder: string, first: string): Promise<void> {
  for (let at = folder; at.length >= first.length; at = dirname(at)) {
    const removed = await rmdir(at).then(
      () => true,
      () => false,
    );
    if (!removed) return;
  }
}
