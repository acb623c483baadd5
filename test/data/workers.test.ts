import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LoaderOptions, openLoader } from '../../src/data/loader.ts';
import type { LoaderPosition } from '../../src/data/plan.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { writeShards } from '../../src/data/shards.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { digestOf } from './digest.ts';
import { model, randomRecord } from './loader-records.ts';

interface Step {
  readonly digest: string;
  readonly position: LoaderPosition;
}

interface Outcome {
  readonly steps: readonly Step[];
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
}

// Node runs no TypeScript in worker threads: compile, and run the compiled loader in a process of its own.
const root = fileURLToPath(new URL('../..', import.meta.url));
let compiled: string;
let dataset: string;
let records: ImageRecord[];
let want: readonly Step[];

beforeAll(async () => {
  compiled = await mkdtemp(join(tmpdir(), 'ground-worker-'));
  await symlink(join(root, 'node_modules'), join(compiled, 'node_modules'));
  await writeFile(join(compiled, 'package.json'), '{"type": "module"}');
  const files = ['src/data/loader.ts', 'src/data/worker.ts', 'test/data/loader-worker.ts'];
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      rootDir: root,
      outDir: compiled,
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
    },
    include: [],
    files: files.map(file => join(root, file)),
  };
  await writeFile(join(compiled, 'tsconfig.json'), JSON.stringify(config));
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', compiled]);

  records = await Promise.all(Array.from({ length: 10 }, (_, i) => randomRecord(i, 1 + (i % 5))));
  dataset = join(compiled, 'dataset');
  await writeShards(records, dataset, { builder: 'test', source: {} });
  want = await inProcess(optionsOf(dataset), 36);
});
afterAll(() => rm(compiled, { recursive: true, force: true }));

function optionsOf(folder: string, stage: Partial<LoaderOptions['stage']> = {}): LoaderOptions {
  return {
    model,
    stage: {
      views: 'global+local',
      grounding_prompt: '',
      data: (['rec', 'scene-text', 'contrastive'] as const).map(task => ({
        dataset: folder,
        task,
        weight: 1,
      })),
      batch: { samples: 3, accumulate: 2 },
      steps: 1000,
      seed: 7,
      ...stage,
    },
  };
}

async function inProcess(options: LoaderOptions, steps: number): Promise<Step[]> {
  const loader = await openLoader({ ...options, workers: 0 });
  const taken: Step[] = [];
  for (let i = 0; i < steps; i++) {
    const step = await loader.next();
    taken.push({ digest: digestOf(step), position: step.position });
    loader.recycle(step.batches);
  }
  await loader.close();
  return taken;
}

function commandOf(work: object): string[] {
  const file = join(compiled, 'work.json');
  writeFileSync(file, JSON.stringify(work));
  return [join(compiled, 'test/data/loader-worker.js'), file];
}

/** `preload`: a CommonJS script that runs first, in the process and in its worker threads. */
function run(work: object, preload = ''): Outcome {
  const injected = join(compiled, 'preload.cjs');
  writeFileSync(injected, preload);
  const output = execFileSync(process.execPath, ['--require', injected, ...commandOf(work)], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const lines = output.trim().split('\n').filter(Boolean);
  return outcomeOf(lines);
}

function outcomeOf(lines: readonly string[]): Outcome {
  const parsed: (Step & Outcome)[] = lines.map(line => JSON.parse(line));
  const steps = parsed.flatMap(({ digest, position }) =>
    digest === undefined ? [] : [{ digest, position }],
  );
  const error = parsed.at(-1)?.error;
  return error ? { steps, error } : { steps };
}

describe('worker threads', () => {
  it.each([1, 2, 3])('give what the process itself gives, in order and to the bit (%i)', workers => {
    expect(new Set(want.map(({ digest }) => digest)).size).toBe(36);
    const options = optionsOf(dataset);
    expect(run({ ...options, workers, steps: 36, recycle: true })).toEqual({ steps: want });
  });

  it('go on from a position, one step ahead or many', () => {
    const { position } = want[20]!;
    const work = { ...optionsOf(dataset), workers: 3, prefetch: 1, steps: 6, position };
    expect(run(work)).toEqual({ steps: want.slice(21, 27) });
  });

  it('go on after kill -9 with batches prepared ahead as if nothing had been', async () => {
    const options = optionsOf(dataset);
    const child = spawn(process.execPath, commandOf({ ...options, workers: 2, prefetch: 6, steps: 10_000 }));
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      if (lines.length === 9) child.kill('SIGKILL');
    }
    const { steps } = outcomeOf(lines.slice(0, 9));
    expect(steps).toEqual(want.slice(0, 9));
    const { position } = steps.at(-1)!;
    expect(run({ ...options, workers: 2, steps: 27, position }).steps).toEqual(want.slice(9));
  });

  it('report what fails on opening as it would in process', () => {
    const nowhere = join(compiled, 'nowhere');
    const { error } = run({ ...optionsOf(nowhere), workers: 2, steps: 1 });
    expect(error).toMatchObject({ code: 'data', message: expect.stringContaining('nowhere') });
    const position = { step: 1, batches: 1, draws: { text: 0, visual: 3, contrastive: 0 }, taken: [3] };
    const other = run({ ...optionsOf(dataset), workers: 2, steps: 1, position });
    expect(other.error).toMatchObject({ code: 'config', message: expect.stringMatching(/1 data sources/) });
  });

  it('fail at the step of a damaged image, after all steps before it', async () => {
    const damaged = records.map((record, i) =>
      i === 6 ? { ...record, image: record.image.slice(0, 60) } : record,
    );
    const dir = temporaryFolder();
    await writeShards(damaged, dir, { builder: 'test', source: {} });
    const data = [{ dataset: dir, task: 'caption', weight: 1 }] as const;
    const options = optionsOf(dir, { data, batch: { samples: 2, accumulate: 1 } });
    const loader = await openLoader({ ...options, workers: 0 });
    const before: Step[] = [];
    const failure = await (async () => {
      for (;;) {
        const step = await loader.next();
        before.push({ digest: digestOf(step), position: step.position });
      }
    })().catch(thrown => thrown);
    const { steps, error } = run({ ...options, workers: 3, steps: 10 });
    expect(steps).toEqual(before);
    expect(error?.message).toBe(failure.message);
    expect(error?.message).toMatch(/shard-00000\.arrow:6: image record-6 cannot be decoded/);

    const skipping = optionsOf(dir, { ...options.stage, on_bad_sample: 'skip' });
    expect(run({ ...skipping, workers: 2, steps: 12 }).steps).toEqual(await inProcess(skipping, 12));
  });

  it('end the loader when one of them dies', () => {
    const dies = `
      const { isMainThread } = require('node:worker_threads');
      if (!isMainThread) setTimeout(() => process.exit(7), 700);`;
    const { error } = run({ ...optionsOf(dataset), workers: 2, steps: 1e6 }, dies);
    expect(error).toMatchObject({ code: 'data', message: 'a data worker stopped (exit code 7)' });
    expect(error?.hint).toMatch(/same command again/);
  });

  it('say so when they run out of memory', () => {
    const small = `
      const threads = require('node:worker_threads');
      threads.Worker = class extends threads.Worker {
        constructor(file, options) {
          super(file, { ...options, resourceLimits: { maxOldGenerationSizeMb: 6, maxYoungGenerationSizeMb: 1 } });
        }
      };
      require('node:module').syncBuiltinESMExports();`;
    const { error } = run({ ...optionsOf(dataset), workers: 1, steps: 1e6 }, small);
    expect(error).toMatchObject({ code: 'data', message: 'a data worker ran out of memory' });
    expect(error?.hint).toMatch(/--workers/);
  });

  it('are ended by close while a step is waited for', () => {
    const { steps, error } = run({ ...optionsOf(dataset), workers: 2, steps: 3, closeEarly: true });
    expect(steps).toEqual(want.slice(0, 3));
    expect(error?.message).toBe('the loader is closed');
  });
});
