import { spawnSync } from 'node:child_process';

/**
 * A Python that can import all of `modules`, or undefined: tests against reference implementations are skipped without one.
 * GROUND_PYTHON names the interpreter; otherwise `python3` and `python` on the PATH are tried.
 */
export function findPython(modules: readonly string[]): string | undefined {
  const named = process.env.GROUND_PYTHON;
  const candidates = named === undefined ? ['python3', 'python'] : [named];
  return candidates.find(python => {
    const probe = spawnSync(python, ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' });
    return probe.status === 0;
  });
}

/** Runs a script with arguments and returns what it printed. Throws with its complaint when it fails. */
export function runPython(python: string, script: string, args: readonly string[] = []): string {
  const result = spawnSync(python, ['-c', script, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.status !== 0) throw new Error(`python failed: ${result.stderr}`);
  return result.stdout;
}
