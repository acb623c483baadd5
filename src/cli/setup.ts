import { type Command, Option } from 'commander';
import { type CommonOptions, withCommon } from './options.ts';
import { createOutput } from './output.ts';

interface SetupFlags extends CommonOptions {
  readonly device: 'cpu' | 'gpu';
  readonly libtensorflow?: string;
  readonly force?: boolean;
}

/** Adds `ground setup`. */
export function register(program: Command): void {
  withCommon(
    program
      .command('setup')
      .description('get libtensorflow and build the engine; safe to run again')
      .addOption(new Option('--device <name>', 'what to compute on').choices(['cpu', 'gpu']).default('cpu'))
      .addOption(
        new Option('--libtensorflow <dir>', 'use the library in this folder, download nothing').env(
          'GROUND_LIBTENSORFLOW',
        ),
      )
      .option('--force', 'fetch and build again whatever is there'),
  ).action(async (flags: SetupFlags) => {
    const { setupEngine } = await import('../engine/setup/setup.ts');
    const out = createOutput(flags);
    const done = await setupEngine({ ...flags, note: text => out.note(text) });
    const { version, device, source } = done.engine;
    const what = `libtensorflow ${version} for ${device === 'gpu' ? 'GPU' : 'CPU'}, from ${source}`;
    out.line(done.changed ? `ready in ${done.seconds.toFixed(0)} s: ${what}` : `ready since before: ${what}`);
    if (done.changed && device === 'gpu' && done.gpu === '') {
      out.note('warning: libtensorflow finds no GPU on this machine; see `ground doctor`');
    }
    out.result(done);
  });
}
