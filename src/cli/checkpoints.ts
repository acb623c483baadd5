import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { GroundError } from '../errors.ts';
import type { CheckpointEntry } from '../train/inventory.ts';
import { type CommonOptions, wholeNumber, withCommon } from './options.ts';
import { createOutput, type Output } from './output.ts';

interface RunOptions extends CommonOptions {
  readonly run?: string;
}

interface PruneOptions extends CommonOptions {
  readonly run: string;
  readonly keep: number;
  readonly dryRun?: boolean;
}

/** Adds `ground checkpoints list`, `verify` and `prune`. */
export function register(program: Command): void {
  const checkpoints = program.command('checkpoints').description('what is on disk, and whether it is whole');
  const oneRun = ['--run <name>', "one run's folder below checkpoints/ (default: all)"] as const;
  withCommon(
    checkpoints
      .command('list')
      .description('steps, sizes, and whether every file is there')
      .option(...oneRun),
  ).action((options: RunOptions) => list(options, createOutput(options)));
  withCommon(
    checkpoints
      .command('verify')
      .description('read every byte and compare it with its checksum')
      .option(...oneRun),
  ).action((options: RunOptions) => verify(options, createOutput(options)));
  withCommon(
    checkpoints
      .command('prune')
      .description('delete all but the newest whole checkpoints of each stage, and its best')
      .requiredOption('--run <name>', "the run's folder below checkpoints/")
      .option('--keep <n>', 'how many stay in each stage', wholeNumber, 1)
      .option('--dry-run', 'only say what would be deleted'),
  ).action((options: PruneOptions) => prune(options, createOutput(options)));
}

async function list(options: RunOptions, out: Output): Promise<void> {
  const { takeInventory } = await import('../train/inventory.ts');
  const entries = await takeInventory(resolve('checkpoints'), { run: options.run, checksums: false });
  await show(entries, out);
  out.result({ checkpoints: entries });
}

async function verify(options: RunOptions, out: Output): Promise<void> {
  const { takeInventory } = await import('../train/inventory.ts');
  const { describeProblems } = await import('../train/rundir.ts');
  const entries = await takeInventory(resolve('checkpoints'), { run: options.run, checksums: true });
  await show(entries, out);
  const damaged = entries.filter(entry => entry.problems.length > 0);
  if (damaged.length > 0) {
    const each = damaged.map(({ path, problems }) => `${path}: ${describeProblems(problems)}`);
    throw new GroundError(
      'checkpoint',
      `${damaged.length} of ${entries.length} damaged: ${each.join('; ')}`,
      {
        hint: 'training goes on from the newest whole one by itself; `ground checkpoints prune` deletes damaged older ones',
      },
    );
  }
  out.result({ checkpoints: entries });
}

async function show(entries: readonly CheckpointEntry[], out: Output): Promise<void> {
  const { describeProblems } = await import('../train/rundir.ts');
  if (entries.length === 0) out.line('no checkpoints yet');
  else {
    out.table(
      ['run', 'stage', 'step', 'MB', 'score', 'state', 'path'],
      entries.map(e => [
        e.run,
        e.stage,
        e.step,
        e.bytes === null ? null : (e.bytes / 1e6).toFixed(1),
        e.score === null ? null : `${e.score.toPrecision(4)}${e.best ? ' best' : ''}`,
        e.problems.length === 0 ? 'whole' : describeProblems(e.problems),
        e.path,
      ]),
    );
  }
}

async function prune(options: PruneOptions, out: Output): Promise<void> {
  if (options.keep === 0) {
    throw new GroundError('usage', '--keep 0 would leave nothing to go on from', { hint: 'keep 1 or more' });
  }
  const { takeInventory } = await import('../train/inventory.ts');
  const { pruneCheckpoints } = await import('../train/retention.ts');
  const { readScores } = await import('../train/find.ts');
  const { stageFolder } = await import('../train/rundir.ts');
  const root = resolve('checkpoints');
  const entries = await takeInventory(root, { run: options.run, checksums: false });
  const deleted: string[] = [];
  for (const stage of new Set(entries.map(entry => entry.stage))) {
    const stageDir = join(root, options.run, stageFolder(stage));
    const metric = (await readScores(stageDir)).metric ?? undefined;
    const policy = { last: options.keep, best: 1, every: 0, goal: metric?.goal ?? 'max' };
    const prune = (dryRun: boolean) =>
      pruneCheckpoints(stageDir, { policy, metric, checksums: true, dryRun });
    const pruned = options.dryRun ? await prune(true) : await locked(stageDir, () => prune(false));
    deleted.push(...pruned.deleted.map(({ path }) => path));
    for (const failure of pruned.failures) out.note(`warning: ${failure}`);
  }
  for (const path of deleted) out.line(`${options.dryRun ? 'would delete' : 'deleted'} ${path}`);
  if (deleted.length === 0) out.line('nothing to delete');
  out.result({ deleted, dryRun: options.dryRun === true });
}

/** A training process deletes on its own; two at once would see each other's half-deleted folders. */
async function locked<T>(stageDir: string, work: () => Promise<T>): Promise<T> {
  const { lockFolder } = await import('../train/lock.ts');
  const lock = await lockFolder(stageDir);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}
