/**
 * How fast checkpoints are written and read, against what the disk does with one big file in the same run, in alternating
 * pairs: first each file is taken out of memory before it is read, then it is read from memory. And for how long training of
 * the tiny recipe stands still for a save.
 * Usage: npm run bench:checkpoint [-- --mb 512 --rounds 7 --dir DIR --parts write,read,pauses]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { open, readdir, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { CheckpointContent, NamedArraySource } from '../../src/train/checkpoint.ts';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { loadCheckpoint } from '../../src/train/reading.ts';
import { evict, fetchedBytes } from './disk.ts';
import { measurePauses } from './pause.ts';
import { median, medianRatio } from './side.ts';

const { values: flags } = parseArgs({
  options: {
    mb: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '7' },
    dir: { type: 'string', default: tmpdir() },
    parts: { type: 'string', default: 'write,read,pauses' },
  },
});
/** A matrix of a language model of middling size, 16 MiB. */
const SIDE = 2048;
const ROUNDS = Number(flags.rounds);
/** Bytes of one call where one big file is written or read. */
const PIECE = 2 ** 24;
const SAVES = 12;
const PARTS = flags.parts.split(',');
const folder = mkdtempSync(join(flags.dir, 'ground-bench-'));
setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

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

/** What one side of the comparison does, and what each of its runs took. */
class Contender {
  readonly name: string;
  readonly seconds: number[] = [];
  /** Of all cores. */
  readonly processorSeconds: number[] = [];
  /** Share of the bytes that a disk had to fetch; NaN where nobody counts. */
  readonly fetched: number[] = [];
  readonly #work: () => Promise<unknown>;

  constructor(name: string, work: () => Promise<unknown>) {
    this.name = name;
    this.#work = work;
  }

  async run(bytes: number): Promise<void> {
    // What earlier runs left is not given back on this one's time: the second call waits for the sweeping of the first.
    collectGarbage();
    collectGarbage();
    const fetched = fetchedBytes();
    const used = process.cpuUsage();
    const began = performance.now();
    await this.#work();
    this.seconds.push((performance.now() - began) / 1000);
    const { user, system } = process.cpuUsage(used);
    this.processorSeconds.push((user + system) / 1e6);
    this.fetched.push(((fetchedBytes() ?? Number.NaN) - (fetched ?? 0)) / bytes);
  }
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

/** Rates of the disk's side and of ours, and the median of the pairs' ratios. */
function compare(what: string, theirs: Contender, ours: Contender, bytes: number): void {
  const rate = (time: number): string => (bytes / 1e6 / time).toFixed(0);
  const percent = (ratio: number): string => `${(100 * ratio).toFixed(0)} %`;
  const [theirBest, ourBest] = [Math.min(...theirs.seconds), Math.min(...ours.seconds)];
  const cores = (side: Contender): string => `${(1000 * median(side.processorSeconds)).toFixed(0)} ms`;
  console.log(
    `${what}: ${theirs.name} ${rate(median(theirs.seconds))} MB/s, checkpoint ${rate(median(ours.seconds))} MB/s: ` +
      `${percent(medianRatio(theirs.seconds, ours.seconds))} (best of each: ${rate(theirBest)}, ${rate(ourBest)}: ` +
      `${percent(theirBest / ourBest)}; processor time ${cores(theirs)}, ${cores(ours)})`,
  );
}

/** Runs each once per round; who begins changes from round to round. */
async function alternate(
  contenders: readonly Contender[],
  bytes: number,
  before: () => Promise<void>,
): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < contenders.length; i++) {
      await before();
      await contenders[(round + i) % contenders.length]?.run(bytes);
    }
  }
}

async function benchWrite(whole: CheckpointContent, path: string, raw: string, bytes: number): Promise<void> {
  const theirs = new Contender('one file', () => writeRaw(raw, bytes));
  const ours = new Contender('', () => saveCheckpoint(folder, whole));
  for (let round = 0; round < ROUNDS; round++) {
    // Both write new files: what an earlier round left is deleted outside of the clock.
    await rm(raw, { force: true });
    await theirs.run(bytes);
    await rm(path, { recursive: true });
    await ours.run(bytes);
  }
  compare('write', theirs, ours, bytes);
}

async function benchRead(path: string, raw: string, bytes: number): Promise<void> {
  await writeRaw(raw, bytes);
  const files = [raw, ...(await readdir(path)).map(name => join(path, name))];
  const contenders = (): [Contender, Contender, Contender] => [
    new Contender('one file', () => readRaw(raw, bytes, false)),
    new Contender('one file into new memory', () => readRaw(raw, bytes, true)),
    new Contender('', () => loadCheckpoint(path)),
  ];
  const problem = evict(files);
  if (problem === undefined) {
    const [plain, kept, ours] = contenders();
    await alternate([plain, kept, ours], bytes, async () => {
      evict(files);
    });
    const fetched = Math.min(...plain.fetched, ...kept.fetched, ...ours.fetched);
    const share = `at least ${(100 * fetched).toFixed(0)} % of the bytes of each run`;
    console.log(
      Number.isNaN(fetched)
        ? 'read: whether the files left memory is not known, as this system does not count what a disk fetches'
        : `read: the disk fetched ${share}${fetched < 0.9 ? ', so that the next two lines are NOT of a disk' : ''}`,
    );
    compare('read, evicted', plain, ours, bytes);
    compare('read, evicted', kept, ours, bytes);
  } else {
    console.log(
      `read: files cannot be taken out of memory here, so that nothing is known of the disk: ${problem}`,
    );
  }
  const [plain, kept, ours] = contenders();
  // The first round of all would come from the disk.
  for (const contender of contenders()) await contender.run(bytes);
  await alternate([plain, kept, ours], bytes, async () => undefined);
  compare('read, from memory', plain, ours, bytes);
  compare('read, from memory', kept, ours, bytes);
}

async function benchPauses(): Promise<void> {
  for (const stage of [0, 1, 2, 3]) {
    const { bytes: size, seconds: pauses } = await measurePauses(stage, SAVES, folder);
    const ms = (s: number): string => (1000 * s).toFixed(1);
    console.log(
      `tiny recipe, stage ${stage}: ${(size / 1e6).toFixed(1)} MB, training stands still for ${ms(median(pauses))} ms ` +
        `(median of ${SAVES}; longest ${ms(Math.max(...pauses))})`,
    );
  }
}

try {
  if (PARTS.includes('write') || PARTS.includes('read')) {
    const whole = content();
    const raw = join(folder, 'raw');
    const { path, bytes } = await saveCheckpoint(folder, whole);
    console.log(`${(bytes / 1e6).toFixed(0)} MB, ${ROUNDS} pairs; load ${loadavg()[0]?.toFixed(1)}`);
    if (PARTS.includes('write')) await benchWrite(whole, path, raw, bytes);
    if (PARTS.includes('read')) await benchRead(path, raw, bytes);
  }
  if (PARTS.includes('pauses')) await benchPauses();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
