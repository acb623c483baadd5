#!/usr/bin/env node
import { exitQuietlyOnClosedPipe, runProgram } from './context.ts';
import { buildProgram } from './program.ts';

exitQuietlyOnClosedPipe();
const args = process.argv.slice(2);
const code = await runProgram(await buildProgram(args), args);
// A command that did its work may have set 1 itself, for scripts that ask by the exit code (doctor).
if (code !== 0) process.exitCode = code;
// After a failure a worker thread may still be waiting for work: do not let it hold the process.
if (code !== 0) setTimeout(() => process.exit(), 2000).unref();
