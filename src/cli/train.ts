import { availableParallelism } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { GroundError } from '../errors.ts';
import type { RunEvent, RunListener } from '../telemetry/events.ts';
import type { ProfiledSteps } from '../train/profile.ts';
import type { Recipe } from '../train/recipe.ts';
import {
  type CommonOptions,
  type EngineOptions,
  findRecipeDir,
  type RecipeOptions,
  withCommon,
  withEngine,
  withRecipe,
  withRun,
} from './options.ts';
import { createOutput, type Output } from './output.ts';

interface TrainOptions extends CommonOptions, EngineOptions, RecipeOptions {
  readonly stage: string;
  readonly run?: string;
  readonly data?: string;
  readonly evalData?: string;
  readonly resume?: boolean;
  readonly fresh?: boolean;
  readonly workers: number;
  readonly profile?: ProfiledSteps;
  readonly dryRun?: boolean;
  /** Only the stages that are named; of a process that tries one out for another. */
  readonly alone?: boolean;
}

/** A thread for every two cores, as the step needs them too; none from TypeScript source, where none can be started. */
const WORKERS = import.meta.url.endsWith('.ts') ? 0 : Math.min(Math.max(availableParallelism() >> 1, 1), 4);
const MOST_WORKERS = 64;

/** Adds `ground train`. */
export function register(program: Command): void {
  const command = program
    .command('train')
    .description('train a stage, or several in order; an interrupted stage goes on where it stopped')
    .requiredOption('--stage <list>', 'stages: 2, 1-3 or 0,2')
    .option('--data <dir>', 'the dataset of every source, held-out ones too')
    .option('--eval-data <dir>', 'the dataset of every held-out source')
    .option('--resume', 'go on with a stage even where `steps` has grown')
    .option('--fresh', 'start the stages over, deleting what they have written')
    .addOption(
      new Option('--workers <n>', 'threads that prepare batches ahead; 0: none, with the same result')
        .argParser(parseWorkers)
        .default(WORKERS),
    )
    .option(
      '--dry-run',
      'try it out: data, one step of the largest batches, one checkpoint; leaves nothing behind',
    )
    .addOption(new Option('--alone').hideHelp())
    .option('--profile <a:b>', 'write a Chrome trace of steps a to b, which run op by op', parseProfile);
  withCommon(withEngine(withRun(withRecipe(command)))).action((options: TrainOptions) =>
    train(options, createOutput(options), program.args),
  );
}

/** Checks every recipe, then trains stage by stage; stages that others start from are trained first. */
async function train(options: TrainOptions, out: Output, args: readonly string[]): Promise<void> {
  if (options.fresh && options.resume) {
    throw new GroundError('usage', '--fresh and --resume contradict each other', {
      hint: 'without either, an unfinished stage goes on and a finished one is left alone',
    });
  }
  const requested = parseStages(options.stage);
  const recipeDir = findRecipeDir(options.recipe);
  const run = options.run ?? basename(recipeDir);
  const runDir = resolve('checkpoints', run);

  const { loadRecipe } = await import('../config/load.ts');
  const recipes = new Map<number, Recipe>();
  const recipeOf = (stage: number): Recipe => {
    const recipe =
      recipes.get(stage) ??
      loadRecipe({
        recipeDir,
        stage,
        overrides: options.set,
        ...(options.data === undefined ? {} : { data: options.data }),
        ...(options.evalData === undefined ? {} : { evalData: options.evalData }),
      });
    recipes.set(stage, recipe);
    return recipe;
  };
  // All of them first: a mistake in stage 3 must not wait until stages 1 and 2 have been trained.
  for (const stage of requested) recipeOf(stage);
  const { expandStages } = await import('../train/curriculum.ts');
  const stages = options.alone === true ? requested : await expandStages(requested, recipeOf, runDir);
  const { checkStage } = await import('../train/preflight.ts');
  for (const stage of stages) await checkStage(recipeOf(stage));
  if (options.dryRun === true) {
    const { dryRun } = await import('./dry-run.ts');
    const { engine, device, fresh = false, resume = false } = options;
    const recipes = stages.map(recipeOf);
    const started = fresh ? requested : [];
    return dryRun({ engine, device, recipes, run, runDir, fresh: started, resume, args }, out);
  }

  const { describeEngine, startEngine } = await import('../engine/engine.ts');
  const engine = describeEngine(await startEngine({ engine: options.engine, device: options.device }));
  const { evaluateStage } = await import('../eval/stage.ts');
  const { trainStage } = await import('../train/loop.ts');
  const { diffRecipes } = await import('../config/diff.ts');
  const { readResolvedRecipe, recipeToYaml } = await import('../config/resolved.ts');
  const { listenToSignals, Requests } = await import('../train/interrupt.ts');
  const { lockFolder } = await import('../train/lock.ts');
  const results = [];
  const profiles: ProfileEvent[] = [];
  const lock = await lockFolder(runDir);
  const requests = new Requests();
  const ignoreSignals = listenToSignals(requests, message => out.note(message));
  try {
    for (const stage of stages) {
      requests.throwIfStopped(`stage ${stage} has not begun`);
      let ran = false;
      let profiled: ProfileEvent | undefined;
      const result = await trainStage({
        recipe: recipeOf(stage),
        codec: { write: recipeToYaml, read: readResolvedRecipe, diff: diffRecipes },
        runDir,
        run,
        engine,
        // What an earlier stage needs first is not what the user wants started over.
        fresh: options.fresh === true && requested.includes(stage),
        resume: options.resume === true,
        workers: options.workers,
        listeners: (stageDir, step) => {
          ran = true;
          return openListeners(stageDir, step, event => {
            profiled = event;
          });
        },
        evaluate: evaluateStage,
        requests,
        ...(options.profile === undefined ? {} : { profile: options.profile }),
      });
      if (!ran) out.note(`stage ${stage} is finished already; --fresh trains it again`);
      else if (options.profile && !profiled) out.note(nothingProfiled(stage, options.profile));
      if (profiled) {
        printProfile(profiled, stage, out);
        profiles.push(profiled);
      }
      results.push(result);
    }
  } finally {
    ignoreSignals();
    await lock.release();
  }
  out.table(
    ['stage', 'name', 'steps', 'first loss', 'last loss', 'seconds', 'checkpoint'],
    results.map(r => [
      r.stage,
      r.name,
      r.steps,
      r.firstLoss?.toFixed(4),
      r.lastLoss?.toFixed(4),
      r.seconds.toFixed(1),
      r.checkpoint,
    ]),
  );
  out.result({ run, runDir, stages: results, ...(profiles.length > 0 && { profiles }) });
}

type ProfileEvent = Extract<RunEvent, { type: 'profile' }>;

/** Kinds of op in the table of a profile. */
const SHOWN_OPS = 12;

/** Where the time of the profiled steps went, by kind of op. */
function printProfile({ first, step, path, ops }: ProfileEvent, stage: number, out: Output): void {
  const steps = step - first + 1;
  const other = ops.slice(SHOWN_OPS);
  const sum = (key: 'calls' | 'seconds' | 'share'): number => other.reduce((n, op) => n + op[key], 0);
  const rest = {
    op: `${other.length} others`,
    calls: sum('calls'),
    seconds: sum('seconds'),
    share: sum('share'),
  };
  out.line(`stage ${stage}, steps ${first} to ${step} op by op (slower than recorded steps): ${path}`);
  out.table(
    ['op', 'calls a step', 'ms a step', 'share'],
    [...ops.slice(0, SHOWN_OPS), ...(other.length > 0 ? [rest] : [])].map(({ op, calls, seconds, share }) => [
      op,
      Math.round(calls / steps),
      ((1000 * seconds) / steps).toFixed(2),
      `${(100 * share).toFixed(1)} %`,
    ]),
  );
  out.line();
}

function nothingProfiled(stage: number, { first, last }: ProfiledSteps): string {
  return `stage ${stage}: none of the steps ${first} to ${last} was trained just now, so nothing was profiled`;
}

/** "10:13" to the steps 10 to 13, "10" to step 10 alone. Throws `usage` on anything else. */
function parseProfile(text: string): ProfiledSteps {
  const match = /^(\d+)(?::(\d+))?$/.exec(text.trim());
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match && first >= 1 && last >= first) return { first, last };
  throw new GroundError(
    'usage',
    `--profile ${text}: expected two step numbers, the first not after the last`,
    {
      hint: 'for example --profile 10:13; steps are counted from 1, and the first ones record and warm up',
    },
  );
}

/** What follows a stage: the log, TensorBoard's files, and the person at the terminal. */
async function openListeners(
  stageDir: string,
  step: number,
  onProfile: (event: ProfileEvent) => void,
): Promise<RunListener> {
  const { combineListeners } = await import('../telemetry/events.ts');
  const { openJsonl } = await import('../telemetry/jsonl.ts');
  const { openPictures } = await import('../telemetry/pictures.ts');
  const { openTensorBoard } = await import('../telemetry/tensorboard.ts');
  const { openConsole } = await import('../telemetry/console.ts');
  return combineListeners([
    await openJsonl(join(stageDir, 'metrics.jsonl'), { step }),
    openTensorBoard(stageDir, { step }),
    openPictures(stageDir, { step }),
    await openConsole(process.stderr, { isTTY: process.stderr.isTTY === true }),
    {
      on(event) {
        if (event.type === 'profile') onProfile(event);
      },
      async close() {},
    },
  ]);
}

function parseWorkers(text: string): number {
  if (/^\d+$/.test(text) && Number(text) <= MOST_WORKERS) return Number(text);
  throw new GroundError('usage', `--workers ${text}: expected a whole number from 0 to ${MOST_WORKERS}`, {
    hint: 'more than the machine has cores gain nothing',
  });
}

/** "2", "1-3", "0,2-3" to stage numbers, in order, each once. Throws `usage` on anything else. */
export function parseStages(text: string): number[] {
  const stages = text.split(',').flatMap(part => {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (!match || last < first) {
      throw new GroundError('usage', `--stage ${text}: expected stage numbers, found "${part}"`, {
        hint: 'for example --stage 2, --stage 1-3 or --stage 0,2',
      });
    }
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
  return [...new Set(stages)].sort((a, b) => a - b);
}
