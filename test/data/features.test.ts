import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { chooseGrid } from '../../src/data/anyres.ts';
import {
  DamagedEntry,
  entryPath,
  type FeatureSet,
  type FeatureSets,
  imageKey,
  readEntry,
  writeEntry,
} from '../../src/data/feature-store.ts';
import { type LoaderOptions, openLoader } from '../../src/data/loader.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import type { ConversationBatch } from '../../src/models/batch.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { model, randomRecord, sourceOf } from './loader-records.ts';

const KEY = imageKey({ image: new Uint8Array([1, 2, 3]), width: 4, height: 5 });

function setIn(folder: string, rows = 3, width = 2): FeatureSet {
  return { folder, rows, width };
}

describe('an entry', () => {
  it('gives back the very bits that were written, whatever they are', () => {
    const set = setIn(temporaryFolder());
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.infiniteStream(fc.nat(0xff_ff_ff_ff)),
        (views, words) => {
          const bits = Uint32Array.from({ length: views * 6 }, () => words.next().value ?? 0);
          writeEntry(set, KEY, views, new Float32Array(bits.buffer));
          const read = readEntry(set, KEY, views) as Float32Array;
          expect(new Uint32Array(read.buffer, read.byteOffset, read.length)).toEqual(bits);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('is never used where a single byte is other, missing or too many', () => {
    const set = setIn(temporaryFolder());
    writeEntry(set, KEY, 1, Float32Array.of(1, 2, 3, 4, 5, 6));
    const path = entryPath(set, KEY);
    const whole = readFileSync(path);
    for (let i = 0; i < whole.length; i++) {
      const spoilt = Buffer.from(whole);
      spoilt[i]! ^= 1 << (i % 8);
      writeFileSync(path, spoilt);
      expect(readEntry(set, KEY, 1)).toBeInstanceOf(DamagedEntry);
      writeFileSync(path, whole.subarray(0, i));
      expect(readEntry(set, KEY, 1)).toBeInstanceOf(DamagedEntry);
    }
    writeFileSync(path, Buffer.concat([whole, Buffer.alloc(1)]));
    expect(readEntry(set, KEY, 1)).toBeInstanceOf(DamagedEntry);
    writeFileSync(path, whole);
    expect(readEntry(set, KEY, 1)).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6));
  });

  it('is of its image, its shape and its number of views alone', () => {
    const set = setIn(temporaryFolder());
    expect(readEntry(set, KEY, 1)).toBeNull();
    writeEntry(set, KEY, 2, new Float32Array(12));
    expect(readEntry(set, KEY, 1)).toBeInstanceOf(DamagedEntry);
    expect(readEntry({ ...set, rows: 2, width: 3 }, KEY, 2)).toBeInstanceOf(DamagedEntry);
    const other = imageKey({ image: new Uint8Array([1, 2, 3]), width: 4, height: 5, upright: true });
    expect(other).not.toBe(KEY);
    expect(readEntry(set, other, 2)).toBeNull();
    // Another image's file under this image's name.
    writeEntry(set, other, 2, new Float32Array(12));
    writeFileSync(entryPath(set, other), readFileSync(entryPath(set, KEY)));
    expect(readEntry(set, other, 2)).toBeInstanceOf(DamagedEntry);
  });
});

describe('a loader with features', () => {
  let records: ImageRecord[];
  beforeAll(async () => {
    records = await Promise.all(Array.from({ length: 8 }, (_, i) => randomRecord(i, 1 + (i % 4))));
  });

  const WIDTH = 8;
  const setsIn = (folder: string): FeatureSets => ({
    global: setIn(join(folder, 'global'), 16, WIDTH),
    local: setIn(join(folder, 'local'), 16, WIDTH),
  });
  const tilesOf = (record: ImageRecord): number => {
    const [columns, rows] = chooseGrid(record, model.image.grids, model.image.side);
    return columns * rows;
  };

  /** Features of an image in which every number names the record. */
  function keep(sets: FeatureSets, index: number): void {
    const record = records[index]!;
    const filled = (views: number) => new Float32Array(views * 16 * WIDTH).fill(index + 1);
    writeEntry(sets.global!, imageKey(record), 1, filled(1));
    writeEntry(sets.local!, imageKey(record), tilesOf(record), filled(tilesOf(record)));
  }

  async function steps(features: FeatureSets | undefined, batch: LoaderOptions['stage']['batch'], count = 4) {
    const loader = await openLoader({
      model,
      stage: {
        views: 'global+local',
        grounding_prompt: '',
        data: (['dense-referring', 'caption', 'scene-text'] as const).map(task => ({
          dataset: 'memory',
          task,
          weight: 1,
        })),
        batch,
        steps: 1000,
        seed: 3,
      },
      workers: 0,
      open: async () => sourceOf(records),
      ...(features ? { features } : {}),
    });
    const out = [];
    for (let i = 0; i < count; i++) out.push(await loader.next());
    return out;
  }

  /** What a batch is but for its images. */
  function rest(batch: ConversationBatch) {
    const { globalPixels: _, localPixels: __, features: ___, ...others } = batch;
    return others;
  }

  const batches = {
    plain: { samples: 4, accumulate: 2 },
    packed: { samples: 2, accumulate: 1, packing: { length: 512 } },
    bucketed: { samples: 3, accumulate: 1, bucket: { window: 6 } },
  };
  for (const [name, batch] of Object.entries(batches)) {
    it(`changes nothing but pixels: ${name} batches`, async () => {
      const sets = setsIn(temporaryFolder());
      for (const index of [0, 2, 3, 5]) keep(sets, index);
      const known = new Set([0, 2, 3, 5]);
      const [without, withSome] = [await steps(undefined, batch), await steps(sets, batch)];
      for (const [i, step] of withSome.entries()) {
        expect(step.position).toEqual(without[i]!.position);
        for (const [b, given] of step.batches.entries()) {
          const [got, want] = [given, without[i]!.batches[b]] as ConversationBatch[];
          expect(rest(got!)).toEqual(rest(want!));
          const images = want!.globalPixels.shape[0]!;
          if (images === 0) continue;
          const { global, local } = got!.features!;
          expect(global!.rows.shape).toEqual([images * 16, WIDTH]);
          expect(local!.rows.shape).toEqual([want!.localPixels.shape[0]! * 16, WIDTH]);
          // Row by row: the record's number where it is known, 0 where it is missing or pads.
          const shown = got!.sampleIds.filter(id => !id.endsWith('scene-text'));
          const indices = shown.map(id => Number(/:(\d+)#/.exec(id)?.[1]));
          const rowsOf = (views: (index: number) => number) =>
            indices.flatMap(index => Array(views(index) * 16 * WIDTH).fill(known.has(index) ? index + 1 : 0));
          const expected = { global: rowsOf(() => 1), local: rowsOf(index => tilesOf(records[index]!)) };
          for (const of of ['global', 'local'] as const) {
            const table = got!.features![of]!;
            const data = [...table.rows.data];
            expect(data.slice(0, expected[of].length)).toEqual(expected[of]);
            expect(data.slice(expected[of].length).every(value => value === 0)).toBe(true);
            expect(table.hits).toBe(indices.filter(index => known.has(index)).length);
          }
          // The pixels of those that are missing, one after the other.
          const plane = 3 * model.image.side ** 2;
          const missing = indices.flatMap((index, at) => (known.has(index) ? [] : [at]));
          expect(global!.missing.map(({ view }) => view)).toEqual(missing);
          for (const [at, view] of missing.entries()) {
            const pixels = got!.globalPixels.data.slice(at * plane, (at + 1) * plane);
            expect(pixels).toEqual(want!.globalPixels.data.slice(view * plane, (view + 1) * plane));
          }
        }
      }
    });
  }

  it('decodes no image whose features are known, and says which entries are damaged', async () => {
    const sets = setsIn(temporaryFolder());
    for (const index of records.keys()) keep(sets, index);
    const sound = records;
    // Same key, no image: the bytes are hashed and never decoded.
    records = records.map(record => ({ ...record, image: new Uint8Array([0]) }));
    for (const index of records.keys()) keep(sets, index);
    const [first] = await steps(sets, { samples: 6, accumulate: 1 }, 1);
    const [batch] = first!.batches as ConversationBatch[];
    expect(batch!.features!.global!.missing).toEqual([]);
    expect(batch!.globalPixels.shape[0]).toBe(0);
    records = sound;
    for (const record of records) {
      const path = entryPath(sets.local!, imageKey(record));
      writeFileSync(path, readFileSync(path).subarray(0, 100));
    }
    const all = await steps(sets, { samples: 6, accumulate: 1 }, 3);
    const shown = all.flatMap(step => step.batches as ConversationBatch[]).filter(b => b.features?.local);
    expect(shown.length).toBeGreaterThan(0);
    for (const { features } of shown) {
      expect(features!.damaged).toHaveLength(features!.local!.missing.length);
      expect(features!.damaged[0]).toMatch(/has 100 bytes instead of/);
      expect(features!.global!.missing).toEqual([]);
    }
    rmSync(entryPath(sets.local!, imageKey(records[0]!)));
  });
});
