import { describe, expect, test } from 'vitest';
import { colorsAllowed, createOutput, formatTable } from '../../src/cli/output.ts';
import { openProgress } from '../../src/cli/progress.ts';
import { recordingStreams } from './harness.ts';

describe('output', () => {
  test('for people: lines and tables on stdout, notes on stderr, no JSON', () => {
    const { streams, written } = recordingStreams();
    const out = createOutput({}, streams);
    out.line('done');
    out.table(['name', 'steps'], [['a', 5]]);
    out.result({ done: true });
    out.note('by the way');
    expect(written).toEqual({ stdout: 'done\nname  steps\na         5\n', stderr: 'by the way\n' });
  });

  test('for scripts: one JSON document on stdout and nothing else', () => {
    const { streams, written } = recordingStreams();
    const out = createOutput({ json: true }, streams);
    out.line('done');
    out.table(['name'], [['a']]);
    out.note('by the way');
    out.result({ done: true });
    expect(JSON.parse(written.stdout)).toEqual({ done: true });
    expect(written.stderr).toBe('by the way\n');
  });

  test('colours where a terminal shows them', () => {
    const { streams, written } = recordingStreams({ isTTY: true, env: { TERM: 'xterm' } });
    const out = createOutput({}, streams);
    out.line(out.style.green('ok'));
    expect(written.stdout).toBe('\u001b[32mok\u001b[39m\n');
  });
});

test.each([
  [true, {}, true],
  [false, {}, false],
  [true, { NO_COLOR: '1' }, false],
  [true, { NO_COLOR: '' }, true],
  [true, { TERM: 'dumb' }, false],
  [false, { FORCE_COLOR: '1' }, true],
  [false, { FORCE_COLOR: '1', NO_COLOR: '1' }, false],
])('on a terminal: %s, environment %o: colours %s', (isTTY, env, expected) => {
  expect(colorsAllowed({ isTTY }, env)).toBe(expected);
});

test('tables align words to the left and numbers to the right, and mark what is missing', () => {
  expect(
    formatTable(
      ['module', 'parameters', 'note'],
      [
        ['llm', 1200, null],
        ['sampler', 7, 'new'],
      ],
    ),
  ).toEqual(['module   parameters  note', 'llm            1200  -', 'sampler           7  new']);
  expect(formatTable(['empty'], [])).toEqual(['empty']);
});

describe('progress away from a terminal', () => {
  test('is a line at every tenth, however often it is told', async () => {
    const { streams, written } = recordingStreams();
    const progress = await openProgress({ label: 'rendering', total: 1000, unit: 'images', streams });
    for (let done = 1; done <= 1000; done++) progress.update(done);
    progress.stop();
    const lines = written.stderr.trimEnd().split('\n');
    expect(lines).toHaveLength(10);
    expect(lines[0]).toBe('rendering 100/1000 images');
    expect(lines.at(-1)).toBe('rendering 1000/1000 images');
    expect(written.stdout).toBe('');
  });

  test('of nothing is finished at once', async () => {
    const { streams, written } = recordingStreams();
    const progress = await openProgress({ label: 'rendering', total: 0, unit: 'images', streams });
    progress.update(0, '(none)');
    expect(written.stderr).toBe('rendering 0/0 images (none)\n');
  });
});
