import type { Command } from 'commander';
import { GroundError } from '../errors.ts';
import type { Recipe } from '../train/recipe.ts';
import {
  type CommonOptions,
  type EngineOptions,
  findRecipeDir,
  type RecipeOptions,
  withCommon,
  withEngine,
  withRecipe,
} from './options.ts';
import { createOutput, type Output } from './output.ts';
import { parseStages } from './train.ts';

interface PlanOptions extends CommonOptions, EngineOptions, RecipeOptions {
  readonly stage?: string;
}

type StagePlan = Awaited<ReturnType<typeof import('../train/plan/stage.ts')['planStage']>>;
type MachineSpeed = ReturnType<typeof import('../train/plan/speed.ts')['measureSpeed']>;

/** A stage's plan and what this machine makes of it. */
interface TimedStage extends StagePlan {
  /** Resident memory of the whole process, bytes. */
  readonly processBytes: number;
  readonly speed: MachineSpeed;
  readonly secondsPerStep: number;
  readonly secondsPerStage: number;
}

/** Adds `ground plan`. */
export function register(program: Command): void {
  const command = program
    .command('plan')
    .description(
      'parameters, memory, operations and time of each stage, without training or allocating weights',
    )
    .option('--stage <list>', 'stages: 2, 1-3 or 0,2 (default: all of the recipe)');
  withCommon(withEngine(withRecipe(command))).action((options: PlanOptions) =>
    plan(options, createOutput(options)),
  );
}

async function plan(options: PlanOptions, out: Output): Promise<void> {
  const recipeDir = findRecipeDir(options.recipe);
  const { loadRecipe, stagesOf } = await import('../config/load.ts');
  const stages = options.stage === undefined ? stagesOf(recipeDir) : parseStages(options.stage);
  if (stages.length === 0) {
    throw new GroundError('config', `${recipeDir} has no stages`, {
      hint: 'a recipe is a folder with model.yaml and stageN.yaml',
    });
  }
  const recipes = stages.map(stage =>
    loadRecipe({ recipeDir, stage, overrides: options.set, files: 'ignore' }),
  );
  const { describeEngine, startEngine } = await import('../engine/engine.ts');
  const engine = await startEngine({ engine: options.engine, device: options.device });
  const idleBytes = process.memoryUsage.rss();
  const planned: TimedStage[] = [];
  for (const recipe of recipes) planned.push(await timed(recipe, engine.name, idleBytes));
  printModel(planned, out);
  printStages(planned, out);
  printMemory(planned, out);
  for (const { stage, source, largest } of planned) {
    if (source === 'data' || largest === null) continue;
    out.note(
      `stage ${stage}: the data is not there; planned for the largest batches the recipe allows: ${largest.samples} sequences of ${largest.positions} positions, ${largest.tiles} tiles`,
    );
  }
  out.line();
  out.line(`${describeEngine(engine)}; an idle process holds ${bytes(idleBytes)}`);
  out.result({ recipe: recipeDir, engine, idleBytes, stages: planned });
}

async function timed(recipe: Recipe, engine: 'tensorflow' | 'wasm', idleBytes: number): Promise<TimedStage> {
  const { planStage, secondsPerStep } = await import('../train/plan/stage.ts');
  const { processBytes } = await import('../train/plan/memory.ts');
  const { measureSpeed } = await import('../train/plan/speed.ts');
  const stage = await planStage(recipe, engine);
  const speed = measureSpeed(stage.products);
  const seconds = secondsPerStep(stage.work, speed);
  return {
    ...stage,
    processBytes: processBytes(stage.memory, idleBytes),
    speed,
    secondsPerStep: seconds,
    secondsPerStage: seconds * stage.steps,
  };
}

function printModel(planned: readonly TimedStage[], out: Output): void {
  const [first] = planned;
  if (!first) return;
  const trainable = (stage: TimedStage, group: string): string => {
    const module = stage.modules.find(m => m.group === group);
    if (!module || module.trainable === 0) return 'frozen';
    return module.trainable === module.parameters ? 'all' : count(module.trainable);
  };
  out.table(
    ['module', 'parameters', ...planned.map(({ stage }) => `trained in stage ${stage}`)],
    [
      ...first.modules.map(({ group, parameters }) => [
        group,
        count(parameters),
        ...planned.map(stage => trainable(stage, group)),
      ]),
      ['total', count(first.parameters), ...planned.map(stage => count(stage.trainable))],
    ],
  );
  out.line();
}

function printStages(planned: readonly TimedStage[], out: Output): void {
  out.table(
    [
      'stage',
      'samples a step',
      'FLOPs a sample',
      'FLOPs a step',
      'matrix speed',
      'time a step',
      'steps',
      'time',
    ],
    planned.map(stage => [
      stage.stage,
      stage.samplesPerStep,
      flops(stage.work.flopsPerSample),
      flops(stage.work.flopsPerStep),
      `${flops(stage.speed.flops)}/s`,
      seconds(stage.secondsPerStep),
      stage.steps,
      seconds(stage.secondsPerStage),
    ]),
  );
  out.line();
}

function printMemory(planned: readonly TimedStage[], out: Output): void {
  const row = (name: string, of: (stage: TimedStage) => number): string[] => [
    name,
    ...planned.map(stage => bytes(of(stage))),
  ];
  out.table(
    ['memory', ...planned.map(({ stage }) => `stage ${stage}`)],
    [
      row('weights', ({ memory }) => memory.weights),
      row("optimizer's moments", ({ memory }) => memory.moments),
      ...(planned.some(({ memory }) => memory.average > 0)
        ? [row('running averages', ({ memory }) => memory.average)]
        : []),
      row('gradients', ({ memory }) => memory.gradients),
      row('batch', ({ memory }) => memory.batch),
      row('activations', ({ memory }) => memory.activations),
      row('update', ({ memory }) => memory.update),
      row('peak of all tensors', ({ memory }) => memory.peak),
      row('process, resident', stage => stage.processBytes),
    ],
  );
}

const count = (n: number): string => n.toLocaleString('en-US');

/** 1536 to "1.50 KiB". */
function bytes(n: number): string {
  return scaled(n, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
}

/** 3.2e12 to "3.20 T". */
function flops(n: number): string {
  return scaled(n, 1000, ['', 'K', 'M', 'G', 'T', 'P', 'E']).trim();
}

function scaled(n: number, step: number, units: readonly string[]): string {
  let power = 0;
  let rest = n;
  while (rest >= step && power < units.length - 1) {
    rest /= step;
    power++;
  }
  return `${power === 0 ? Math.round(rest) : rest.toPrecision(3)} ${units[power]}`;
}

/** Seconds to "120 ms", "3.2 s", "2 h 5 min", "3 d 4 h". */
function seconds(s: number): string {
  if (s < 1) return `${Math.round(1000 * s)} ms`;
  if (s < 60) return `${s.toPrecision(2)} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${count(Math.floor(hours / 24))} d ${hours % 24} h`;
}
