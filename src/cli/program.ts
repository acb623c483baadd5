import { createRequire } from 'node:module';
import { Command } from 'commander';

/** A file of this folder that adds its command to the program. */
interface CommandModule {
  register(program: Command): void;
}

/**
 * Every command and the file that defines it. Only the file of the command that was asked for is loaded (all of them
 * for help), and each loads what it runs when it runs.
 */
const COMMANDS: Readonly<Record<string, () => Promise<CommandModule>>> = {
  setup: () => import('./setup.ts'),
  doctor: () => import('./doctor.ts'),
  data: () => import('./data.ts'),
  plan: () => import('./plan.ts'),
  train: () => import('./train.ts'),
  runs: () => import('./runs.ts'),
  report: () => import('./report.ts'),
  eval: () => import('./eval.ts'),
  compare: () => import('./compare.ts'),
  predict: () => import('./predict.ts'),
  import: () => import('./import.ts'),
  export: () => import('./export.ts'),
  checkpoints: () => import('./checkpoints.ts'),
  config: () => import('./config.ts'),
};

/** The program with the command that `args` name, or with all of them where they name none. */
export async function buildProgram(args: readonly string[]): Promise<Command> {
  const program = new Command('ground')
    .description('Trains multimodal models that answer about regions and with boxes, stage by stage.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .showHelpAfterError('(add --help for the options)')
    .showSuggestionAfterError();
  const named = COMMANDS[args.find(arg => !arg.startsWith('-')) ?? ''];
  const loaders = named ? [named] : Object.values(COMMANDS);
  for (const module of await Promise.all(loaders.map(load => load()))) module.register(program);
  return program;
}

function packageVersion(): string {
  const manifest: { version: string } = createRequire(import.meta.url)('../../package.json');
  return manifest.version;
}
