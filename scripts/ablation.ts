/**
 * Ferret-v2's ablations at small scale, from nothing to docs/ablation.md, with all that is finished kept.
 * Usage: npm run ablation [-- --jobs 2] [--seeds 3] [--steps N] [--only fixed,trained] [--dry-run]; --help tells the rest.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { writeFileAtomic } from '../src/atomic.ts';
import { loadRecipe } from '../src/config/load.ts';
import { GroundError } from '../src/errors.ts';
import { chartSvg } from './ablation/chart.ts';
import { documentOf } from './ablation/document.ts';
import { execute } from './ablation/execute.ts';
import { Ledger } from './ablation/ledger.ts';
import { type Job, type PlanOptions, planJobs } from './ablation/plan.ts';
import { collectResults } from './ablation/results.ts';
import { FULL, VARIANTS, type Variant } from './ablation/variants.ts';

const HELP = `npm run ablation [-- options]

  --jobs N        processes at once, each on one thread (2)
  --seeds N       seeds 1 to N (3)
  --steps N       steps of stage 3 (the recipe's)
  --steps-before A,B,C  steps of stages 0, 1 and 2 (the recipe's)
  --only a,b      variants beside the full method: ${VARIANTS.slice(1)
    .map(({ name }) => name)
    .join(', ')}
  --questions N   held-out questions of each task and seed (600)
  --scenes A,B    training and held-out scenes of each seed (12000,400)
  --name NAME     the folder below checkpoints/ and data/ (ablation)
  --recipe DIR    the full method (configs/ablation)
  --out DIR       where ablation.md, .json, .svg and .png go (docs)
  --engine NAME   auto, tensorflow or wasm
  --report        write the report from what is finished, run nothing
  --dry-run       list what would be run, with an estimate, and run nothing
`;

/** The picture is twice as fine as its SVG. */
const PNG_DENSITY = 144;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      jobs: { type: 'string', default: '2' },
      seeds: { type: 'string', default: '3' },
      steps: { type: 'string' },
      'steps-before': { type: 'string' },
      only: { type: 'string' },
      questions: { type: 'string', default: '600' },
      scenes: { type: 'string', default: '12000,400' },
      name: { type: 'string', default: 'ablation' },
      recipe: { type: 'string', default: 'configs/ablation' },
      out: { type: 'string', default: 'docs' },
      engine: { type: 'string', default: 'auto' },
      report: { type: 'boolean', default: false },
      'dry-run': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const { name, recipe, engine } = values;
  const own = ([0, 1, 2, 3] as const).map(
    stage => loadRecipe({ recipeDir: recipe, stage, files: 'ignore' }).stage.steps,
  );
  const [a = 0, b = 0, c = 0] = values['steps-before']
    ? numbers('--steps-before', values['steps-before'], 3)
    : own;
  const [last = 0] = values.steps ? numbers('--steps', values.steps, 1) : own.slice(3);
  const [train = 0, heldOut = 0] = numbers('--scenes', values.scenes, 2);
  const [parallel = 1] = numbers('--jobs', values.jobs, 1);
  const [seeds = 1] = numbers('--seeds', values.seeds, 1);
  const [questions = 1] = numbers('--questions', values.questions, 1);
  const options: PlanOptions = {
    ...{ name, recipe, engine, seeds, questions },
    variants: chosen(values.only),
    steps: [a, b, c, last],
    scenes: { train, heldOut },
  };
  const everything: PlanOptions = { ...options, variants: VARIANTS };
  const folder = join('checkpoints', name, 'jobs');
  // Of all variants, so that the report has those that were finished earlier.
  const ledger = new Ledger(folder, planJobs(everything), recipe);
  const jobs = planJobs(options);
  const left = values.report ? [] : jobs.filter(job => !ledger.isDone(job));
  tellPlan(jobs, left, ledger, parallel, values['dry-run']);
  if (values['dry-run']) return;
  await execute(left.length === 0 ? [] : jobs, ledger, {
    parallel,
    command: groundCommand(),
    logs: join('checkpoints', name, 'logs'),
    onStart: ({ id, args }) => console.log(`\n${id}\n$ ground ${args.join(' ')}`),
    onEnd: ({ id }, seconds) => console.log(`\n${id} took ${minutes(seconds)}`),
  });
  await report(everything, ledger, values.out);
}

/** The built command, or its source where a test says so. */
function groundCommand(): readonly [string, ...string[]] {
  const source = process.env.GROUND_ABLATION_SOURCE === '1';
  return source
    ? [process.execPath, '--import', 'tsx', 'src/cli/main.ts']
    : [process.execPath, 'dist/cli/main.js'];
}

async function report(everything: PlanOptions, ledger: Ledger, out: string): Promise<void> {
  const variants = everything.variants.filter(variant =>
    planJobs({ ...everything, variants: [variant] }).every(job => ledger.isDone(job)),
  );
  if (!variants.includes(FULL)) {
    throw new GroundError('usage', 'the full method is not finished, so there is nothing to compare with', {
      hint: 'leave --report out',
    });
  }
  const options = { ...everything, variants };
  const results = await collectResults(options);
  const svg = chartSvg(results);
  await mkdir(out, { recursive: true });
  await writeFileAtomic(join(out, 'ablation.json'), `${JSON.stringify(results, null, 2)}\n`);
  await writeFileAtomic(join(out, 'ablation.svg'), svg);
  await writeFileAtomic(
    join(out, 'ablation.png'),
    await sharp(Buffer.from(svg), { density: PNG_DENSITY }).png().toBuffer(),
  );
  await writeFileAtomic(join(out, 'ablation.md'), documentOf(results, planJobs(options)));
  console.log(
    `\nwrote ${['md', 'json', 'svg', 'png'].map(kind => join(out, `ablation.${kind}`)).join(', ')}`,
  );
}

function tellPlan(
  jobs: readonly Job[],
  left: readonly Job[],
  ledger: Ledger,
  parallel: number,
  listed: boolean,
): void {
  const seconds = (some: readonly Job[]): number => some.reduce((sum, job) => sum + ledger.estimate(job), 0);
  if (listed) {
    for (const job of jobs) {
      const state = left.includes(job) ? minutes(ledger.estimate(job)) : 'done';
      console.log(`${state.padStart(8)}  ${job.id.padEnd(26)}  ground ${job.args.join(' ')}`);
    }
    console.log();
  }
  console.log(
    `${jobs.length} jobs, ${jobs.length - left.length} done; what is left takes about ${minutes(seconds(left))} of one core, ` +
      `${minutes(seconds(left) / parallel)} with ${parallel} at once`,
  );
}

/** The full method, and the variants that `--only` names, all where it is absent. */
function chosen(only: string | undefined): Variant[] {
  if (only === undefined) return [...VARIANTS];
  const names = only.split(',').map(name => name.trim());
  const stranger = names.find(name => !VARIANTS.some(variant => variant.name === name));
  if (stranger !== undefined) {
    throw new GroundError('usage', `--only ${only}: there is no variant "${stranger}"`, {
      hint: `choose among ${VARIANTS.map(({ name }) => name).join(', ')}`,
    });
  }
  return VARIANTS.filter(variant => variant === FULL || names.includes(variant.name));
}

/** "6000,400" to numbers, `count` of them, 1 or more each. Throws `usage` on anything else. */
function numbers(flag: string, text: string, count: number): number[] {
  const parts = text.split(',');
  if (parts.length === count && parts.every(part => /^[1-9]\d*$/.test(part.trim()))) return parts.map(Number);
  const wanted = count === 1 ? 'a whole number from 1 on' : `${count} whole numbers from 1 on, with commas`;
  throw new GroundError('usage', `${flag} ${text}: expected ${wanted}`);
}

function minutes(seconds: number): string {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

try {
  await main();
} catch (thrown) {
  if (!(thrown instanceof GroundError) && !isUsage(thrown)) throw thrown;
  console.error(`error: ${(thrown as Error).message}`);
  if (thrown instanceof GroundError && thrown.hint) console.error(`hint: ${thrown.hint}`);
  process.exitCode = thrown instanceof GroundError ? thrown.exitCode : 2;
}

/** Whether node's parseArgs did not understand the command line. */
function isUsage(thrown: unknown): boolean {
  return (
    thrown instanceof TypeError && String((thrown as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS')
  );
}
