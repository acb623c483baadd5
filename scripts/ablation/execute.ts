/** Runs jobs, several processes at once, each on one thread. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { GroundError } from '../../src/errors.ts';
import type { Ledger } from './ledger.ts';
import type { Job } from './plan.ts';

export interface ExecuteOptions {
  /** Processes at once. */
  readonly parallel: number;
  /** What runs `ground`, before its arguments. */
  readonly command: readonly [string, ...string[]];
  /** Where each job's output goes. */
  readonly logs: string;
  readonly onStart: (job: Job) => void;
  readonly onEnd: (job: Job, seconds: number) => void;
}

/** Lines of a failed job's output that are shown. */
const SHOWN_LINES = 12;

/**
 * Runs what is not done yet; a job begins once all before it are done. The first failure stops the others, whose trainings are
 * saved and go on the next time. Throws GroundError naming the job and the end of its output.
 */
export async function execute(
  jobs: readonly Job[],
  ledger: Pick<Ledger, 'isDone' | 'finish'>,
  options: ExecuteOptions,
): Promise<void> {
  await mkdir(options.logs, { recursive: true });
  const done = new Set(jobs.filter(job => ledger.isDone(job)).map(({ id }) => id));
  const waiting = jobs.filter(({ id }) => !done.has(id));
  const running = new Map<Job, ChildProcess>();
  let failure: GroundError | null = null;
  const stop = (signal: NodeJS.Signals): void => {
    failure ??= new GroundError('interrupted', `stopped by ${signal}; the same command goes on from here`);
    for (const child of running.values()) child.kill('SIGTERM');
  };
  const onSignal = (signal: NodeJS.Signals): void => stop(signal);
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    await new Promise<void>(resolve => {
      const next = (): void => {
        while (failure === null && running.size < options.parallel) {
          const at = waiting.findIndex(({ after }) => after.every(id => done.has(id)));
          const [job] = at < 0 ? [] : waiting.splice(at, 1);
          if (!job) break;
          begin(job);
        }
        if (running.size === 0) resolve();
      };
      const begin = (job: Job): void => {
        options.onStart(job);
        const began = performance.now();
        const log = join(options.logs, `${job.id}.log`);
        const child = start(job, log, options.command);
        running.set(job, child);
        child.once('close', async code => {
          const seconds = (performance.now() - began) / 1000;
          if (code !== 0) {
            failure ??= jobFailed(job, log);
            for (const other of running.values()) other.kill('SIGTERM');
          } else {
            try {
              await ledger.finish(job, seconds);
              done.add(job.id);
              options.onEnd(job, seconds);
            } catch (thrown) {
              failure ??= thrown instanceof GroundError ? thrown : new GroundError('io', String(thrown));
            }
          }
          // Not before it is written down: two that end at once would each find nothing running and nothing that may begin.
          running.delete(job);
          next();
        });
      };
      next();
    });
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
  if (failure) throw failure;
}

function start({ args }: Job, log: string, [program, ...before]: ExecuteOptions['command']): ChildProcess {
  const output = openSync(log, 'w');
  try {
    const env = { ...process.env, GROUND_THREADS: '1' };
    return spawn(program, [...before, ...args], { stdio: ['ignore', output, output], env });
  } finally {
    closeSync(output);
  }
}

function jobFailed({ id, args }: Job, log: string): GroundError {
  const end = readFileSync(log, 'utf8').trimEnd().split('\n').slice(-SHOWN_LINES).join('\n');
  return new GroundError('model', `${id} failed: ground ${args.join(' ')}\n\n${end}\n`, {
    hint: `its whole output is ${log}; run the command again to go on, or --name NAME to begin another ablation`,
  });
}
