/** `ground train --dry-run`: each stage tried out, and what to expect of it. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { GroundError } from '../errors.ts';
import { count, size } from '../telemetry/format.ts';
import type { Recipe } from '../train/recipe.ts';
import type { Rehearsal } from '../train/rehearsal.ts';
import type { EngineOptions } from './options.ts';
import type { Cell, Output } from './output.ts';

export interface DryRunOptions extends EngineOptions {
  readonly recipes: readonly Recipe[];
  readonly run: string;
  readonly runDir: string;
  /** Stages that are started over. */
  readonly fresh: readonly number[];
  readonly resume: boolean;
  /** The arguments of the command, to try one stage out by itself. */
  readonly args: readonly string[];
}

/**
 * Tries every stage out. Several stages get a process each: what one has held would be counted to the next, whose memory
 * is to be compared with the plan.
 */
export async function dryRun(options: DryRunOptions, out: Output): Promise<void> {
  const { recipes, run, runDir } = options;
  const began = performance.now();
  const [only, ...others] = recipes;
  const stages =
    only && others.length === 0 ? [await here(only, options)] : recipes.map(r => apart(r, options));
  const seconds = (performance.now() - began) / 1000;
  for (const { notes } of stages) for (const note of notes) out.note(note);
  printStages(stages, out);
  out.line(`all of it works: ${seconds.toFixed(0)} s, and nothing was left behind`);
  out.result({ run, runDir, dryRun: true, seconds, stages });
}

async function here(recipe: Recipe, { engine, device, runDir, fresh, resume }: DryRunOptions) {
  const { startEngine } = await import('../engine/engine.ts');
  const { rehearse } = await import('../train/rehearsal.ts');
  const { diffRecipes } = await import('../config/diff.ts');
  const { readResolvedRecipe, recipeToYaml } = await import('../config/resolved.ts');
  const info = await startEngine({ engine, device });
  return rehearse({
    recipe,
    codec: { write: recipeToYaml, read: readResolvedRecipe, diff: diffRecipes },
    runDir,
    engine: info.name,
    fresh: fresh.includes(recipe.stage.stage),
    resume,
    idleBytes: process.memoryUsage.rss(),
  });
}

/** One stage in a process of its own. Throws what that process failed with. */
function apart({ stage: { stage } }: Recipe, { args }: DryRunOptions): Rehearsal {
  const main = fileURLToPath(
    new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url),
  );
  // Of a flag that is given twice the last one counts.
  const own = [...args.filter(arg => arg !== '--json'), '--stage', `${stage}`, '--alone', '--json'];
  const { stdout, stderr, status } = spawnSync(process.execPath, [...process.execArgv, main, ...own], {
    encoding: 'utf8',
    maxBuffer: 64 * 2 ** 20,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const answer = parse(stdout);
  const [result] = answer?.stages ?? [];
  if (status === 0 && result) return result;
  const { code, message, hint } = answer?.error ?? { code: 'train', message: stderr.trim(), hint: null };
  throw new GroundError(code, `stage ${stage}: ${message}`, hint === null ? {} : { hint });
}

interface Answer {
  readonly stages?: readonly Rehearsal[];
  readonly error?: {
    readonly code: GroundError['code'];
    readonly message: string;
    readonly hint: string | null;
  };
}

function parse(stdout: string): Answer | undefined {
  try {
    return JSON.parse(stdout);
  } catch {
    return undefined;
  }
}

function printStages(stages: readonly Rehearsal[], out: Output): void {
  const row = (name: string, of: (stage: Rehearsal) => Cell): Cell[] => [name, ...stages.map(of)];
  out.table(
    ['dry run', ...stages.map(({ stage }) => `stage ${stage}`)],
    [
      row('begins', ({ begins: { kind, step, from } }) =>
        kind === 'fresh'
          ? (from ?? 'random weights')
          : `${kind === 'resume' ? 'after' : 'is finished at'} step ${step}`,
      ),
      row('parameters', ({ parameters }) => count(parameters)),
      row('of these trained', ({ trainable }) => count(trainable)),
      row('largest batch', ({ batches }) => batches.map(describeBatch).join('; ')),
      row('loss', ({ step }) => step.loss.toFixed(4)),
      row('gradient norm', ({ step }) => step.gradNorm.toPrecision(3)),
      row('first step', ({ step }) => `${step.firstSeconds.toFixed(2)} s`),
      row('step', ({ step }) => `${step.seconds.toFixed(2)} s`),
      row('memory, planned', ({ memory }) => size(memory.plannedBytes)),
      row('memory, measured', ({ memory }) => size(memory.measuredBytes)),
      row(
        'measured / planned',
        ({ memory }) => `${((100 * memory.measuredBytes) / memory.plannedBytes).toFixed(0)} %`,
      ),
      row('checkpoint', ({ checkpoint }) => size(checkpoint.bytes)),
      row('frozen weights, once', ({ checkpoint }) => size(checkpoint.frozenBytes)),
      row('written and read back in', ({ checkpoint }) => `${checkpoint.seconds.toFixed(2)} s`),
      row('room on its disk', ({ checkpoint }) => size(checkpoint.freeBytes)),
    ],
  );
  out.line();
}

function describeBatch(batch: Rehearsal['batches'][number]): string {
  const { kind, samples, positions, tiles } = batch;
  if (kind !== 'conversation') return `${samples} pairs`;
  return `${samples} x ${positions}${tiles ? `, ${tiles} tiles` : ''}`;
}
