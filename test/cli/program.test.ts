import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { runProgram } from '../../src/cli/context.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { GroundError } from '../../src/errors.ts';
import { ground, recordingStreams } from './harness.ts';

/** A program with one command that does `work`. */
async function running(work: () => unknown, ...args: string[]) {
  const program = new Command('ground');
  program
    .command('work')
    .option('--json')
    .option('--verbose')
    .action(async () => {
      await work();
    });
  const { streams, written } = recordingStreams();
  const code = await runProgram(program, ['work', ...args], streams);
  return { code, ...written };
}

describe('the exit code', () => {
  test('is 0 when the work is done', async () => {
    expect(await running(() => {})).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('is 0 for help and version', async () => {
    expect(await ground('--help')).toMatchObject({ code: 0, stderr: '' });
    expect((await ground('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test.each([
    ['an unknown command', ['nope']],
    ['an unknown flag', ['config', 'show', '--stage', '1', '--nope']],
    ['a missing flag', ['config', 'show']],
    ['a value that is no choice', ['train', '--stage', '1', '--engine', 'cuda']],
    ['a superfluous argument', ['train', '--stage', '1', 'now']],
    ['a value that is no number', ['config', 'show', '--stage', 'one']],
  ])('is 2 for %s', async (_, args) => {
    const outcome = await ground(...args);
    expect(outcome).toMatchObject({ code: 2, stdout: '' });
    expect(outcome.stderr).toMatch(/^error: /);
  });

  test.each([
    ['usage', 2],
    ['config', 2],
    ['data', 1],
    ['engine', 1],
    ['train', 1],
  ] as const)('of a %s error is %i', async (code, exit) => {
    const outcome = await running(() => {
      throw new GroundError(code, 'it broke');
    });
    expect(outcome.code).toBe(exit);
  });
});

describe('a failure', () => {
  const broken = () => {
    throw new GroundError('data', 'row 7 of a.arrow has no image', { hint: 'build it again' });
  };
  const unexpected = () => {
    throw new TypeError('x is not a function\nsecond line');
  };

  test('is an error line and a hint line, without a stack', async () => {
    expect((await running(broken)).stderr).toBe(
      'error: row 7 of a.arrow has no image\nhint: build it again\n',
    );
  });

  test('that nobody foresaw is one line and the way to more', async () => {
    expect(await running(unexpected)).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'error: x is not a function\nhint: this is unexpected; run again with --verbose to see where it happened\n',
    });
  });

  test('shows its stack and its cause with --verbose', async () => {
    const outcome = await running(() => {
      throw new GroundError('io', 'cannot write', { cause: new Error('ENOSPC') });
    }, '--verbose');
    expect(outcome.stderr).toMatch(
      /error: cannot write\nGroundError: cannot write\n {4}at [\s\S]*\nError: ENOSPC\n/,
    );
    expect((await running(unexpected, '--verbose')).stderr).not.toContain('hint:');
  });

  test('is a JSON document with --json', async () => {
    expect(JSON.parse((await running(broken, '--json')).stdout)).toEqual({
      error: { code: 'data', message: 'row 7 of a.arrow has no image', hint: 'build it again' },
    });
    expect(JSON.parse((await running(unexpected, '--json')).stdout)).toMatchObject({
      error: { code: 'unexpected', message: 'x is not a function' },
    });
  });
});

test('bad usage is a JSON document too, with --json', async () => {
  const { code, stdout, stderr } = await ground('config', 'show', '--json');
  expect(code).toBe(2);
  expect(stderr).toContain("error: required option '--stage <n>' not specified");
  expect(JSON.parse(stdout)).toEqual({
    error: { code: 'usage', message: "required option '--stage <n>' not specified", hint: null },
  });
});

describe('commands', () => {
  test('only the one that was asked for is loaded, all of them for help', async () => {
    const names = async (...args: string[]) => (await buildProgram(args)).commands.map(c => c.name());
    expect(await names('config', 'show')).toEqual(['config']);
    expect(await names('--help')).toContain('train');
    expect(await names('help', 'config')).toContain('config');
  });

  test('every command that does something takes --json and --verbose', async () => {
    const leaves = (command: Command): Command[] =>
      command.commands.length > 0 ? command.commands.flatMap(leaves) : [command];
    const lacking = leaves(await buildProgram([])).filter(
      command => !['--json', '--verbose'].every(flag => command.options.some(option => option.long === flag)),
    );
    expect(lacking.map(command => command.name())).toEqual([]);
  });
});
