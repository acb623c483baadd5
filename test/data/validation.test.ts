import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import type { LoaderStage } from '../../src/data/candidates.ts';
import { type Fingerprint, fingerprintOf, hashDistance } from '../../src/data/image-hash.ts';
import type { CaptionSpan, ImageRecord, StoredConversation } from '../../src/data/record.ts';
import { writeShards } from '../../src/data/shards.ts';
import { Tally } from '../../src/data/tally.ts';
import { problemsOf, type ValidateOptions, validateDataset } from '../../src/data/validate.ts';
import { errorsOf } from '../../src/data/validation/annotations.ts';
import { ProblemLog } from '../../src/data/validation/problem.ts';
import { FirstRows, LookAlikes, looksAlike } from '../../src/data/validation/twins.ts';
import { Random } from '../../src/random.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { box, model } from './loader-records.ts';
import { soundRecord } from './sample-records.ts';

const text = (words: string) => ({ kind: 'text', text: words }) as const;

const chat = (question: string, ...answer: StoredConversation['rounds'][number]['answer']) =>
  [{ kind: 'chat', rounds: [{ question: [text(question)], answer }] }] as const;

const written = async (changes: Partial<ImageRecord>) =>
  (await problemsOf({ ...(await soundRecord('r')), ...changes })).map(
    ({ kind, problem }) => `${kind}: ${problem}`,
  );

describe('annotations', () => {
  const span = (changes: Partial<CaptionSpan>) => ({
    spans: [{ caption: 0, start: 2, end: 6, objects: [0], ...changes }],
  });

  it.each([
    [span({}), []],
    [span({ end: 12 }), []],
    [span({ end: 13 }), ['span: span 0: characters 2 to 13 of the 12 of caption 0']],
    [span({ end: 2 }), ['span: span 0: characters 2 to 2 of the 12 of caption 0']],
    [span({ start: -1 }), ['span: span 0: characters -1 to 6 of the 12 of caption 0']],
    [span({ start: 1, end: 2 }), ['span: span 0: characters 1 to 2 of caption 0 are blank']],
    [span({ caption: 1 }), ['span: span 0: caption 1 of 1']],
    [span({ objects: [0, 2] }), ['span: span 0: object 2 of 2']],
    [{ regions: [{ phrase: 'x', box: box(0, 0, 8, 6) }] }, []],
    [
      { regions: [{ phrase: '', box: box(0, 0, 9, 6) }] },
      ['text: region 0: phrase is empty', 'box: region 0: box [0, 0, 9, 6] leaves the image of 8 x 6 pixels'],
    ],
    [{ absent: ['dog', ' '] }, ['text: absent label 1 is empty']],
    [{ captions: ['one\ntwo'] }, ['odd-text: caption 0 has control characters: "one\\ntwo"']],
    [{ captions: ['a\u0092b'] }, ['odd-text: caption 0 has control characters: "a\\u0092b"']],
    [{ conversations: chat('What?', text('one\ntwo')) }, []],
    [{ conversations: chat('What?', { kind: 'box', box: box(0, 0, 4, 4) }) }, []],
    [{ conversations: chat(' ', text('yes')) }, ['odd-text: conversation 0, round 0: question is empty']],
    [
      { conversations: chat('What?', text('a\ufffd')) },
      ['text: conversation 0: round 0: answer has characters that are no text: "a\ufffd"'],
    ],
    [
      { conversations: chat('What?', { kind: 'box', box: box(4, 0, 0, 4) }) },
      ['box: conversation 0: round 0: answer: box [4, 0, 0, 4] is inverted or empty'],
    ],
    [
      { conversations: chat('What?', text(' \n')) },
      [
        'untrained: conversation 0: all answers are empty: nothing of it is trained on',
        'answer: conversation 0: round 0: answer is empty',
      ],
    ],
  ] as [Partial<ImageRecord>, string[]][])('%j', async (changes, problems) => {
    expect(await written(changes)).toEqual(problems);
  });

  it.each([
    [{ kind: 'point', point: { x: 8, y: 6 } }, []],
    [
      { kind: 'point', point: { x: 8, y: 6.5 } },
      ['box: conversation 0: round 0: question: point [8, 6.5] lies outside of the image of 8 x 6 pixels'],
    ],
    [
      { kind: 'point', point: { x: 1, y: Number.NaN } },
      ['box: conversation 0: round 0: question: point [1, NaN] lies outside of the image of 8 x 6 pixels'],
    ],
    [
      { kind: 'point', point: { x: 1, y: 1 }, within: box(0, 0, 9, 2) },
      ['box: conversation 0: round 0: question: box [0, 0, 9, 2] leaves the image of 8 x 6 pixels'],
    ],
    [{ kind: 'free-form', mask: { size: [6, 8], counts: '0`1' } }, []],
    [
      { kind: 'free-form', mask: { size: [6, 8], counts: '`1' } },
      ['mask: conversation 0: round 0: question: free-form region has no pixels'],
    ],
    [
      { kind: 'box', box: box(0, 0, 4, 4), mask: { size: [8, 6], counts: '0`1' } },
      ['mask: conversation 0: round 0: question: mask is 6 x 8 pixels, the image 8 x 6'],
    ],
  ] as const)('region %j', async (region, problems) => {
    const rounds = [{ question: [text('What is '), { kind: 'region', region }], answer: [text('a thing')] }];
    expect(await written({ conversations: [{ kind: 'chat', rounds }] } as Partial<ImageRecord>)).toEqual(
      problems,
    );
  });

  it('of text alone have no boxes', () => {
    const record = {
      ...{ id: 'r', width: 0, height: 0, captions: [], objects: [], relations: [] },
      conversations: chat('Hello.', { kind: 'box', box: box(0, 0, 1, 1) }),
    };
    expect([...errorsOf(record)]).toMatchObject([{ kind: 'box' }]);
  });

  it('the first error costs no more than itself', () => {
    let looked = 0;
    const captions = ['', 'a', 'b'];
    const counting = {
      ...{ id: 'r', width: 1, height: 1, objects: [], relations: [] },
      captions: new Proxy(captions, {
        get: (list, name) => {
          if (name === '1') looked++;
          return Reflect.get(list, name);
        },
      }),
    };
    for (const { problem } of errorsOf(counting)) {
      expect(problem).toBe('caption 0 is empty');
      break;
    }
    expect(looked).toBe(0);
  });
});

/** Images of smooth noise: any two differ. */
function noise(seed: number, width = 36, height = 32): Uint8Array {
  const random = new Random(seed, 'noise');
  const cells = Array.from({ length: 9 * 8 * 3 }, () => random.int(0, 256));
  return Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const [x, y, c] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3];
    return cells[(Math.floor((y * 8) / height) * 9 + Math.floor((x * 9) / width)) * 3 + c]!;
  });
}

describe('rows like earlier ones', () => {
  it('are found by their bytes, whatever their number', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3000), { maxLength: 5000, size: 'max' }), keys => {
        const rows = new FirstRows();
        const first = new Map<number, number>();
        for (const [row, key] of keys.entries()) {
          expect(rows.add(`key ${key}`, row)).toBe(first.get(key) ?? null);
          if (!first.has(key)) first.set(key, row);
        }
      }),
      { numRuns: 5 },
    );
  });

  it('look-alikes are those that a comparison with all finds', () => {
    const random = new Random(3, 'prints');
    const prints: Fingerprint[] = [];
    for (let i = 0; i < 400; i++) {
      const before = prints[random.int(0, Math.max(1, prints.length))];
      const base = before && random.next() < 0.5 ? before : null;
      let hash = base?.hash ?? 0n;
      const bits = base ? random.int(0, 9) : 64;
      for (let k = 0; k < bits; k++) hash ^= 1n << BigInt(random.int(0, 64));
      const thumbnail = (base?.thumbnail ?? Uint8Array.from({ length: 216 }, () => random.int(0, 256))).map(
        level => Math.min(255, Math.max(0, level + random.int(-9, 10))),
      );
      prints.push({ hash: BigInt.asUintN(64, hash), thumbnail });
    }
    const index = new LookAlikes();
    let found = 0;
    for (const [row, print] of prints.entries()) {
      const given = index.find(print, 1000);
      index.add(print, row);
      const alike = prints.slice(0, row).flatMap((other, i) => (looksAlike(other, print) ? [i] : []));
      expect(given).toEqual(expect.arrayContaining(alike));
      const distances = given.map(i => hashDistance(prints[i]!.hash, print.hash));
      expect(distances).toEqual([...distances].sort((a, b) => a - b));
      found += alike.length;
    }
    expect(found).toBeGreaterThan(20);
  });

  it('take few bytes each, and are found among many of one look', () => {
    const buffers = () => process.memoryUsage().arrayBuffers;
    const before = buffers();
    const [ids, files, looks] = [new FirstRows(), new FirstRows(), new LookAlikes()];
    const { thumbnail } = fingerprintOf({ width: 36, height: 32, data: noise(1) });
    const rows = 60_000;
    for (let row = 0; row < rows; row++) {
      ids.add(`id-${row}`, row);
      files.add(`file-${row}`, row);
      // A tenth of all images are plain: one hash for all of them.
      const hash = row % 10 === 0 ? 0n : BigInt.asUintN(64, BigInt(row) * 0x9e3779b97f4a7c15n);
      looks.add({ hash, thumbnail }, row);
    }
    // Arrays are doubled, so twice what is in use at the most, and the old ones until they are collected.
    expect((buffers() - before) / rows).toBeLessThan(400);
    expect(ids.add('id-7', rows)).toBe(7);
    expect(looks.find({ hash: 0n, thumbnail }, 4)).toHaveLength(4);
  });
});

describe('a dataset', () => {
  const imageOf = async (seed: number, format: 'png' | 'jpeg' = 'png') =>
    new Uint8Array(
      await sharp(noise(seed), { raw: { width: 36, height: 32, channels: 3 } })
        [format]({ quality: 95, ...(format === 'jpeg' ? { chromaSubsampling: '4:4:4' } : {}) })
        .toBuffer(),
    );
  const recordOf = async (
    id: string,
    seed: number,
    format: 'png' | 'jpeg' = 'png',
  ): Promise<ImageRecord> => ({
    ...{ id, width: 36, height: 32, captions: ['a picture.'], relations: [] },
    image: await imageOf(seed, format),
    objects: [{ label: 'thing', phrase: 'thing', attributes: [], box: box(1, 2, 30, 20) }],
  });
  const base = {
    ...({ views: 'global', grounding_prompt: '', steps: 1000, seed: 1 } as const),
    batch: { samples: 1, accumulate: 1 },
  };
  const datasetOf = async (records: readonly ImageRecord[]) => {
    const dir = join(temporaryFolder(), 'set');
    await writeShards(records, dir, { source: {}, builder: 'test' });
    return dir;
  };
  const found = async (records: readonly ImageRecord[], options: ValidateOptions = {}) =>
    (await validateDataset(await datasetOf(records), options)).problems.map(
      ({ kind, row, problem }) => `${row} ${kind}: ${problem}`,
    );

  it('has copies and look-alikes of its own images named', async () => {
    const records = [
      await recordOf('a', 1),
      await recordOf('b', 2),
      await recordOf('c', 1),
      await recordOf('d', 2, 'jpeg'),
    ];
    expect(await found(records)).toEqual([
      '2 copy: image is the same file as that of shard-00000.arrow row 0',
      '3 look-alike: image looks like that of shard-00000.arrow row 1',
    ]);
  });

  it('is compared with evaluation sets by file, id and looks', async () => {
    const one = await datasetOf([await recordOf('eval-1', 11), await recordOf('eval-2', 12)]);
    const two = await datasetOf([await recordOf('eval-3', 13)]);
    const records = [
      await recordOf('a', 11),
      await recordOf('eval-2', 22),
      await recordOf('c', 13, 'jpeg'),
      await recordOf('d', 24),
    ];
    const progress: number[] = [];
    const onProgress = (rows: number, total: number) => {
      progress.push(rows);
      expect(total).toBe(7);
    };
    expect(await found(records, { against: [one, two], onProgress })).toEqual([
      `0 leak: image is the file of eval-1 of ${one}`,
      `1 leak: has the id of eval-2 of ${one}`,
      `2 leak-alike: image looks like eval-3 of ${two}`,
    ]);
    expect(progress).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  it('shows what its records become: tokens trained on, lengths, what is too long', async () => {
    const stage: LoaderStage = {
      ...base,
      data: (['caption', 'dense-detection', 'vqa', 'contrastive'] as const).map(task => {
        return { dataset: 'elsewhere', task, weight: 1 };
      }),
    };
    const records = await Promise.all([1, 2, 3].map(seed => recordOf(`r${seed}`, seed)));
    records[1] = { ...records[1]!, captions: [`a ${'very '.repeat(200)}long picture.`] };
    const dir = await datasetOf(records);
    const report = await validateDataset(dir, { rendering: { model: { ...model, max_length: 200 }, stage } });
    expect(report.tasks.map(({ task, records, refused }) => [task, records, refused])).toEqual([
      ['caption', 3, 1],
      ['dense-detection', 3, 0],
      ['vqa', 0, 0],
    ]);
    expect(report.problems).toMatchObject([
      {
        kind: 'length',
        row: 1,
        problem: expect.stringMatching(/task caption: \d+ tokens .* exceed max_length 200/),
      },
    ]);
    const [captions, detection] = report.tasks;
    expect(captions!.length.max).toBeGreaterThan(200);
    expect(captions!.lengths.reduce((sum, n) => sum + n, 0)).toBe(3);
    // "thing [..]." and its end: a box is nine tokens.
    expect(detection!.trained / 3).toBeGreaterThanOrEqual(11);
    expect(detection!.trainedShare).toBeCloseTo(detection!.trained / detection!.positions, 12);
    expect(report.errors).toBe(0);
  });

  it('of which a text holds a special token, or nothing is left to train on', async () => {
    const record = { ...(await recordOf('a', 1)), captions: ['the </s> token'] };
    const stage: LoaderStage = { ...base, data: [{ dataset: 'elsewhere', task: 'caption', weight: 1 }] };
    expect(await found([record], { rendering: { model, stage } })).toEqual([
      '0 sample: task caption: text holds the special token </s>: " the </s> token"',
    ]);
  });

  it('has so many problems of a kind listed, and all counted', async () => {
    const records = await Promise.all([1, 2, 3].map(seed => recordOf(`r${seed}`, seed)));
    const report = await validateDataset(
      await datasetOf(records.map(record => ({ ...record, captions: [''], absent: [''] }))),
      { limit: 2 },
    );
    expect(report.problems.map(({ row }) => row)).toEqual([0, 0]);
    expect(report).toMatchObject({ errors: 6, totals: { text: 6 } });
  });
});

it('a log keeps the first of each kind', () => {
  const log = new ProblemLog(1);
  log.add({ kind: 'box', problem: 'a' }, 's', 0, 'x');
  log.add({ kind: 'copy', problem: 'b' }, 's', 1, 'y');
  log.add({ kind: 'box', problem: 'c' }, 's', 2, 'z');
  expect(log.problems.map(({ problem, severity }) => [problem, severity])).toEqual([
    ['a', 'error'],
    ['b', 'warning'],
  ]);
  expect([log.count('error'), log.count('warning')]).toEqual([2, 1]);
});

describe('tallies', () => {
  it('know least, median, mean and greatest exactly while values are few', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1 }), values => {
        const tally = new Tally();
        for (const value of values) tally.add(value);
        const sorted = [...values].sort((a, b) => a - b);
        expect(tally.spread()).toEqual({
          min: sorted[0],
          median: sorted[Math.floor(sorted.length / 2)],
          max: sorted.at(-1),
          mean: values.reduce((sum, value) => sum + value, 0) / values.length,
        });
        const edges = [-10, 0, 7];
        const bins = tally.histogram(edges);
        expect(bins).toEqual([
          values.filter(v => v < -10).length,
          values.filter(v => v >= -10 && v < 0).length,
          values.filter(v => v >= 0 && v < 7).length,
          values.filter(v => v >= 7).length,
        ]);
      }),
    );
  });

  it('stay small where values are many, their median true to three digits', () => {
    const tally = new Tally();
    for (let i = 0; i < 100_000; i++) tally.add(1000 + ((i * 7919) % 100_000) / 7);
    const { min, median, max, mean } = tally.spread();
    expect([min, max]).toEqual([1000, 1000 + 99_999 / 7]);
    expect(Math.abs(median / (1000 + 50_000 / 7) - 1)).toBeLessThan(0.006);
    expect(mean).toBeCloseTo(1000 + 99_999 / 14, 6);
  });
});
