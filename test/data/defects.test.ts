import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import type { LoaderStage } from '../../src/data/candidates.ts';
import { type Loader, openLoader } from '../../src/data/loader.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { validateDataset } from '../../src/data/validate.ts';
import { severityOf } from '../../src/data/validation/problem.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { BAD, DEFECTS, ROWS, writeDefect } from './defects.ts';
import { model } from './loader-records.ts';

const SAMPLES = 3;

const stageOn = (dataset: string, on_bad_sample: 'fail' | 'skip'): LoaderStage => ({
  views: 'global',
  grounding_prompt: '',
  data: [{ dataset, task: 'conversation', weight: 1 }],
  batch: { samples: SAMPLES, accumulate: 1 },
  on_bad_sample,
  steps: 1000,
  seed: 5,
});

const open = (dataset: string, policy: 'fail' | 'skip') =>
  openLoader({ model, stage: stageOn(dataset, policy), workers: 0 });

/** Steps of one epoch: all that was skipped, and how many samples were served. */
async function epoch(loader: Loader): Promise<{ skipped: string[]; served: number }> {
  const skipped: string[] = [];
  let served = 0;
  try {
    for (let step = 0; step < ROWS / SAMPLES; step++) {
      const made = await loader.next();
      skipped.push(...made.skipped);
      served += made.batches.reduce((sum, batch) => sum + batch.sampleIds.length, 0);
    }
  } finally {
    await loader.close();
  }
  return { skipped, served };
}

describe.each(DEFECTS)('$name', defect => {
  const { kind, damage, says } = defect;
  const place = damage === 'dataset' ? null : BAD.row;

  it('is found by validate, with shard and row', async () => {
    const dir = join(temporaryFolder(), 'set');
    await writeDefect(dir, defect);
    const report = await validateDataset(dir, { rendering: { model, stage: stageOn(dir, 'fail') } });
    const found = report.problems.filter(problem => problem.kind === kind);
    expect(found).toMatchObject([
      { severity: severityOf(kind), shard: BAD.shard, row: place, problem: expect.stringMatching(says) },
    ]);
    // Nothing is said of sound rows, and nothing but the defect is an error.
    expect(report.problems.filter(({ shard, row }) => shard !== BAD.shard || row !== place)).toEqual([]);
    expect(report.errors > 0).toBe(severityOf(kind) === 'error');
  });

  it(`${damage === 'none' ? 'is trained on' : 'is survived'} by training that skips`, async () => {
    const dir = join(temporaryFolder(), 'set');
    await writeDefect(dir, defect);
    if (damage === 'dataset') {
      await expect(open(dir, 'skip')).rejects.toMatchObject({
        code: 'data',
        message: expect.stringMatching(says),
      });
      return;
    }
    const { skipped, served } = await epoch(await open(dir, 'skip'));
    expect(served).toBe(ROWS);
    if (damage === 'none') expect(skipped).toEqual([]);
    else {
      // Once by name; whoever meets it again is told again.
      expect(skipped.length).toBeGreaterThan(0);
      for (const message of skipped) {
        expect(message).toMatch(says);
        expect(message).toContain(`bad sample skipped: ${dir}, ${BAD.shard}:${BAD.row}`);
        expect(message).toMatch(/\(1 of at most 100\)$/);
      }
    }
  });

  it(`${damage === 'none' ? 'is trained on' : 'ends training'} where bad samples are fatal`, async () => {
    const dir = join(temporaryFolder(), 'set');
    await writeDefect(dir, defect);
    const training = open(dir, 'fail').then(epoch);
    if (damage === 'none') {
      expect(await training).toEqual({ skipped: [], served: ROWS });
      return;
    }
    const error: Error = await training.then(
      () => new Error('nothing was thrown'),
      thrown => thrown,
    );
    expect(error).toMatchObject({ code: 'data', hint: expect.stringMatching(/./) });
    expect(error.message).toMatch(says);
    expect(error.message).not.toContain('\n');
    expect(error.message).toContain(join(dir, damage === 'dataset' ? BAD.shard : ''));
    if (damage === 'row') expect(error.message).toContain(`${dir}, ${BAD.shard}:${BAD.row}`);
  });
});

describe('a dataset as a whole', () => {
  it('of another schema version is refused by validation and training alike', async () => {
    const dir = join(temporaryFolder(), 'set');
    await writeDefect(dir, DEFECTS[0]!);
    const file = join(dir, 'manifest.json');
    await writeFile(
      file,
      (await readFile(file, 'utf8')).replace('"schema_version": 2', '"schema_version": 1'),
    );
    const refused = { code: 'data', message: expect.stringContaining(`${file}: schema_version is 1`) };
    await expect(validateDataset(dir)).rejects.toMatchObject(refused);
    await expect(open(dir, 'skip')).rejects.toMatchObject(refused);
  });
});

it('an image is read as it is stored, whatever its EXIF orientation', async () => {
  const batchesOf = async (orientation: number) => {
    const dir = join(temporaryFolder(), 'set');
    const record = async (sound: ImageRecord): Promise<ImageRecord> => ({
      ...sound,
      image: new Uint8Array(await sharp(sound.image).jpeg().withMetadata({ orientation }).toBuffer()),
    });
    await writeDefect(dir, { name: '', kind: 'orientation', damage: 'none', says: /./, record });
    const loader = await open(dir, 'fail');
    const batches = [];
    for (let step = 0; step < ROWS / SAMPLES; step++) batches.push(...(await loader.next()).batches);
    await loader.close();
    return batches.map(batch => ({ ...batch, sampleIds: batch.sampleIds.map(id => id.replace(dir, '')) }));
  };
  const upright = await batchesOf(1);
  expect(await batchesOf(3)).toEqual(upright);
  expect(await batchesOf(6)).toEqual(upright);
});
