/**
 * How fast checkpoints are written and read, against what the disk does with one big file in the same run; and for how
 * long training stands still while one is copied. `npx tsx scripts/bench/checkpoint.ts [--mb 512] [--dir DIR]`
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { CheckpointContent, NamedArraySource } from '../../src/train/checkpoint.ts';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { loadCheckpoint } from '../../src/train/reading.ts';
import { snapshot } from '../../src/train/weights.ts';

const { values: flags } = parseArgs({
  options: { mb: { type: 'string', default: '512' }, dir: { type: 'string', default: tmpdir() } },
});
const bytes = Number(flags.mb) * 2 ** 20;
/** A matrix of a language model of middling size, 16 MiB. */
const SIDE = 2048;
const ROUNDS = 9;
const folder = mkdtempSync(join(flags.dir, 'ground-bench-'));

/** A third of the bytes each: weights, and both moments. */
function content(): CheckpointContent {
  const count = Math.max(1, Math.round(bytes / 3 / (4 * SIDE * SIDE)));
  const arrays = (salt: number): Map<string, NamedArraySource> =>
    new Map(
      Array.from({ length: count }, (_, i) => [
        `llm.model.layers.${i}.mlp.up_proj.weight`,
        { shape: [SIDE, SIDE], data: new Float32Array(SIDE * SIDE).fill(salt + i) },
      ]),
    );
  return {
    state: {
      stage: 1,
      stageName: 'bench',
      step: 1,
      steps: 1,
      samples: 0,
      tokens: 0,
      updates: 1,
      seeds: {},
      loader: null,
      firstLoss: null,
      lastLosses: [],
    },
    model: arrays(1),
    optimizer: { m: arrays(1000), v: arrays(2000) },
    recipe: '',
    // Written as it is and read back by nobody here.
    modelConfig: { tokenizer: 'tokenizer.json' } as unknown as CheckpointContent['modelConfig'],
    tokenizer: new Uint8Array([123, 125]),
  };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** One file of the same size in big pieces, flushed. */
async function writeRaw(path: string): Promise<void> {
  const piece = new Uint8Array(2 ** 24).fill(7);
  const file = await open(path, 'w');
  for (let at = 0; at < bytes; at += piece.byteLength) await file.write(piece);
  await file.sync();
  await file.close();
}

async function readRaw(path: string): Promise<void> {
  const piece = new Uint8Array(2 ** 24);
  const file = await open(path, 'r');
  while ((await file.read(piece)).bytesRead > 0);
  await file.close();
}

/** Makes the next read come from the disk; false where this user may not. */
function forgetFiles(): boolean {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '1');
    return true;
  } catch {
    return false;
  }
}

/** Of repeated times the shortest: what else the machine does only ever adds. */
const shortest = (values: readonly number[]): number => Math.min(...values);

try {
  const whole = content();
  const raw = join(folder, 'raw');
  const times = { raw: [] as number[], save: [] as number[], readRaw: [] as number[], load: [] as number[] };
  const copies: number[] = [];
  let size = 0;
  let cold = false;
  // One after the other in each round, so that both meet the disk in the same mood.
  for (let round = 0; round < ROUNDS; round++) {
    times.raw.push(await seconds(() => writeRaw(raw)));
    times.save.push(
      await seconds(async () => {
        size = (await saveCheckpoint(folder, whole)).bytes;
      }),
    );
    cold = forgetFiles();
    times.readRaw.push(await seconds(() => readRaw(raw)));
    forgetFiles();
    times.load.push(await seconds(() => loadCheckpoint(join(folder, 'checkpoint-000001'))));
    copies.push(
      await seconds(async () => {
        await snapshot(whole.model);
        await snapshot(whole.optimizer.m);
        await snapshot(whole.optimizer.v);
      }),
    );
  }
  const rate = (of: readonly number[], amount: number): number => amount / 1e6 / shortest(of);
  const rows = [
    ['write', rate(times.raw, bytes), rate(times.save, size)],
    ['read', rate(times.readRaw, bytes), rate(times.load, size)],
  ] as const;
  process.stdout.write(
    `${(size / 1e6).toFixed(0)} MB, best of ${ROUNDS}, read from ${cold ? 'the disk' : 'memory'}\n`,
  );
  for (const [what, disk, ours] of rows) {
    process.stdout.write(
      `${what}: one file ${disk.toFixed(0)} MB/s, checkpoint ${ours.toFixed(0)} MB/s, ${((100 * ours) / disk).toFixed(0)} %\n`,
    );
  }
  process.stdout.write(`copy in memory: ${(1000 * shortest(copies)).toFixed(0)} ms\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
