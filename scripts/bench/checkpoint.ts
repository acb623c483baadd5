/**
 * How fast checkpoints are written and read, against what the disk does with one big file in the same run, in alternating
 * pairs; and for how long training of the tiny recipe stands still for a save.
 * Usage: npm run bench:checkpoint [-- --mb 512 --rounds 7 --dir DIR]
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { CheckpointContent, NamedArraySource } from '../../src/train/checkpoint.ts';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { loadCheckpoint } from '../../src/train/reading.ts';
import { measurePauses } from './pause.ts';

const { values: flags } = parseArgs({
  options: {
    mb: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '7' },
    dir: { type: 'string', default: tmpdir() },
  },
});
/** A matrix of a language model of middling size, 16 MiB. */
const SIDE = 2048;
const ROUNDS = Number(flags.rounds);
/** Bytes of one call where one big file is written or read. */
const PIECE = 2 ** 24;
const SAVES = 12;
const folder = mkdtempSync(join(flags.dir, 'ground-bench-'));

/** A third of the bytes each: weights, and both moments. */
function content(): CheckpointContent {
  const count = Math.max(1, Math.round((Number(flags.mb) * 2 ** 20) / 3 / (4 * SIDE * SIDE)));
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

/** One file of as many bytes, flushed; from a buffer that stays in the processor's cache, which favours it. */
async function writeRaw(path: string, bytes: number): Promise<void> {
  const piece = new Uint8Array(PIECE).fill(7);
  const file = await open(path, 'w');
  for (let at = 0; at < bytes; at += PIECE) await file.write(piece, 0, Math.min(PIECE, bytes - at), at);
  await file.sync();
  await file.close();
}

/** One file, into a buffer that stays in the cache, or (`kept`) into memory of its own, as loading has to. */
async function readRaw(path: string, bytes: number, kept: boolean): Promise<void> {
  const memory = new Uint8Array(kept ? bytes : PIECE);
  const file = await open(path, 'r');
  for (let at = 0; at < bytes; at += PIECE) {
    await file.read(memory, kept ? at : 0, Math.min(PIECE, bytes - at), at);
  }
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

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

const whole = content();
const raw = join(folder, 'raw');
const times = {
  writeRaw: [] as number[],
  save: [] as number[],
  readRaw: [] as number[],
  readKept: [] as number[],
  load: [] as number[],
};
try {
  // Both write new files: what an earlier round left is deleted outside of the clock.
  let { path, bytes } = await saveCheckpoint(folder, whole);
  let cold = false;
  for (let round = 0; round < ROUNDS; round++) {
    await rm(raw, { force: true });
    times.writeRaw.push(await seconds(() => writeRaw(raw, bytes)));
    await rm(path, { recursive: true });
    times.save.push(
      await seconds(async () => {
        ({ path, bytes } = await saveCheckpoint(folder, whole));
      }),
    );
    cold = forgetFiles();
    times.readRaw.push(await seconds(() => readRaw(raw, bytes, false)));
    forgetFiles();
    times.readKept.push(await seconds(() => readRaw(raw, bytes, true)));
    forgetFiles();
    times.load.push(await seconds(() => loadCheckpoint(path)));
  }
  const rows = [
    ['write', 'one file', times.writeRaw, times.save],
    ['read', 'one file', times.readRaw, times.load],
    ['read', 'one file into new memory', times.readKept, times.load],
  ] as const;
  console.log(
    `${(bytes / 1e6).toFixed(0)} MB, ${ROUNDS} pairs, read from ${cold ? 'the disk' : 'memory'}; load ${loadavg()[0]?.toFixed(1)}`,
  );
  const rate = (time: number): string => (bytes / 1e6 / time).toFixed(0);
  for (const [what, against, theirs, ours] of rows) {
    const share = ((100 * median(theirs)) / median(ours)).toFixed(0);
    const best = ((100 * Math.min(...theirs)) / Math.min(...ours)).toFixed(0);
    console.log(
      `${what}: ${against} ${rate(median(theirs))} MB/s, checkpoint ${rate(median(ours))} MB/s: ${share} % ` +
        `(best of each: ${rate(Math.min(...theirs))}, ${rate(Math.min(...ours))}: ${best} %)`,
    );
  }
  for (const stage of [0, 1, 2, 3]) {
    const { bytes: size, seconds: pauses } = await measurePauses(stage, SAVES, folder);
    const ms = (s: number): string => (1000 * s).toFixed(1);
    console.log(
      `tiny recipe, stage ${stage}: ${(size / 1e6).toFixed(1)} MB, training stands still for ${ms(median(pauses))} ms ` +
        `(median of ${SAVES}; longest ${ms(Math.max(...pauses))})`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
