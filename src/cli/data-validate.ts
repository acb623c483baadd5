import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { ValidationReport } from '../data/validate.ts';
import type { ProblemKind } from '../data/validation/problem.ts';
import { type RenderingFlags, renderingOf, withRendering } from './data-rendering.ts';
import { parseWhole } from './data-values.ts';
import { type CommonOptions, withCommon } from './options.ts';
import { createOutput, type Output } from './output.ts';
import { withProgress } from './progress.ts';

interface ValidateFlags extends CommonOptions, RenderingFlags {
  readonly against: readonly string[];
  readonly limit: string;
  readonly samples: boolean;
}

/** Adds `ground data validate`. */
export function registerDataValidate(data: Command): void {
  const command = data
    .command('validate')
    .description('check every shard, every row and every sample that the rows make; exit code 1 on errors')
    .argument('<dir>', 'the dataset')
    .option(
      '--against <dir...>',
      'evaluation sets whose images must not be in it',
      (value: string, previous: readonly string[]) => [...previous, value],
      [],
    )
    .option('--limit <n>', 'problems of each kind that are listed', '10')
    .option('--no-samples', 'leave out what the rows become as samples');
  withCommon(withRendering(command)).action(validate);
}

async function validate(dir: string, flags: ValidateFlags): Promise<void> {
  const { validateDataset } = await import('../data/validate.ts');
  const out = createOutput(flags);
  const limit = parseWhole('--limit', flags.limit, 1);
  const rendering = flags.samples ? await renderingOf(dir, flags) : undefined;
  const report = await withProgress('checking', 'rows', onProgress =>
    validateDataset(dir, {
      against: flags.against,
      limit,
      onProgress,
      ...(rendering ? { rendering } : {}),
    }),
  );
  const maxLength =
    rendering && Number.isFinite(rendering.model.max_length) ? rendering.model.max_length : null;
  out.result({ dir: resolve(dir), ...report, maxLength });
  await printReport(out, report, limit, maxLength);
  if (report.errors > 0) process.exitCode = 1;
}

async function printReport(
  out: Output,
  { rows, shards, errors, warnings, totals, problems, tasks }: ValidationReport,
  limit: number,
  maxLength: number | null,
): Promise<void> {
  const { PROBLEM_KINDS } = await import('../data/validation/problem.ts');
  const { LENGTH_EDGES } = await import('../data/validation/samples.ts');
  for (const { severity, shard, row, id, problem } of problems) {
    const place = `${shard}${row === null ? '' : ` row ${row}`}${id === null ? '' : ` (${id})`}`;
    const word = severity === 'error' ? out.style.red('error') : out.style.yellow('warning');
    out.line(`${word}: ${place}: ${problem}`);
  }
  const kinds = Object.keys(PROBLEM_KINDS) as ProblemKind[];
  const found = kinds.filter(kind => totals[kind] !== undefined);
  if (found.length > 0) {
    const rowOf = (kind: ProblemKind) => {
      const { severity, what } = PROBLEM_KINDS[kind];
      const total = totals[kind] ?? 0;
      return [kind, severity, total, `${what}${total > limit ? ` (the first ${limit} are listed)` : ''}`];
    };
    out.line();
    out.table(['kind', '', 'found', ''], found.map(rowOf));
  }
  const served = tasks.filter(({ records }) => records > 0);
  if (served.length > 0) {
    const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
    out.line();
    out.table(
      ['task', 'records', 'trained', 'shortest', 'median', 'longest', 'too long'],
      served.map(({ task, records, trainedShare, length, refused }) => [
        task,
        records,
        percent(trainedShare),
        length.min,
        length.median,
        length.max,
        maxLength === null ? '-' : percent(refused / records),
      ]),
    );
    const last = Math.max(...served.map(({ lengths }) => lengths.findLastIndex(count => count > 0)));
    const names = [...LENGTH_EDGES, Number.POSITIVE_INFINITY].map((edge, i) => {
      const from = LENGTH_EDGES[i - 1] ?? 1;
      return Number.isFinite(edge) ? `${from}-${edge - 1}` : `${from} on`;
    });
    out.line();
    out.table(
      ['tokens', ...names.slice(0, last + 1)],
      served.map(({ task, lengths }) => [task, ...lengths.slice(0, last + 1)]),
    );
    const idle = tasks.filter(({ records }) => records === 0).map(({ task }) => task);
    if (idle.length > 0) out.line(`tasks that no record serves: ${idle.join(', ')}`);
    const limitation = maxLength === null ? '' : `; sequences beyond max_length ${maxLength} are refused`;
    out.line(`trained: share of all positions, visual tokens included${limitation}`);
  }
  if (found.length > 0 || served.length > 0) out.line();
  out.line(
    `${rows} rows in ${counted(shards, 'shard')}: ${counted(errors, 'error')}, ${counted(warnings, 'warning')}`,
  );
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
