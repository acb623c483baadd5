#!/usr/bin/env node
import { exitQuietlyOnClosedPipe, runProgram } from './context.ts';
import { buildProgram } from './program.ts';

exitQuietlyOnClosedPipe();
const args = process.argv.slice(2);
process.exitCode = await runProgram(await buildProgram(args), args);
// After a failure a worker thread may still be waiting for work: do not let it hold the process.
if (process.exitCode !== 0) setTimeout(() => process.exit(), 2000).unref();
