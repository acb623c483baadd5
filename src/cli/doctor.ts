import type { Command } from 'commander';
import type { Check } from '../engine/doctor/diagnose.ts';
import { type CommonOptions, withCommon } from './options.ts';
import { createOutput, type Style } from './output.ts';

/** Adds `ground doctor`. */
export function register(program: Command): void {
  withCommon(
    program
      .command('doctor')
      .description('say what this machine and engine are like, what is missing, and what mends it'),
  ).action(async (flags: CommonOptions) => {
    const [{ gatherFacts }, { canTrain, diagnose }] = await Promise.all([
      import('../engine/doctor/facts.ts'),
      import('../engine/doctor/diagnose.ts'),
    ]);
    const out = createOutput(flags);
    const facts = await gatherFacts(process.env, process.cwd());
    const checks = diagnose(facts);
    for (const check of checks) {
      out.line(`${mark(check, out.style)} ${check.name.padEnd(11)} ${check.found}`);
      if (check.mend !== undefined) out.line(`${' '.repeat(17)}${out.style.bold('mend:')} ${check.mend}`);
    }
    const trains = canTrain(checks);
    out.result({ canTrain: trains, checks, facts });
    // Not an error of this command, which has done its work; scripts ask by the exit code.
    if (!trains) process.exitCode = 1;
  });
}

function mark({ status }: Check, style: Style): string {
  if (status === 'ok') return style.green('ok  ');
  return status === 'warn' ? style.yellow('warn') : style.red('fail');
}
