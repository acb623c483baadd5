import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Loader, type LoaderOptions, openLoader, type StepBatches } from '../../src/data/loader.ts';
import { drawIndex } from '../../src/data/mixture.ts';
import { permute } from '../../src/data/permutation.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import type { TaskName } from '../../src/data/tasks/names.ts';
import type { Batch } from '../../src/models/batch.ts';
import { digestOf } from './digest.ts';
import { box, model, randomRecord, sourceOf } from './loader-records.ts';

let records: ImageRecord[];
beforeAll(async () => {
  records = await Promise.all(Array.from({ length: 10 }, (_, i) => randomRecord(i, 1 + (i % 5))));
});

interface Given {
  readonly tasks?: readonly TaskName[];
  readonly options?: Partial<LoaderOptions>;
  readonly stage?: Partial<LoaderOptions['stage']>;
  readonly from?: readonly ImageRecord[];
}

function optionsOf({ tasks = ['rec', 'reg', 'caption'], options, stage, from }: Given = {}): LoaderOptions {
  return {
    model,
    stage: {
      views: 'global+local',
      grounding_prompt: '',
      data: tasks.map(task => ({ dataset: 'memory', task, weight: 1 })),
      batch: { samples: 3, accumulate: 1 },
      steps: 1000,
      seed: 7,
      ...stage,
    },
    workers: 0,
    open: async () => sourceOf(from ?? records),
    ...options,
  };
}

async function take(loader: Loader, steps: number): Promise<Omit<StepBatches, 'waitSeconds' | 'queued'>[]> {
  const out = [];
  for (let i = 0; i < steps; i++) {
    const { waitSeconds, queued, ...step } = await loader.next();
    expect(waitSeconds).toBeGreaterThanOrEqual(0);
    expect(queued).toBe(0);
    out.push(step);
  }
  return out;
}

const idsOf = (steps: readonly { readonly batches: readonly Batch[] }[]) =>
  steps.flatMap(step => step.batches.flatMap(batch => batch.sampleIds));

describe('the shuffle', () => {
  it('is a bijection of any size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), fc.nat(), (size, seed) => {
        const seen = new Set(Array.from({ length: size }, (_, i) => permute(i, size, seed)));
        expect(seen.size).toBe(size);
        expect(Math.max(...seen)).toBe(size - 1);
      }),
      { numRuns: 60 },
    );
  });

  it('looks random, differs by seed, and needs no more than an index for a huge size', () => {
    const order = Array.from({ length: 1000 }, (_, i) => permute(i, 1000, 1));
    const fixed = order.filter((row, i) => row === i).length;
    const rising = order.filter((row, i) => i > 0 && row === order[i - 1]! + 1).length;
    expect(fixed).toBeLessThan(10);
    expect(rising).toBeLessThan(10);
    expect(order.filter(row => row < 500).length).toBe(500);
    const early = order.slice(0, 500).filter(row => row < 500).length;
    expect(Math.abs(early - 250)).toBeLessThan(60);
    expect(permute(0, 1000, 2)).not.toBe(order[0]);
    expect(permute(123, 2 ** 33, 1)).toBeLessThan(2 ** 33);
    expect(() => permute(5, 5, 1)).toThrow(/index 5 of 5/);
  });
});

describe('the mixture', () => {
  it('keeps the shares of the weights over any stretch of draws', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(9), { minLength: 1, maxLength: 5 }).filter(weights => weights.some(w => w > 0)),
        fc.nat(100_000),
        (weights, start) => {
          const total = weights.reduce((a, b) => a + b);
          const counts = weights.map(() => 0);
          for (let n = start; n < start + 500; n++) counts[drawIndex(weights, n, 'seed')]!++;
          weights.forEach((weight, i) => {
            expect(Math.abs(counts[i]! - (500 * weight) / total)).toBeLessThan(12);
            if (weight === 0) expect(counts[i]).toBe(0);
          });
        },
      ),
    );
    expect(() => drawIndex([0, 0], 1, 'seed')).toThrow(/positive weight/);
  });
});

describe('the loader', () => {
  it('shows every record once an epoch, in another order each time', async () => {
    const loader = await openLoader(
      optionsOf({ tasks: ['caption'], stage: { batch: { samples: 5, accumulate: 1 } } }),
    );
    const ids = idsOf(await take(loader, 6));
    const epochs = [ids.slice(0, 10), ids.slice(10, 20), ids.slice(20)];
    for (const epoch of epochs) {
      expect([...epoch].sort()).toEqual(records.map((_, i) => `memory:${i}#caption`).sort());
    }
    expect(epochs[0]).not.toEqual(epochs[1]);
    expect(epochs[1]).not.toEqual(epochs[2]);
  });

  it('draws a source during its part of the stage alone, from any position on', async () => {
    const parts = { caption: [0, 0.3], rec: [0.3, 1], reg: [0.5, 0.75], contrastive: [0, 1] } as const;
    const data = Object.entries(parts).map(([task, during]) => ({
      ...{ dataset: 'memory', task: task as TaskName, weight: 1 },
      ...(task === 'contrastive' ? {} : { during: [...during] as [number, number] }),
    }));
    const options = optionsOf({ stage: { data, steps: 20 } });
    const all = await take(await openLoader(options), 24);
    const taken = [[0, 0, 0, 0], ...all.map(({ position }) => position.taken)];
    const drawn = all.map((_, step) => taken[step]!.map((before, i) => taken[step + 1]![i]! > before));
    const during = (from: number, until: number) => all.map((_, step) => from <= step && step < until);
    expect(drawn.map(([caption]) => caption)).toEqual(during(0, 6));
    // What is planned beyond the end is drawn as the last step.
    expect(drawn.map(([, rec]) => rec)).toEqual(during(6, 24));
    expect(drawn.slice(0, 10).some(([, , reg]) => reg)).toBe(false);
    expect(drawn.slice(10, 15).filter(([, , reg]) => reg).length).toBeGreaterThan(1);
    expect(drawn.slice(15).some(([, , reg]) => reg)).toBe(false);
    expect(drawn.every(([, , , contrastive]) => contrastive)).toBe(true);
    for (const done of [4, 6, 12]) {
      const { position } = all[done - 1]!;
      const resumed = await take(await openLoader({ ...options, position }), 4);
      expect(idsOf(resumed)).toEqual(idsOf(all.slice(done, done + 4)));
    }
  });

  it('goes on from any position with the very same batches', async () => {
    const options = optionsOf({
      tasks: ['rec', 'scene-text', 'contrastive', 'roc', 'ocr'],
      stage: { batch: { samples: 2, accumulate: 2 } },
    });
    const all = await take(await openLoader(options), 80);
    const digests = all.map(digestOf);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 29 }), async done => {
        const position = JSON.parse(JSON.stringify(all[done]!.position));
        const resumed = await take(await openLoader({ ...options, position }), 50);
        expect(resumed.map(digestOf)).toEqual(digests.slice(done + 1, done + 51));
      }),
      { numRuns: 4 },
    );
  });

  it('depends on the seed', async () => {
    const [a, b] = await Promise.all(
      [1, 2].map(async seed => idsOf(await take(await openLoader(optionsOf({ stage: { seed } })), 3))),
    );
    expect(a).not.toEqual(b);
  });

  it('gives `accumulate` conversation batches of one kind each, and one contrastive batch', async () => {
    const tasks: TaskName[] = ['rec', 'scene-text', 'contrastive'];
    const steps = await take(
      await openLoader(optionsOf({ tasks, stage: { batch: { samples: 4, accumulate: 3 } } })),
      6,
    );
    const texts = steps.flatMap(({ batches }) => {
      expect(batches.map(batch => batch.kind)).toEqual([
        'conversation',
        'conversation',
        'conversation',
        'contrastive',
      ]);
      return batches.slice(0, 3).map(batch => {
        expect(new Set(batch.sampleIds.map(id => id.split('#')[1])).size).toBe(1);
        return batch.globalPixels.shape[0] === 0;
      });
    });
    expect(Math.abs(texts.filter(text => text).length - 9)).toBeLessThanOrEqual(1);
    const only = await take(await openLoader(optionsOf({ tasks: ['contrastive'] })), 1);
    expect(only[0]?.batches.map(batch => batch.kind)).toEqual(['contrastive']);
  });

  it('mixes by weight and keeps to the first records where told', async () => {
    const data = [
      { dataset: 'memory', task: 'caption', weight: 3 },
      { dataset: 'memory', task: 'reg', weight: 1, max_records: 2 },
    ] as const;
    const ids = idsOf(await take(await openLoader(optionsOf({ stage: { data } })), 40));
    const regs = ids.filter(id => id.endsWith('#reg'));
    expect(Math.abs(regs.length - 30)).toBeLessThanOrEqual(2);
    expect([...new Set(regs)].sort()).toEqual(['memory:0#reg', 'memory:1#reg']);
  });

  it('draws questions anew in each epoch, unless told not to', async () => {
    const epochs = async (vary?: boolean) => {
      const source = { dataset: 'memory', task: 'caption', weight: 1, max_records: 2 } as const;
      const data = [vary === undefined ? source : { ...source, vary }];
      const stage = { data, batch: { samples: 2, accumulate: 1 } };
      const steps = await take(await openLoader(optionsOf({ stage })), 6);
      return steps.flatMap(({ batches }) =>
        batches.map(batch => {
          if (batch.kind !== 'conversation') throw new Error('captions make conversations');
          // Rows come in another order in each epoch: what they hold is what is compared.
          const rows = Array.from({ length: batch.size }, (_, i) =>
            batch.tokens.data
              .subarray(i * batch.length, (i + 1) * batch.length)
              .join(' ')
              .replace(/( 0)+$/, ''),
          );
          return rows.sort().join('; ');
        }),
      );
    };
    expect(new Set(await epochs(false)).size).toBe(1);
    expect(new Set(await epochs(true)).size).toBeGreaterThan(3);
    expect(await epochs()).toEqual(await epochs(true));
  });

  it('passes over what cannot serve, and says which samples were too long', async () => {
    const bare = records.map((record, i) => (i % 2 === 0 ? { ...record, captions: [] } : record));
    const ids = idsOf(await take(await openLoader(optionsOf({ tasks: ['caption'], from: bare })), 4));
    expect(new Set(ids)).toEqual(new Set([1, 3, 5, 7, 9].map(i => `memory:${i}#caption`)));

    const long = records.map((record, i) =>
      i === 4 ? { ...record, captions: ['word '.repeat(2000)] } : record,
    );
    const steps = await take(await openLoader(optionsOf({ tasks: ['caption'], from: long })), 6);
    const skipped = steps.flatMap(step => step.skipped);
    expect(skipped[0]).toMatch(
      /^memory:4#caption: \d+ tokens \(80 visual, \d+ text\) exceed max_length 1024$/,
    );
    expect(idsOf(steps)).not.toContain('memory:4#caption');
  });

  it('fails where no record serves, and where there is nothing to draw', async () => {
    const empty = records.map(record => ({ ...record, objects: [], relations: [] }));
    const loader = await openLoader(optionsOf({ tasks: ['relation'], from: empty }));
    await expect(loader.next()).rejects.toThrow(
      /none of the 10 records of memory can serve the task relation/,
    );
    await expect(openLoader(optionsOf({ tasks: [] }))).rejects.toThrow(/data is empty/);
    await expect(openLoader(optionsOf({ from: [] }))).rejects.toThrow(/memory has no records/);
    const position = { step: 1, batches: 1, draws: { text: 0, visual: 3, contrastive: 0 }, taken: [3] };
    await expect(openLoader(optionsOf({ options: { position } }))).rejects.toThrow(
      /position of 1 data sources/,
    );
  });

  it('names dataset, shard and row of a damaged image, again and again', async () => {
    const damaged = records.map((record, i) =>
      i === 6 ? { ...record, image: record.image.slice(0, 60) } : record,
    );
    const loader = await openLoader(optionsOf({ tasks: ['caption'], from: damaged }));
    const message = /^memory, memory:6: image record-6 cannot be decoded/;
    await expect(take(loader, 4)).rejects.toThrow(message);
    await expect(loader.next()).rejects.toThrow(message);
  });

  it('names dataset, shard and row of a box outside its image, and of a text that cannot be rendered', async () => {
    const astray = records.map(record => ({
      ...record,
      objects: record.objects.map(({ mask: _, ...object }) => ({ ...object, box: box(200, 200, 210, 210) })),
    }));
    const regions = await openLoader(optionsOf({ tasks: ['dense-referring'], from: astray }));
    await expect(regions.next()).rejects.toThrow(
      /^memory, memory:\d: record-\d, object 0: box \[200, 200, 210, 210\] leaves the image of \d+ x \d+/,
    );
    const spoilt = records.map(record => ({ ...record, captions: ['a </s>'] }));
    const texts = await openLoader(optionsOf({ tasks: ['caption'], from: spoilt }));
    await expect(texts.next()).rejects.toThrow(
      /^memory, memory:\d#caption: text holds the special token <\/s>/,
    );
  });

  it('reads again what the cache forgot, to the same batches', async () => {
    const options = optionsOf({ tasks: ['reg'] });
    const small = await take(await openLoader({ ...options, cacheBytes: 1 }), 12);
    expect(small.map(digestOf)).toEqual((await take(await openLoader(options), 12)).map(digestOf));
  });

  it('does not let a worker open datasets it cannot', async () => {
    await expect(openLoader({ ...optionsOf(), workers: 1 })).rejects.toThrow(
      /a worker opens datasets itself/,
    );
  });
});
