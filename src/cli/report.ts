import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { writeFileAtomic } from '../atomic.ts';
import { GroundError } from '../errors.ts';
import { size } from '../telemetry/format.ts';
import { type CommonOptions, outputFile, withCommon } from './options.ts';
import { createOutput, type Output } from './output.ts';

interface ReportOptions extends CommonOptions {
  readonly out?: string;
}

/** Adds `ground report`. */
export function register(program: Command): void {
  const command = program
    .command('report')
    .description('a run as one HTML page: curves, stages, time, answers with pictures, recipes')
    .argument('<run>', 'name of a run below checkpoints/, or its folder')
    .option('--out <file>', 'where to write the page (default: report.html in the run)');
  withCommon(command).action((run: string, options: ReportOptions) =>
    report(run, options, createOutput(options)),
  );
}

async function report(run: string, options: ReportOptions, out: Output): Promise<void> {
  const path = findRun(run);
  const file = options.out === undefined ? join(path, 'report.html') : outputFile('--out', options.out);
  const { collectReport } = await import('../report/collect.ts');
  const { reportPage } = await import('../report/page.ts');
  const collected = await collectReport(path);
  const { version }: { version: string } = createRequire(import.meta.url)('../../package.json');
  const { bytes } = await writeFileAtomic(file, reportPage(collected, version, Date.now() / 1000));
  const stages = collected.stages.length;
  out.line(`${file} (${size(bytes)}, ${stages} stage${stages === 1 ? '' : 's'})`);
  out.result({
    file,
    bytes,
    run: collected.run,
    status: collected.status,
    stages: collected.stages.map(stage => stage.summary),
  });
}

/** The folder that a name or a path means. Throws `usage` where there is none. */
function findRun(run: string): string {
  const candidates = [resolve('checkpoints', run), resolve(run)];
  const found = candidates.find(path => existsSync(path));
  if (found !== undefined && basename(found) !== '') return found;
  throw new GroundError('usage', `there is no run ${run}: neither ${candidates.join(' nor ')} exists`, {
    hint: '`ground runs` lists the runs there are',
  });
}
