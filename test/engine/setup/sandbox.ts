import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findInstalled } from '../../../src/engine/installed.ts';

/** The engine of this machine, whose parts stand in for what a real setup would build. Undefined without one. */
export const installed = findInstalled()[0];

/** The folder of this machine's libtensorflow. */
export const libraryDir = installed ? dirname(installed.libraries[0]?.path ?? '') : '';

/** python3 itself, where the one on the PATH may be a script that needs other programs. */
const PYTHON = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], {
  encoding: 'utf8',
}).trim();

/** A make that copies the engine of this machine instead of compiling one, and writes down that it was called. */
export const COPYING_MAKE = `mkdir -p build/Release && cp "$TEST_ENGINE"/*.node build/Release/ && echo make >> "$TEST_LOG"`;

/** A machine for setup to work on: its own PATH, cache and temporary folder. */
export interface Sandbox {
  readonly dir: string;
  readonly cache: string;
  readonly env: NodeJS.ProcessEnv;
  /** Puts a shell script on the PATH. */
  program(name: string, script: string): void;
  /** What the programs wrote to $TEST_LOG. */
  log(): string[];
  /** Folders and files in the cache and the temporary folder that a finished setup must not leave. */
  leftovers(): string[];
  remove(): void;
}

/** A sandbox with a C++ compiler and python3, and a make that copies. */
export function makeSandbox(cacheName = 'cache'): Sandbox {
  const dir = mkdtempSync(join(tmpdir(), 'ground-setup-test-'));
  const bin = join(dir, 'bin');
  const temp = join(dir, 'tmp');
  const cache = join(dir, cacheName, 'ground');
  for (const folder of [bin, temp]) mkdirSync(folder);
  const tmpBefore = process.env.TMPDIR;
  process.env.TMPDIR = temp;
  for (const name of ['sh', 'cp', 'mkdir', 'cat', 'sleep', 'tar', 'gzip', 'uname']) {
    const path = execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
    symlinkSync(path, join(bin, name));
  }
  symlinkSync(PYTHON, join(bin, 'python3'));
  const sandbox: Sandbox = {
    dir,
    cache,
    env: {
      PATH: bin,
      HOME: dir,
      TMPDIR: temp,
      XDG_CACHE_HOME: dirname(cache),
      TEST_ENGINE: dirname(installed?.addon.path ?? ''),
      TEST_LOG: join(dir, 'log'),
    },
    program(name, script) {
      const file = join(bin, name);
      rmSync(file, { force: true });
      writeFileSync(file, `#!/bin/sh\n${script}\n`);
      chmodSync(file, 0o755);
    },
    log() {
      try {
        return readFileSync(join(dir, 'log'), 'utf8').trim().split('\n');
      } catch {
        return [];
      }
    },
    leftovers() {
      const inCache = readdirSync(cache).filter(name => !/^(engine|libtensorflow)-/.test(name));
      return [...inCache, ...readdirSync(temp).filter(name => name.startsWith('ground-build-'))];
    },
    remove() {
      if (tmpBefore === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = tmpBefore;
      rmSync(dir, { recursive: true, force: true });
    },
  };
  sandbox.program('g++', 'exit 1');
  sandbox.program('make', COPYING_MAKE);
  return sandbox;
}

/** The real python3, for programs that pretend to be it in some respect. */
export const PYTHON_PATH = PYTHON;

/** Writes a zip archive of small files. */
export function writeWheel(file: string, contents: Readonly<Record<string, string>>): void {
  const script = `
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as archive:
    for name, text in json.loads(sys.argv[2]).items():
        archive.writestr(name, text)
`;
  execFileSync(PYTHON, ['-c', script, file, JSON.stringify(contents)]);
}
