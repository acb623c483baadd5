/**
 * Images per second through decode, resize, normalise, tokenise and collate: `ground`'s loader against a PyTorch DataLoader
 * with Pillow on the same files, the sides taking turns. Images are decoded afresh on both sides.
 * Usage: npm run bench:loader [-- --workers 1,2 --pairs 5 --shape clip-336 --json]. GROUND_PYTHON names a Python with torch,
 * numpy, PIL and tokenizers; without one our side alone is measured.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import type { LoaderOptions, openLoader } from '../../src/data/loader.ts';
import {
  CLIP_NORMALISATION,
  IMAGENET_NORMALISATION,
  type Normalisation,
  normaliseInto,
} from '../../src/data/normalise.ts';
import { prepareViews } from '../../src/data/sample.ts';
import { loadTokenizer } from '../../src/data/tokenizer.ts';
import { findPython } from '../../test/helpers/python.ts';
import { type BenchData, modelOf, stageOf, writeData } from './loader-data.ts';
import { type LoaderSpec, readSpec, SPEC_FILE } from './spec.ts';

/** Worker threads run compiled code only. */
const COMPILED = new URL('../../dist/data/loader.js', import.meta.url);

const runSchema = z.object({ images: z.number(), seconds: z.number(), cpu: z.number() });
type Run = z.infer<typeof runSchema>;

async function measureOurs(spec: LoaderSpec, shape: string, workers: number, folder: string): Promise<Run> {
  const module: { openLoader: typeof openLoader } = await import(COMPILED.href);
  const options: LoaderOptions = {
    model: modelOf(spec, shape),
    stage: stageOf(spec, folder),
    workers,
    // What PyTorch's prefetch_factor is unless told otherwise.
    prefetch: 2 * workers,
    cacheBytes: 1,
  };
  const loader = await module.openLoader(options);
  for (let i = 0; i < spec.warmup_steps; i++) loader.recycle((await loader.next()).batches);
  const [cpu, began] = [process.cpuUsage(), performance.now()];
  let images = 0;
  for (let i = 0; i < spec.steps; i++) {
    const { batches } = await loader.next();
    for (const batch of batches) images += batch.size;
    loader.recycle(batches);
  }
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await loader.close();
  return { images, seconds, cpu: (user + system) / 1e6 };
}

/** The Python side, which answers a line with a line. */
class Python {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor(python: string, folder: string) {
    const script = fileURLToPath(new URL('loader.py', import.meta.url));
    this.#process = spawn(python, [script, folder, SPEC_FILE]);
    this.#process.stderr.pipe(process.stderr);
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  async read(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done) throw new Error('the Python side ended');
    return JSON.parse(line.value);
  }

  ask(command: object): Promise<unknown> {
    this.#process.stdin.write(`${JSON.stringify(command)}\n`);
    return this.read();
  }

  close(): void {
    this.#process.stdin.end();
  }
}

const summarySchema = z.array(
  z.object({ values: z.array(z.number()), count: z.number(), ids: z.array(z.number()) }),
);

/** Throws where the two sides do not make the same pixels and token ids of the same rows. */
async function checkSameWork(
  spec: LoaderSpec,
  shape: string,
  { records, tokens }: BenchData,
  python: Python,
): Promise<void> {
  const model = modelOf(spec, shape);
  const rows = spec.sizes.map((_, row) => row);
  const theirs = summarySchema.parse(await python.ask({ do: 'verify', shape, rows }));
  const context = {
    model,
    tokenizer: loadTokenizer(model.tokenizer),
    views: 'global+local',
    seed: 0,
  } as const;
  for (const [row, { values, count, ids }] of theirs.entries()) {
    const { global, tiles } = await prepareViews(records[row]!, context);
    const floats = new Float32Array(global.length + tiles.length);
    const plane = model.image.side ** 2;
    const end = normaliseInto(floats, 0, global, plane, CLIP_NORMALISATION);
    normaliseInto(floats, end, tiles, plane, IMAGENET_NORMALISATION);
    const every = Math.max(Math.floor(floats.length / 1000), 1);
    const worst = Math.max(...values.map((value, i) => Math.abs(value - floats[i * every]!)));
    if (count !== floats.length || !(worst < 1e-5)) {
      throw new Error(`${shape}, row ${row}: ${count} and ${floats.length} values, differing by ${worst}`);
    }
    if (JSON.stringify(ids) !== JSON.stringify(tokens[row])) {
      throw new Error(
        `${shape}, row ${row}: ${ids.length} and ${tokens[row]?.length} token ids, not the same`,
      );
    }
  }
}

function checkNormalisation(spec: LoaderSpec): void {
  const pairs: readonly (readonly [Normalisation, LoaderSpec['global']])[] = [
    [CLIP_NORMALISATION, spec.global],
    [IMAGENET_NORMALISATION, spec.local],
  ];
  if (pairs.some(([a, b]) => JSON.stringify([a.mean, a.std]) !== JSON.stringify([b.mean, b.std]))) {
    throw new Error(`${SPEC_FILE} normalises otherwise than src/data/image.ts`);
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

interface Side {
  readonly imagesPerSecond: number;
  /** Milliseconds of processor time an image takes, all threads and processes together. */
  readonly cpuPerImage: number;
}

function sideOf(runs: readonly Run[]): Side {
  return {
    imagesPerSecond: median(runs.map(({ images, seconds }) => images / seconds)),
    cpuPerImage: median(runs.map(({ images, cpu }) => (cpu * 1000) / images)),
  };
}

interface Result {
  readonly shape: string;
  readonly workers: number;
  readonly ground: Side;
  readonly pytorch: Side | null;
  /** Median of the pairs' ratios of images per second. */
  readonly ratio: number | null;
}

async function compare(
  spec: LoaderSpec,
  shape: string,
  workers: number,
  pairs: number,
  folder: string,
  python: Python | null,
): Promise<Result> {
  const ours: Run[] = [];
  const theirs: Run[] = [];
  for (let i = 0; i < pairs; i++) {
    ours.push(await measureOurs(spec, shape, workers, folder));
    if (python) theirs.push(runSchema.parse(await python.ask({ do: 'run', shape, workers })));
  }
  const speed = ({ images, seconds }: Run) => images / seconds;
  return {
    shape,
    workers,
    ground: sideOf(ours),
    pytorch: python ? sideOf(theirs) : null,
    ratio: python ? median(ours.map((run, i) => speed(run) / speed(theirs[i]!))) : null,
  };
}

function print({ shape, workers, ground, pytorch, ratio }: Result): void {
  const side = (name: string, { imagesPerSecond, cpuPerImage }: Side) =>
    `${name} ${imagesPerSecond.toFixed(1)} images/s (${cpuPerImage.toFixed(2)} ms of processor an image)`;
  const other = pytorch ? `, ${side('PyTorch', pytorch)}: ${ratio?.toFixed(2)} times` : '';
  console.log(
    `${shape}, ${workers} ${workers === 1 ? 'worker' : 'workers'}: ${side('ground', ground)}${other}`,
  );
}

const { values } = parseArgs({
  options: {
    workers: { type: 'string', default: String(Math.min(availableParallelism(), 4)) },
    pairs: { type: 'string', default: '5' },
    shape: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
if (!existsSync(COMPILED)) {
  console.error('error: dist/ is missing\nhint: npm run build');
  process.exit(1);
}
const spec = readSpec();
checkNormalisation(spec);
const shapes = values.shape === undefined ? Object.keys(spec.shapes) : [values.shape];
const found = findPython(['torch', 'numpy', 'PIL', 'tokenizers']);
const folder = await mkdtemp(join(tmpdir(), 'ground-bench-'));
try {
  const data = await writeData(spec, folder);
  const python = found === undefined ? null : new Python(found, folder);
  const versions = (await python?.read()) ?? null;
  if (!python && !values.json) {
    console.log('no Python with torch, numpy, PIL and tokenizers (GROUND_PYTHON): measuring our side alone');
  }
  const results: Result[] = [];
  for (const shape of shapes) {
    if (python) await checkSameWork(spec, shape, data, python);
    for (const workers of values.workers.split(',').map(Number)) {
      const result = await compare(spec, shape, workers, Number(values.pairs), folder, python);
      results.push(result);
      if (!values.json) print(result);
    }
  }
  python?.close();
  if (values.json) {
    console.log(
      JSON.stringify(
        { cores: availableParallelism(), node: process.version, versions, spec, results },
        null,
        2,
      ),
    );
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
