#!/usr/bin/env node
/**
 * Makes a fresh clone runnable, then runs what was asked for: `node scripts/bootstrap.mjs test|demo|ablation [arguments]`.
 * Installs the npm packages when they are missing or older than the lock file, builds, and sets up libtensorflow
 * (except with `--engine wasm`). Plain JavaScript without imports from npm: nothing is installed when it starts.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const [target, ...rest] = process.argv.slice(2);

/** Runs a command with this terminal; returns its exit code. */
function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (error) {
    console.error(`error: ${command} could not be started: ${error.message}`);
    return 1;
  }
  return status ?? 1;
}

/** Runs a command and ends this program with its exit code when it fails. */
function must(command, args) {
  const code = run(command, args);
  if (code !== 0) process.exit(code);
}

function newerThan(a, b) {
  return !existsSync(b) || statSync(a).mtimeMs > statSync(b).mtimeMs;
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 11)) {
  console.error(`error: ground needs Node 20.11 or newer, this is ${process.versions.node}`);
  process.exit(1);
}
if (target !== 'test' && target !== 'demo' && target !== 'ablation') {
  console.error('usage: node scripts/bootstrap.mjs test|demo|ablation [arguments]');
  process.exit(2);
}

const installed = `${ROOT}/node_modules/.package-lock.json`;
if (newerThan(`${ROOT}/package-lock.json`, installed)) must('npm', ['ci', '--no-audit', '--no-fund']);
must(process.execPath, [`${ROOT}/node_modules/typescript/bin/tsc`, '-p', 'tsconfig.build.json']);

const engine = rest[rest.indexOf('--engine') + 1];
const wantsWasm = (rest.includes('--engine') && engine === 'wasm') || rest.includes('--engine=wasm');
if (!wantsWasm) {
  const code = run(process.execPath, ['dist/cli/main.js', 'setup']);
  if (code !== 0 && target !== 'test') {
    console.error(
      `\nlibtensorflow could not be set up. Without it: npm run ${target} -- --engine wasm (slower)`,
    );
    process.exit(code);
  }
  if (code !== 0)
    console.error('\nwarning: libtensorflow could not be set up; the tests run on wasm alone\n');
}

if (target === 'test') {
  must(process.execPath, ['node_modules/@biomejs/biome/bin/biome', 'check', '.']);
  must(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']);
  must(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...rest]);
} else {
  must(process.execPath, ['--import', 'tsx', `scripts/${target}.ts`, ...rest]);
}
