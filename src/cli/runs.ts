import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { GroundError } from '../errors.ts';
import { roughly, significant, size } from '../telemetry/format.ts';
import type { RunSummary, StageSummary } from '../train/runs.ts';
import { type CommonOptions, withCommon } from './options.ts';
import { createOutput, type Output } from './output.ts';

/** Adds `ground runs`. */
export function register(program: Command): void {
  const command = program
    .command('runs')
    .description('every run, and how it stands: running, finished, interrupted or failed')
    .argument('[dir]', 'the folder of runs', 'checkpoints');
  withCommon(command).action((dir: string, options: CommonOptions) => runs(dir, createOutput(options)));
}

async function runs(dir: string, out: Output): Promise<void> {
  const root = resolve(dir);
  if (dir !== 'checkpoints' && !existsSync(root)) {
    throw new GroundError('usage', `there is no folder ${root}`, {
      hint: 'name the folder that holds the runs',
    });
  }
  const { summarizeRuns } = await import('../train/runs.ts');
  const found = await summarizeRuns(root);
  if (found.length === 0) out.line(`no runs in ${root} yet`);
  else {
    out.table(
      ['run', 'stages', 'status', 'step', 'loss', 'best score', 'size', 'last seen'],
      found.map(rowOf),
    );
  }
  for (const { run, stages } of found) {
    for (const { status, stage, message } of stages) {
      if (status === 'failed' && message !== null) out.line(`${run}, stage ${stage} failed: ${message}`);
    }
  }
  out.result({ root, runs: found });
}

function rowOf({ run, status, stages, bytes }: RunSummary): string[] {
  const current = currentOf(stages);
  const best = stages.findLast(stage => stage.best !== null)?.best;
  const seen = Math.max(...stages.map(stage => stage.seen ?? 0));
  return [
    run,
    stages.map(({ stage }) => stage).join(' '),
    status,
    `${current?.step ?? 0}/${current?.steps || '?'}${stages.length > 1 ? ` of stage ${current?.stage}` : ''}`,
    current?.loss?.toFixed(4) ?? '-',
    best ? `${best.name} ${significant(best.value)}` : '-',
    size(bytes),
    seen > 0 ? `${roughly(Date.now() / 1000 - seen)} ago` : '-',
  ];
}

/** The stage that was worked on last. */
function currentOf(stages: readonly StageSummary[]): StageSummary | undefined {
  return stages.reduce<StageSummary | undefined>(
    (a, b) => (a && (a.seen ?? 0) > (b.seen ?? 0) ? a : b),
    undefined,
  );
}
