/**
 * The one hook of the fault-injection tests. With `GROUND_FAULT=phase:n` in its environment a process kills itself
 * (SIGKILL) when it reaches a phase for the n-th time; with `GROUND_FAULT=phase:n:CODE` that one operation fails with the
 * system error CODE, as on a full disk (`write:3:ENOSPC`). `GROUND_FAULT=phase:n:SIGSTOP` makes the process stand still
 * there until somebody sends it SIGCONT. `*` for n is every time. Threads count for themselves. Without the variable
 * nothing happens.
 */

/** Moments at which a run can be hit: a training step, the copy for a save, and what the file system is asked to do. */
export type Phase = 'step' | 'snapshot' | 'write' | 'fsync' | 'link' | 'rename' | 'prune';

const [phase, count = '1', code = 'SIGKILL'] = (process.env.GROUND_FAULT ?? '').split(':');
let left = Number(count);

/** Marks that the process is about to do what `at` says. Throws what the file system would where a test asks for it. */
export function reach(at: Phase): void {
  if (at !== phase || (count !== '*' && --left !== 0)) return;
  if (code.startsWith('SIG')) process.kill(process.pid, code);
  else throw Object.assign(new Error(`${code}: injected by GROUND_FAULT`), { code });
}
