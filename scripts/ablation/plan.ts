/** What has to be run, in which order: commands of `ground` that anybody could type. Pure. */
import { FULL, type Variant } from './variants.ts';

export interface PlanOptions {
  /** Names the runs below checkpoints/ and the datasets below data/. */
  readonly name: string;
  readonly recipe: string;
  /** How many seeds, from 1 on. */
  readonly seeds: number;
  readonly variants: readonly Variant[];
  /** Updates of each stage, by its number. */
  readonly steps: readonly [number, number, number, number];
  readonly scenes: { readonly train: number; readonly heldOut: number };
  /** Most questions of each task. */
  readonly questions: number;
  readonly engine: string;
}

/** One command. */
export interface Job {
  /** Unique, and fit for a file name: `2-fixed-stage3`. */
  readonly id: string;
  /** Jobs with the same kind take about the same time. */
  readonly kind: string;
  readonly args: readonly string[];
  /** Ids of what it needs. */
  readonly after: readonly string[];
  /** A file that exists once it has been run. */
  readonly makes: string;
  /** Seconds on one core of 2020 or so. */
  readonly seconds: number;
}

/** How scenes are drawn: objects of a sixth to half of the side, so that some are too small for the global view. */
export const SCENES = ['--preset', 'easy', '--size', '64', '--objects', '1-3', '--scale', '0.16-0.5'];

/** Seconds a step takes, by stage; a stage's start and its end; a scene; a question. */
const STEP_SECONDS = [0.25, 0.03, 0.06, 0.05] as const;
const START_SECONDS = 5;
const SCENE_SECONDS = 0.003;
const QUESTION_SECONDS = 0.03;

/** All jobs of an ablation; what variants share is there once. Jobs come after what they need. */
export function planJobs(options: PlanOptions): Job[] {
  return Array.from({ length: options.seeds }, (_, i) => i + 1).flatMap(seed => jobsOfSeed(seed, options));
}

function jobsOfSeed(seed: number, options: PlanOptions): Job[] {
  const { scenes } = options;
  const data = [
    // Scenes of one seed are the same whatever their number: training and held-out ones have their own.
    sceneJob(seed, 'train', scenes.train, 100 + seed, options),
    sceneJob(seed, 'held-out', scenes.heldOut, 900 + seed, options),
  ];
  const needed = data.map(({ id }) => id);
  const stage0 = stageJob(seed, FULL, 0, [], needed, options);
  const stage1 = stageJob(seed, FULL, 1, [], [stage0.id], options);
  const ofVariants = options.variants.flatMap(variant => variantJobs(seed, variant, stage1.id, options));
  // What the full method's stage 2 gives is needed where a variant shares it, also where the full method is not asked for.
  const fullStage2 = stageJob(seed, FULL, 2, fromStage(seed, 1, options), [stage1.id], options);
  const isShared = options.variants.some(({ stage2 }) => stage2.kind === 'shared');
  const isThere = ofVariants.some(({ id }) => id === fullStage2.id);
  return [...data, stage0, stage1, ...(isShared && !isThere ? [fullStage2] : []), ...ofVariants];
}

function variantJobs(seed: number, variant: Variant, stage1: string, options: PlanOptions): Job[] {
  const { stage2 } = variant;
  const jobs: Job[] = [];
  if (stage2.kind === 'own') {
    const set = [...fromStage(seed, 1, options), ...stage2.set];
    jobs.push(stageJob(seed, variant, 2, set, [stage1], options));
  }
  const before =
    stage2.kind === 'none' ? stage1 : jobId(seed, stage2.kind === 'own' ? variant : FULL, 'stage2');
  const from = stage2.kind === 'own' ? [] : fromStage(seed, stage2.kind === 'none' ? 1 : 2, options);
  const stage3 = stageJob(seed, variant, 3, [...from, ...variant.stage3], [before], options);
  return [...jobs, stage3, scoreJob(seed, variant, stage3.id, options)];
}

/** A stage of the full method as what another run starts from. */
function fromStage(seed: number, stage: number, options: PlanOptions): string[] {
  return [`from=checkpoints/${runName(options, FULL, seed)}/stage${stage}`];
}

function sceneJob(seed: number, part: string, count: number, sceneSeed: number, options: PlanOptions): Job {
  const out = datasetOf(options, seed, part);
  return {
    id: `${seed}-scenes-${part}`,
    kind: `scenes-${part}`,
    args: [
      'data',
      'synth',
      ...SCENES,
      '--out',
      out,
      '--count',
      `${count}`,
      '--seed',
      `${sceneSeed}`,
      '--overwrite',
    ],
    after: [],
    makes: `${out}/manifest.json`,
    seconds: START_SECONDS + count * SCENE_SECONDS,
  };
}

function stageJob(
  seed: number,
  variant: Variant,
  stage: 0 | 1 | 2 | 3,
  set: readonly string[],
  after: readonly string[],
  options: PlanOptions,
): Job {
  const run = runName(options, variant, seed);
  const steps = options.steps[stage];
  const overrides = [`steps=${steps}`, `seed=${10 * seed + stage}`, ...set];
  return {
    id: jobId(seed, variant, `stage${stage}`),
    kind: `${stage < 2 ? FULL.name : variant.name}-stage${stage}`,
    args: [
      ...['train', '--stage', `${stage}`, '--recipe', options.recipe, '--run', run],
      ...['--data', datasetOf(options, seed, 'train'), '--eval-data', datasetOf(options, seed, 'held-out')],
      ...overrides.flatMap(text => ['--set', text]),
      ...['--workers', '0', '--engine', options.engine],
    ],
    after,
    makes: `checkpoints/${run}/stage${stage}/result.json`,
    seconds: START_SECONDS + steps * STEP_SECONDS[stage],
  };
}

function scoreJob(seed: number, variant: Variant, stage3: string, options: PlanOptions): Job {
  const run = runName(options, variant, seed);
  const out = predictionsOf(options, variant, seed);
  return {
    id: jobId(seed, variant, 'scores'),
    kind: `${variant.name}-scores`,
    args: [
      ...[
        'eval',
        '--run',
        run,
        '--stage',
        '3',
        '--data',
        datasetOf(options, seed, 'held-out'),
        '--task',
        'rec,roc',
      ],
      ...['--limit', `${options.questions}`, '--batch', '32', '--bootstrap', '0', '--out', out],
      ...['--engine', options.engine],
    ],
    after: [stage3],
    makes: out,
    seconds: START_SECONDS + 2 * options.questions * QUESTION_SECONDS,
  };
}

/** The file with a variant's answers for one seed. */
export function predictionsOf(options: Pick<PlanOptions, 'name'>, variant: Variant, seed: number): string {
  return `checkpoints/${runName(options, variant, seed)}/predictions.jsonl`;
}

function runName({ name }: Pick<PlanOptions, 'name'>, variant: Variant, seed: number): string {
  return `${name}/${variant.name}-${seed}`;
}

function datasetOf({ name }: Pick<PlanOptions, 'name'>, seed: number, part: string): string {
  return `data/${name}/${part}-${seed}`;
}

function jobId(seed: number, variant: Variant, part: string): string {
  return `${seed}-${variant.name}-${part}`;
}
