import { vi } from 'vitest';
import { runProgram } from '../../src/cli/context.ts';
import type { Streams } from '../../src/cli/output.ts';
import { buildProgram } from '../../src/cli/program.ts';

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Streams that remember what was written to them. */
export function recordingStreams(options: { isTTY?: boolean; env?: Streams['env'] } = {}) {
  const written = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') => ({
    isTTY: options.isTTY === true,
    write: (text: string) => {
      written[name] += text;
    },
  });
  const streams: Streams = { stdout: sink('stdout'), stderr: sink('stderr'), env: options.env ?? {} };
  return { streams, written };
}

/** Runs `ground` with these arguments in this process and catches what it prints. */
export async function ground(...args: string[]): Promise<Outcome> {
  const { written, streams } = recordingStreams();
  const spies = (['stdout', 'stderr'] as const).map(name =>
    vi.spyOn(process[name], 'write').mockImplementation(text => {
      streams[name].write(String(text));
      return true;
    }),
  );
  try {
    const code = await runProgram(await buildProgram(args), args);
    return { code, ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
