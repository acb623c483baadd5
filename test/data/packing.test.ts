import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Candidates, type LoaderStage, openCandidates } from '../../src/data/candidates.ts';
import { sourceNames } from '../../src/data/ledger.ts';
import { Packer } from '../../src/data/packer.ts';
import type { LoaderPosition, PlanPosition } from '../../src/data/plan.ts';
import { Planner } from '../../src/data/planner.ts';
import { openProducer, type ProducedStep, type ProducerOptions } from '../../src/data/producer.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import type { RecordSource } from '../../src/data/rows.ts';
import { GroundError } from '../../src/errors.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { digestOf } from './digest.ts';
import { box, model, randomRecord, sourceOf } from './loader-records.ts';
import { killedOptions, openKilled } from './packing-killed.ts';

describe('the packer', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 40, maxLength: 90 });
  const streamOf = (samples: readonly { length: number }[]) => {
    let next = 0;
    return async () => ({ ...samples[next % samples.length]!, number: next++ });
  };

  it('puts every sample into one row that it fits, none waits for ever, and little is left empty', async () => {
    await fc.assert(
      fc.asyncProperty(lengths, fc.integer({ min: 1, max: 4 }), async (given, rows) => {
        const packer = new Packer<{ length: number; number: number }>({ rows, length: 100, window: 8 });
        const draw = streamOf(given.map(length => ({ length })));
        const seen: number[] = [];
        let used = 0;
        for (let i = 0; i < 20; i++) {
          const oldest = packer.waiting[0]?.number;
          const packed = await packer.next(draw);
          expect(packed).toHaveLength(rows);
          for (const row of packed) {
            const length = row.reduce((sum, sample) => sum + sample.length, 0);
            expect(length).toBeLessThanOrEqual(100);
            used += length;
          }
          const numbers = packed.flat().map(({ number }) => number);
          if (oldest !== undefined) expect(numbers).toContain(oldest);
          seen.push(...numbers);
          expect(packer.waiting).toHaveLength(8);
        }
        seen.push(...packer.waiting.map(({ number }) => number));
        expect(seen.sort((a, b) => a - b)).toEqual(seen.map((_, i) => i));
        // First fit with eight to choose from: a row is left when nothing that waits fits it.
        expect(used / (20 * rows * 100)).toBeGreaterThan(0.6);
      }),
      { numRuns: 30 },
    );
  });

  it('goes on from who waits', async () => {
    const samples = Array.from({ length: 50 }, (_, i) => ({ length: 1 + ((i * 17) % 60) }));
    const shape = { rows: 2, length: 100, window: 5 };
    const draw = streamOf(samples);
    const packer = new Packer<{ length: number; number: number }>(shape);
    for (let i = 0; i < 3; i++) await packer.next(draw);
    const resumed = new Packer(shape, packer.waiting);
    const from = Math.max(...packer.waiting.map(({ number }) => number)) + 1;
    const stream = (first: number) => {
      let next = first;
      return async () => ({ ...samples[next % 50]!, number: next++ });
    };
    expect(await resumed.next(stream(from))).toEqual(await packer.next(stream(from)));
  });
});

describe('names of sources', () => {
  it('are as short as tells them apart', () => {
    const data = [
      { dataset: '/data/coco/train', task: 'rec', weight: 1 },
      { dataset: '/data/scenes/train', task: 'rec', weight: 1 },
      { dataset: '/data/scenes/train', task: 'rec', weight: 2 },
      { dataset: '/data/scenes/train/', task: 'caption', weight: 1 },
    ] as const;
    expect(sourceNames(data)).toEqual([
      'coco/train:rec',
      'scenes/train:rec',
      'scenes/train:rec#2',
      'scenes/train:caption',
    ]);
    expect(sourceNames(data.slice(1, 2))).toEqual(['train:rec']);
    expect(sourceNames([{ dataset: 'x', task: 'reg', weight: 1 }])).toEqual(['x:reg']);
  });
});

let records: ImageRecord[];
beforeAll(async () => {
  records = await Promise.all(Array.from({ length: 14 }, (_, i) => randomRecord(i, 1 + (i % 5))));
});

type Changed = Partial<Omit<LoaderStage, 'batch'>> & { batch?: Partial<LoaderStage['batch']> };

function stageOf({ batch, ...stage }: Changed = {}): LoaderStage {
  return {
    views: 'global+local',
    grounding_prompt: '',
    data: [
      { dataset: 'a', task: 'caption', weight: 2 },
      { dataset: 'b', task: 'dense-referring', weight: 1 },
      { dataset: 'a', task: 'scene-text', weight: 1 },
    ],
    batch: { samples: 2, accumulate: 1, ...batch },
    steps: 1000,
    seed: 7,
    ...stage,
  };
}

/** Datasets by name: a holds the first nine records, b the rest. */
const DATASETS: Readonly<Record<string, () => ImageRecord[]>> = {
  a: () => records.slice(0, 9),
  b: () => records.slice(9),
};
const open = async (name: string): Promise<RecordSource> => ({
  ...sourceOf(DATASETS[name]!()),
  placeOf: row => ({ shard: name, row }),
});

async function produce(
  options: Partial<ProducerOptions> & { stage: LoaderStage },
  steps: number,
  from = open,
) {
  const producer = await openProducer({ model, ...options }, from);
  const out: ProducedStep[] = [];
  for (let i = 0; i < steps; i++) out.push(await producer.next());
  await producer.close();
  return out;
}

const idsOf = (steps: readonly ProducedStep[]) =>
  steps.flatMap(step => step.batches.flatMap(batch => batch.sampleIds));
const throughJson = <T>(value: T): T => JSON.parse(JSON.stringify(value));

const MODES: Readonly<Record<string, Partial<LoaderStage['batch']>>> = {
  packing: { packing: { length: 300, window: 6 } },
  buckets: { bucket: { window: 12 } },
  neither: {},
};

describe.each(Object.entries(MODES))('plans with %s', (_, batch) => {
  const stage = () =>
    stageOf({
      batch: { ...batch, samples: batch.packing ? 1 : 2 },
      on_bad_sample: 'skip',
      data: [
        { dataset: 'a', task: 'caption', weight: 2 },
        { dataset: 'b', task: 'rec', weight: 1, rounds: 1 },
        { dataset: 'a', task: 'scene-text', weight: 1, rounds: 1 },
      ],
    });
  /** A row of each dataset damaged: found while planning. */
  const spoilt = async (name: string): Promise<RecordSource> => {
    const source = await open(name);
    return {
      ...source,
      read: async row => {
        const record = await source.read(row);
        if (row !== 3) return record;
        return { ...record, objects: record.objects.map(one => ({ ...one, box: box(0, 0, 999, 999) })) };
      },
    };
  };
  const digest = (value: unknown): string =>
    createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);

  const resumedSteps = batch.packing ? 1000 : 300;

  it(`stop anywhere and go on with the same ${resumedSteps} steps, over many epochs`, async () => {
    let candidates: Candidates | undefined;
    const plans = async (steps: number, position?: PlanPosition) => {
      candidates ??= await openCandidates({ model, stage: stage() }, spoilt);
      const planner = new Planner(candidates, position);
      const out: { digest: string; position: PlanPosition }[] = [];
      for (let i = 0; i < steps; i++) {
        const plan = await planner.next();
        out.push({ digest: digest(plan), position: plan.position });
      }
      return out;
    };
    const all = await plans(resumedSteps + 101);
    const last = all.at(-1)!.position;
    // Dozens of epochs of every source; a position stays small whatever its step.
    expect(Math.min(...last.taken)).toBeGreaterThan(5 * 9);
    expect(JSON.stringify(last).length).toBeLessThan(600);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 100 }), async done => {
        const resumed = await plans(resumedSteps, throughJson(all[done]!.position));
        const want = all.slice(done + 1, done + 1 + resumedSteps).map(step => step.digest);
        expect(resumed.map(step => step.digest)).toEqual(want);
      }),
      { numRuns: 2 },
    );
    await candidates?.close();
  });

  it('finish to the same batches from any position', async () => {
    const options = { stage: stageOf({ batch }) };
    const all = await produce(options, 24);
    for (const done of [0, 4, 9, 13]) {
      const position = throughJson(all[done]!.position);
      const resumed = await produce({ ...options, position }, 10);
      expect(resumed.map(digestOf)).toEqual(all.slice(done + 1, done + 11).map(digestOf));
      expect(resumed.map(step => step.served)).toEqual(all.slice(done + 1, done + 11).map(s => s.served));
    }
  });
});

describe('packing', () => {
  const batch = { packing: { length: 300, window: 6 } };

  it('fills rows of one length with text and images, shares as the weights say, little padding', async () => {
    const steps = await produce({ stage: stageOf({ batch }) }, 40);
    const kinds = new Set<string>();
    for (const { batches, padding } of steps) {
      const [only] = batches;
      if (only?.kind !== 'conversation') throw new Error('packed batches are conversations');
      expect([only.size, only.length]).toEqual([2, 300]);
      expect(only.packed?.segments.shape).toEqual([2, 300]);
      expect(only.sampleIds.length).toBeGreaterThan(3);
      const used = only.mask.data.reduce((sum, one) => sum + one, 0);
      expect(padding).toBeCloseTo(1 - used / 600, 10);
      kinds.add([...new Set(only.sampleIds.map(id => id.split('#')[1] === 'scene-text'))].sort().join());
    }
    expect(kinds).toContain('false,true');
    const mean = steps.reduce((sum, { padding }) => sum + padding, 0) / steps.length;
    const plain = await produce({ stage: stageOf({ batch: { samples: 4 } }) }, 40);
    const unpacked = plain.reduce((sum, { padding }) => sum + padding, 0) / plain.length;
    expect(mean).toBeLessThan(0.2);
    expect(mean).toBeLessThan(unpacked);
    const served = steps.at(-1)!.served;
    expect(served.map(({ name }) => name)).toEqual(['a:caption', 'b:dense-referring', 'a:scene-text']);
    const total = served.reduce((sum, { count }) => sum + count, 0);
    expect(total).toBe(idsOf(steps).length);
    for (const [i, share] of [0.5, 0.25, 0.25].entries()) {
      expect(Math.abs(served[i]!.count / total - share)).toBeLessThan(0.05);
    }
  });

  it('shows every record once an epoch', async () => {
    const data = [{ dataset: 'a', task: 'caption', weight: 1 }] as const;
    const steps = await produce({ stage: stageOf({ data, batch }) }, 8);
    const counts = new Map<string, number>();
    for (const id of idsOf(steps)) counts.set(id, (counts.get(id) ?? 0) + 1);
    // Six samples may still wait: no record is more than an epoch ahead of another.
    expect(Math.max(...counts.values()) - Math.min(...counts.values())).toBeLessThanOrEqual(2);
    expect(counts.size).toBe(9);
  });

  it('passes over what is longer than a row, with the reason', async () => {
    const long = records.map((record, i) =>
      i === 4 ? { ...record, captions: ['word '.repeat(400)] } : record,
    );
    const data = [{ dataset: 'a', task: 'caption', weight: 1 }] as const;
    const from = async () => ({
      ...sourceOf(long.slice(0, 9)),
      placeOf: (row: number) => ({ shard: 'a', row }),
    });
    const steps = await produce({ stage: stageOf({ data, batch }) }, 6, from);
    expect(steps.flatMap(step => step.skipped)[0]).toMatch(
      /^a:4#caption: \d+ tokens \(80 visual, \d+ text\) exceed the packed length 300$/,
    );
    expect(idsOf(steps)).not.toContain('a:4#caption');
    const short = stageOf({ data, batch: { packing: { length: 40 } } });
    await expect(produce({ stage: short }, 1, from)).rejects.toThrow(
      /none of the 9 records .* exceed the packed length 40\)/,
    );
  });
});

describe('buckets', () => {
  it('hold each drawn sample once, and pad less', async () => {
    const data = [{ dataset: 'a', task: 'scene-text', weight: 1 }] as const;
    const batch = { samples: 3 };
    const steps = await produce({ stage: stageOf({ data, batch: { ...batch, bucket: { window: 9 } } }) }, 6);
    const plain = await produce({ stage: stageOf({ data, batch }) }, 6);
    // Two windows, each one epoch of nine records.
    expect(idsOf(steps.slice(0, 3)).sort()).toEqual(idsOf(plain.slice(0, 3)).sort());
    expect(idsOf(steps.slice(3)).sort()).toEqual(idsOf(plain.slice(3)).sort());
    const padding = (all: readonly ProducedStep[]) => all.reduce((sum, step) => sum + step.padding, 0);
    expect(padding(steps)).toBeLessThan(padding(plain));
  });
});

describe('damaged samples', () => {
  const data = [
    { dataset: 'a', task: 'caption', weight: 1 },
    { dataset: 'b', task: 'rec', weight: 1 },
  ] as const;
  /** In a: row 2's image is cut off, row 5's box leaves the image, row 7 cannot be read. */
  const damaged = async (name: string): Promise<RecordSource> => {
    const source = await open(name);
    if (name === 'b') return source;
    return {
      ...source,
      read: async row => {
        const record = await source.read(row);
        if (row === 2) return { ...record, image: record.image.slice(0, 60) };
        if (row === 7) return { ...record, captions: ['a </s>'] };
        const objects = record.objects.map(one => ({ ...one, box: box(500, 500, 510, 510) }));
        return row === 5 ? { ...record, objects } : record;
      },
    };
  };
  const skipping = (change: Changed = {}) => stageOf({ data, on_bad_sample: 'skip', ...change });

  it.each(Object.entries(MODES))(
    'are replaced, logged, counted once, and the same after a resume: %s',
    async (_, batch) => {
      const stage = skipping({ batch });
      const all = await produce({ stage }, 30, damaged);
      const ids = idsOf(all);
      for (const row of [2, 5, 7]) expect(ids).not.toContain(`a:${row}#caption`);
      const skipped = all.flatMap(step => step.skipped);
      expect(skipped.find(line => line.includes('a:2'))).toMatch(
        /^bad sample skipped: a, a:2: image record-2 cannot be decoded: .* \(\d of at most 100\)$/,
      );
      expect(skipped.find(line => line.includes('a:5'))).toMatch(/a, a:5: record-5, object 0: box .* leaves/);
      expect(skipped.find(line => line.includes('a:7'))).toMatch(
        /a, a:7#caption: text holds the special token/,
      );
      expect(all.at(-1)!.position.bad?.toSorted()).toEqual([
        [0, 2],
        [0, 5],
        [0, 7],
      ]);
      const last = all.at(-1)!.served;
      expect(last.reduce((sum, { count }) => sum + count, 0)).toBe(ids.length);
      for (const done of [0, 3, 11]) {
        const position = throughJson(all[done]!.position);
        const resumed = await produce({ stage, position }, 15, damaged);
        expect(resumed.map(digestOf)).toEqual(all.slice(done + 1, done + 16).map(digestOf));
      }
    },
  );

  it('leave the sizes of batches as they were', async () => {
    for (const { batches } of await produce({ stage: skipping() }, 20, damaged)) {
      expect(batches.map(({ size }) => size)).toEqual([2]);
    }
  });

  it('end the run by default, and beyond the limit', async () => {
    await expect(produce({ stage: stageOf({ data }) }, 30, damaged)).rejects.toThrow(/^a, a:\d/);
    const message = /^3 damaged samples, more than bad_sample_limit 2; the last: a, a:\d/;
    await expect(produce({ stage: skipping({ bad_sample_limit: 2 }) }, 30, damaged)).rejects.toThrow(message);
    const [step] = await produce({ stage: skipping({ bad_sample_limit: 3 }) }, 30, damaged);
    expect(step?.batches).toHaveLength(1);
    // What a resumed run met before counts on.
    const few = await produce({ stage: skipping({ bad_sample_limit: 3 }) }, 30, damaged);
    const position = few.at(-1)!.position;
    expect(position.bad).toHaveLength(3);
    await expect(
      produce({ stage: skipping({ bad_sample_limit: 2 }), position }, 30, damaged),
    ).rejects.toThrow(/more than bad_sample_limit 2/);
  });

  it('of contrastive data are replaced too', async () => {
    const stage = skipping({ data: [{ dataset: 'a', task: 'contrastive', weight: 1 }] });
    const steps = await produce({ stage }, 12, damaged);
    expect(idsOf(steps)).not.toContain('a:2#contrastive');
    for (const { batches } of steps) expect(batches[0]?.size).toBe(2);
    expect(steps.flatMap(step => step.skipped).join('\n')).toMatch(
      /a, a:2: image record-2 cannot be decoded/,
    );
  });

  it('stop the run where no sound one is left', async () => {
    const none = async (name: string): Promise<RecordSource> => {
      const source = await open(name);
      return { ...source, read: async row => ({ ...(await source.read(row)), image: new Uint8Array(9) }) };
    };
    await expect(produce({ stage: skipping() }, 1, none)).rejects.toThrow(
      /no sample of a batch is sound; the last: [ab], [ab]:\d/,
    );
  });

  it('are no reason to go on where the disk fails', async () => {
    const broken = async (name: string): Promise<RecordSource> => {
      const source = await open(name);
      return {
        ...source,
        read: async row => {
          if (row === 1) throw new GroundError('io', 'no such device');
          return source.read(row);
        },
      };
    };
    await expect(produce({ stage: skipping() }, 30, broken)).rejects.toThrow(/, [ab]:1: no such device/);
  });
});

describe('a process that is killed', () => {
  it('loses nothing but time: from its last position come the batches that it would have given', async () => {
    const file = join(temporaryFolder(), 'steps.jsonl');
    const script = join(import.meta.dirname, 'packing-writer.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', script, file], { stdio: 'ignore' });
    const ended = new Promise(resolve => child.on('exit', resolve));
    // What was written whole; the last line may be torn.
    const written = (): { digest: string; position: LoaderPosition }[] =>
      (existsSync(file) ? readFileSync(file, 'utf8') : '')
        .split('\n')
        .slice(0, -1)
        .map(line => JSON.parse(line));
    while (written().length < 60 && child.exitCode === null) {
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    child.kill('SIGKILL');
    await ended;
    const steps = written();
    expect(steps.length).toBeGreaterThanOrEqual(60);
    const stopped = steps[19]!.position;
    // Three epochs of the first source lie behind and ahead.
    expect(stopped.taken[0]).toBeGreaterThan(3 * 7);
    const resumed = await produce({ ...killedOptions, position: stopped }, 40, openKilled);
    expect(resumed.map(digestOf)).toEqual(steps.slice(20, 60).map(step => step.digest));
    const after = await produce({ ...killedOptions, position: steps.at(-1)!.position }, 20, openKilled);
    const whole = await produce(killedOptions, steps.length + 20, openKilled);
    expect(whole.map(digestOf)).toEqual([...steps.map(step => step.digest), ...after.map(digestOf)]);
  });
});

describe('questions and objects of a source', () => {
  it('are as many as its keys say', async () => {
    const crowded = [await randomRecord(1, 12)];
    const from = async () => sourceOf(crowded);
    const tokens = async (keys: object) => {
      const data = [{ dataset: 'a', task: 'reg', weight: 1, ...keys }] as const;
      const [step] = await produce({ stage: stageOf({ data, batch: { samples: 1 } }) }, 1, from);
      const [only] = step!.batches;
      if (only?.kind !== 'conversation') throw new Error('questions make conversations');
      return only.mask.data.reduce((sum, one) => sum + one, 0);
    };
    expect(await tokens({ rounds: 1 })).toBeLessThan(await tokens({}));
    expect(await tokens({ rounds: 4 })).toBe(await tokens({}));
    expect(await tokens({ rounds: 9 })).toBeGreaterThan(await tokens({}));
    const phrases = async (keys: object) => {
      const data = [{ dataset: 'a', task: 'contrastive', weight: 1, ...keys }] as const;
      const [step] = await produce({ stage: stageOf({ data, batch: { samples: 1 } }) }, 1, from);
      const [only] = step!.batches;
      if (only?.kind !== 'contrastive') throw new Error('a contrastive batch');
      return only.phraseClasses.data.filter(c => c >= 0).length;
    };
    expect(await phrases({})).toBe(10);
    expect(await phrases({ max_objects: 3 })).toBe(3);
  });
});
