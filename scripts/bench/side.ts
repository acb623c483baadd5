/** The sides of a benchmark: processes that stay warm and answer a line of JSON with a line of JSON. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { z } from 'zod';
import { SHAPES_FILE } from './shapes.ts';

/** Threads of each side: all cores, or what GROUND_BENCH_THREADS says. */
export const THREADS = Number(process.env.GROUND_BENCH_THREADS ?? availableParallelism());

/** One process that measures when it is asked to. */
export class Side {
  readonly name: string;
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor(name: string, command: string, args: readonly string[]) {
    this.name = name;
    this.#process = spawn(command, args);
    this.#process.stderr.pipe(process.stderr);
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** A TypeScript file of this folder in a Node of its own. */
  static node(name: string, file: string, args: readonly string[] = []): Side {
    const script = fileURLToPath(new URL(file, import.meta.url));
    return new Side(name, process.execPath, ['--import', 'tsx', script, ...args]);
  }

  /** A Python file of this folder; its first arguments are the file of shapes and the number of threads. */
  static python(name: string, python: string, file: string, args: readonly string[] = []): Side {
    const script = fileURLToPath(new URL(file, import.meta.url));
    return new Side(name, python, [script, SHAPES_FILE, String(THREADS), ...args]);
  }

  async ask<T>(answer: z.ZodType<T>, request: object): Promise<T> {
    this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await this.#lines.next();
    if (line.done) throw new Error(`${this.name} ended`);
    return answer.parse(JSON.parse(line.value));
  }

  close(): void {
    this.#process.stdin.end();
  }
}

/** What a process that is a side does: one answer a line, until there are no more. */
export async function serve(answer: (request: unknown) => Promise<object>): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  }
}

/** Runs `work` again and again for at least `seconds`; the median time of one run, seconds. */
export function timeOf(seconds: number, work: () => void): number {
  const times: number[] = [];
  const end = performance.now() + 1000 * seconds;
  do {
    const began = performance.now();
    work();
    times.push((performance.now() - began) / 1000);
  } while (performance.now() < end);
  return median(times);
}

/** The most memory that this process has held at once, bytes. */
export function peakMemory(): number {
  try {
    const line = /VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'));
    if (line) return 1024 * Number(line[1]);
  } catch {
    // Not Linux: what the system counts otherwise.
  }
  return 1024 * process.resourceUsage().maxRSS;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** Median of the ratios of pairs. */
export function medianRatio(ours: readonly number[], theirs: readonly number[]): number {
  return median(ours.map((value, i) => value / (theirs[i] ?? Number.NaN)));
}
