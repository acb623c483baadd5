import { type Command, CommanderError, type Option } from 'commander';
import { GroundError, messageOf } from '../errors.ts';
import { colorsAllowed, type Streams, styleOf } from './output.ts';

/**
 * Runs the program on the arguments after `node ground` and returns the exit code: 0 done, 1 the work failed, 2 bad
 * usage or configuration. Commands only throw; this is the one place where a failure becomes text.
 */
export async function runProgram(
  program: Command,
  args: readonly string[],
  streams: Streams = process,
): Promise<number> {
  prepare(program, streams);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return usageExitCode(thrown, args, streams);
    // Flags are read from the raw arguments: the failure may have come before commander had parsed any.
    reportFailure(thrown, { json: args.includes('--json'), verbose: args.includes('--verbose') }, streams);
    return thrown instanceof GroundError ? thrown.exitCode : 1;
  }
}

/** Makes commander throw instead of exit, in every command below, write to the given streams and name the flag that is wrong. */
function prepare(command: Command, streams: Streams): void {
  command.exitOverride();
  for (const option of command.options) nameInErrors(option);
  command.configureOutput({
    writeOut: text => streams.stdout.write(text),
    writeErr: text => streams.stderr.write(text),
    outputError: (text, write) => write(text),
  });
  for (const child of command.commands) prepare(child, streams);
}

/** Complaints about a flag's value begin with the flag. */
function nameInErrors(option: Option): void {
  const { parseArg, long, short } = option;
  if (!parseArg) return;
  const flag = long ?? short ?? '';
  option.parseArg = <T>(text: string, previous: T): T => {
    try {
      return parseArg(text, previous);
    } catch (thrown) {
      if (!(thrown instanceof GroundError) || thrown.message.startsWith(flag)) throw thrown;
      const { code, message, hint, cause } = thrown;
      throw new GroundError(code, `${flag}: ${message}`, { ...(hint === undefined ? {} : { hint }), cause });
    }
  };
}

/** Help and version end with 0; whatever else commander refuses is bad usage, and it has told people why. */
function usageExitCode(error: CommanderError, args: readonly string[], streams: Streams): number {
  if (error.exitCode === 0) return 0;
  if (args.includes('--json')) {
    writeJsonError({ code: 'usage', message: error.message.replace(/^error: /, ''), hint: null }, streams);
  }
  return 2;
}

function writeJsonError(
  error: { code: string; message: string; hint: string | null },
  streams: Streams,
): void {
  streams.stdout.write(`${JSON.stringify({ error }, null, 2)}\n`);
}

/**
 * Prints `error:` and `hint:` on stderr, the chain of causes and the stack with `--verbose`, and under `--json` the
 * document `{"error": {code, message, hint}}` on stdout.
 */
export function reportFailure(
  thrown: unknown,
  options: { readonly json: boolean; readonly verbose: boolean },
  streams: Streams,
): void {
  const style = styleOf(colorsAllowed(streams.stderr, streams.env));
  const known = thrown instanceof GroundError ? thrown : undefined;
  const message = known ? known.message : (messageOf(thrown).split('\n')[0] ?? '');
  const hint = known ? known.hint : 'this is unexpected; run again with --verbose to see where it happened';
  // What was asked for is no error.
  const label = known?.code === 'interrupted' ? '' : `${style.red('error:')} `;
  streams.stderr.write(`${label}${message}\n`);
  if (hint !== undefined && !(known === undefined && options.verbose)) {
    streams.stderr.write(`${style.yellow('hint:')} ${hint}\n`);
  }
  if (options.verbose) {
    for (let link = thrown; link instanceof Error; link = link.cause) {
      streams.stderr.write(`${style.dim(link.stack ?? link.message)}\n`);
    }
  }
  if (options.json)
    writeJsonError({ code: known?.code ?? 'unexpected', message, hint: hint ?? null }, streams);
}

/** `ground … | head` closes the pipe early: that is no failure and deserves no words. */
export function exitQuietlyOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }
}
