import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { GroundError } from '../../errors.ts';
import { findProgram, runCommand } from './command.ts';

/** A program that setup needs and this machine lacks. */
export interface MissingTool {
  readonly what: string;
  readonly mend: string;
}

/** The tools that compile the addon. Nothing is run here, only looked for. */
export function missingBuildTools(env: NodeJS.ProcessEnv): MissingTool[] {
  const missing: MissingTool[] = [];
  if (!findCompiler(env)) {
    missing.push({ what: 'a C++ compiler (g++ or clang++)', mend: installCommand('g++', env) });
  }
  if (!findProgram(env.MAKE ?? 'make', env))
    missing.push({ what: 'make', mend: installCommand('make', env) });
  if (!findProgram(pythonName(env), env))
    missing.push({ what: 'python3', mend: installCommand('python3', env) });
  return missing;
}

/** The C++ compiler that node-gyp's makefiles will call. */
export function findCompiler(env: NodeJS.ProcessEnv): string | undefined {
  const name = env.CXX?.split(' ')[0];
  if (name !== undefined && name !== '') return findProgram(name, env);
  return findProgram('g++', env) ?? findProgram('c++', env) ?? findProgram('clang++', env);
}

/** The Python that node-gyp and pip run in; `PYTHON` names another one than python3. */
export function pythonName(env: NodeJS.ProcessEnv): string {
  return env.PYTHON !== undefined && env.PYTHON !== '' ? env.PYTHON : 'python3';
}

/** Throws one error that lists all that is missing. */
export function requireBuildTools(env: NodeJS.ProcessEnv): void {
  const missing = missingBuildTools(env);
  if (missing.length === 0) return;
  throw new GroundError('engine', `setup needs ${missing.map(tool => tool.what).join(', ')}`, {
    hint: [...new Set(missing.map(tool => tool.mend))].join('; '),
  });
}

/** Whether `python3 -m pip` works. */
export async function hasPip(env: NodeJS.ProcessEnv): Promise<boolean> {
  return (await runCommand(pythonName(env), ['-m', 'pip', '--version'], { env })).status === 0;
}

const PACKAGES: Record<string, Record<string, string>> = {
  'apt-get': { 'g++': 'g++', make: 'make', python3: 'python3', pip: 'python3-pip' },
  dnf: { 'g++': 'gcc-c++', make: 'make', python3: 'python3', pip: 'python3-pip' },
  apk: { 'g++': 'g++', make: 'make', python3: 'python3', pip: 'py3-pip' },
  brew: { 'g++': 'gcc', make: 'make', python3: 'python', pip: 'python' },
};

/** The command that installs a tool with this machine's package manager. */
export function installCommand(tool: string, env: NodeJS.ProcessEnv): string {
  const manager = Object.keys(PACKAGES).find(name => findProgram(name, env)) ?? 'apt-get';
  const verb = manager === 'apk' ? 'add' : 'install';
  return `${manager} ${verb} ${PACKAGES[manager]?.[tool] ?? tool}`;
}

/** The folder whose include/node holds the headers of the running Node, if they lie beside it: saves a download. */
export function nodeHeadersDir(execPath = process.execPath): string | undefined {
  const prefix = join(execPath, '..', '..');
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? prefix : undefined;
}
