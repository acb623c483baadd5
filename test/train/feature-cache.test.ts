import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { engineInfo } from '../../src/engine/engine.ts';
import * as tf from '../../src/engine/tf.ts';
import { GroundError } from '../../src/errors.ts';
import { buildModel } from '../../src/train/adapters.ts';
import { describeSet, frozenEncoders } from '../../src/train/feature-sets.ts';
import { FeatureSpace, SET_FILE } from '../../src/train/feature-space.ts';
import { planTraining, unreadBy } from '../../src/train/freeze.ts';
import type { Recipe } from '../../src/train/recipe.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { tinyStage } from './plan/tiny-stage.ts';
import { eventsOf, stageOn, type Trace, trainHere, writeScenes } from './stage-here.ts';

beforeAll(async () => {
  await startTestEngine();
});

const QUICK = ['from=null', 'steps=8', 'log.every=1', 'batch.samples=4', 'checkpoint.every=0'];

/** Checksum of the trained weights. */
function weightsOf({ result, failure }: Trace): string {
  if (!result) throw failure;
  return createHash('sha256')
    .update(readFileSync(join(result.checkpoint, 'model.safetensors')))
    .digest('hex');
}

function countsOf(trace: Trace) {
  const steps = eventsOf(trace, 'step');
  const sum = (key: 'read' | 'encoded') => steps.reduce((n, { features }) => n + (features?.[key] ?? 0), 0);
  return {
    read: sum('read'),
    encoded: sum('encoded'),
    kept: steps.every(({ features }) => features !== undefined),
  };
}

const notesOf = (trace: Trace): string[] => eventsOf(trace, 'note').map(({ message }) => message);

/** Files of all sets below a folder, set.json aside. */
function entriesIn(dir: string): string[] {
  const files = (readdirSync(dir, { recursive: true, withFileTypes: true }) as import('node:fs').Dirent[])
    .filter(entry => entry.isFile() && entry.name !== SET_FILE)
    .map(entry => join(entry.parentPath, entry.name));
  return files.sort();
}

describe('training with kept features', () => {
  it('ends with the same bits: without them, filling, filled, damaged, full, and gone on with', async () => {
    const folder = temporaryFolder();
    const dataset = join(folder, 'scenes');
    await writeScenes(dataset, 10);
    const train = (run: string, ...overrides: string[]) =>
      trainHere(stageOn(dataset, 2, [...QUICK, ...overrides]), join(folder, 'runs', run));
    const cache = join(folder, 'runs', '.features');

    const off = await train('off', 'feature_cache=off');
    const want = weightsOf(off);
    expect(countsOf(off)).toEqual({ read: 0, encoded: 0, kept: false });
    expect(existsSync(cache)).toBe(false);

    const filling = await train('filling');
    expect(weightsOf(filling)).toBe(want);
    const first = countsOf(filling);
    // Eight steps of four: a global view and tiles each.
    expect(first.read + first.encoded).toBe(64);
    expect(first.encoded).toBe(entriesIn(cache).length);
    expect(notesOf(filling).join('\n')).toMatch(
      /features of frozen encoders are kept in .*: those of 10 images/,
    );

    const filled = await train('filled');
    expect(weightsOf(filled)).toBe(want);
    expect(countsOf(filled)).toEqual({ read: 64, encoded: 0, kept: true });

    const entries = entriesIn(cache);
    const sound = entries.map(path => readFileSync(path));
    for (const [i, path] of entries.entries()) {
      const bytes = Buffer.from(sound[i]!);
      if (i % 3 === 0) bytes[bytes.length - 5]! ^= 4;
      writeFileSync(path, i % 3 === 1 ? bytes.subarray(0, 1000) : bytes);
    }
    const damaged = await train('damaged');
    expect(weightsOf(damaged)).toBe(want);
    expect(notesOf(damaged).filter(note => /made again/.test(note)).length).toBeGreaterThan(0);
    expect(entries.map(path => readFileSync(path))).toEqual(sound);

    const small = join(folder, 'small');
    const full = await train('full', `feature_cache={dir: ${small}, max_gb: 0.0001}`);
    expect(weightsOf(full)).toBe(want);
    expect(notesOf(full).filter(note => /no room for more/.test(note))).toHaveLength(1);
    const bytes = entriesIn(small).reduce(
      (sum, path) => sum + Math.ceil(statSync(path).size / 4096) * 4096,
      0,
    );
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThanOrEqual(100_000);

    // Stopped at step 4 by its scoring, the cache half gone since.
    const recipe = stageOn(dataset, 2, [...QUICK, 'eval.every=4']);
    const runDir = join(folder, 'runs', 'resumed');
    const evaluate = async () => {
      throw new GroundError('data', 'enough');
    };
    expect((await trainHere(recipe, runDir, { evaluate })).result).toBeNull();
    for (const path of entries.filter((_, i) => i % 2 === 0)) rmSync(path);
    const resumed = await trainHere(recipe, runDir);
    expect(weightsOf(resumed)).toBe(want);
    expect(countsOf(resumed).read).toBeGreaterThan(0);
  }, 600_000);
});

describe('the sets of a stage', () => {
  const open = (recipe: Recipe) => {
    const model = buildModel(recipe);
    return { model, plan: planTraining(model.parameters, recipe.stage, unreadBy(model, recipe.stage)) };
  };
  const frozenIn = (stage: number, ...overrides: string[]) => {
    const recipe = tinyStage(stage, ['from=null', ...overrides]);
    const { model, plan } = open(recipe);
    return frozenEncoders(model, plan, recipe.stage).map(({ of }) => of);
  };

  it('are of encoders that are read and do not change', () => {
    expect(frozenIn(1)).toEqual(['global']);
    expect(frozenIn(2)).toEqual(['global', 'local']);
    expect(frozenIn(3)).toEqual(['global', 'local']);
    expect(frozenIn(3, 'train=[encoder, llm]', 'lr=1e-3')).toEqual([]);
    expect(frozenIn(2, 'train=[projector, encoder.local]', 'lr=1e-3')).toEqual(['global']);
    expect(frozenIn(2, 'lora=[{module: encoder.global, rank: 2}]', 'lr=1e-3')).toEqual(['local']);
    expect(frozenIn(2, 'train=[projector, {group: encoder, only: global.*layers.0}]', 'lr=1e-3')).toEqual([
      'local',
    ]);
  });

  it('change with any weight that is read, with preprocessing and with what computes, and with nothing else', async () => {
    const recipe = tinyStage(2, ['from=null']);
    const { model, plan } = open(recipe);
    model.parameters.allocate(1);
    const describeAll = async (of = model) =>
      Promise.all(frozenEncoders(of, plan, recipe.stage).map(encoder => describeSet(encoder, of, 'graph')));
    const before = await describeAll();
    expect(before[0]).toContain(engineInfo().version);
    const change = async (name: string) => {
      const parameter = model.parameters.all.find(p => p.name === name)!;
      const values = parameter.value.dataSync<'float32'>().slice();
      const one = values.slice();
      one[one.length - 1]! += 1e-6;
      parameter.assign(tf.tensor(one, [...parameter.shape]));
      const after = await describeAll();
      parameter.assign(tf.tensor(values, [...parameter.shape]));
      return after.map((text, i) => text !== before[i]);
    };
    const names = model.parameters.all.map(({ name }) => name);
    const readGlobal = names.find(name => /^encoder\.global.*layers\.0.*fc1\.weight$/.test(name))!;
    const readLocal = names.find(name => /^encoder\.local.*patch_embeddings.*weight$/.test(name))!;
    expect(await change(readGlobal)).toEqual([true, false]);
    expect(await change(readLocal)).toEqual([false, true]);
    expect(await change('encoder.global.vision_model.post_layernorm.weight')).toEqual([false, false]);
    expect(await change(names.find(name => name.startsWith('llm.'))!)).toEqual([false, false]);
    expect(await describeAll()).toEqual(before);
    model.dispose();
  });
});

describe('the features of an image', () => {
  it('are the same bits whatever else is in the batch', () => {
    const { model: config } = tinyStage(2, ['from=null']);
    const model = buildModel({ model: config, stage: tinyStage(2, ['from=null']).stage });
    model.parameters.allocate(5);
    const { side } = config.image;
    const images = Array.from({ length: 5 }, (_, i) =>
      tf.randomUniform([1, 3, side, side], -2, 2, 'float32', i),
    );
    const blank = tf.zeros([1, 3, side, side]);
    const rows = (batch: tf.Tensor[]) =>
      tf.tidy(() => {
        const pixels = tf.concat(batch, 0) as tf.Tensor4D;
        const { global, local } = model.visual({ globalPixels: pixels, localPixels: pixels });
        return [global!, local!].map(all => {
          const values = all.dataSync<'float32'>().slice();
          const each = values.length / batch.length;
          return batch.map((_, i) => values.slice(i * each, (i + 1) * each));
        });
      });
    const alone = images.map(image => rows([image]));
    for (const order of [
      [0, 1, 2, 3, 4],
      [4, -1, 0],
      [-1, -1, -1, 2, -1, 1, -1, -1, 3],
    ]) {
      const together = rows(order.map(i => images[i] ?? blank));
      for (const [at, i] of order.entries()) {
        if (i < 0) continue;
        for (const encoder of [0, 1]) expect(together[encoder]![at]).toEqual(alone[i]![encoder]![0]);
      }
    }
    tf.dispose([...images, blank]);
    model.dispose();
  });
});

describe('the room of a cache', () => {
  const name = (digit: string) => `global-${digit.repeat(32)}`;

  it('is made by what was unused for longest, never by what is not its own', () => {
    const dir = temporaryFolder();
    const setOf = (digit: string, age: number): string => {
      const folder = join(dir, name(digit));
      mkdirSync(join(folder, '00'), { recursive: true });
      writeFileSync(join(folder, '00', 'entry'), Buffer.alloc(8000));
      writeFileSync(join(folder, SET_FILE), '{}');
      utimesSync(join(folder, SET_FILE), 1e6 - age, 1e6 - age);
      return folder;
    };
    const [old, older, own] = [setOf('a', 10), setOf('b', 20), setOf('c', 30)];
    mkdirSync(join(dir, 'photographs', '00'), { recursive: true });
    writeFileSync(join(dir, 'photographs', '00', 'dear'), Buffer.alloc(50_000));
    const left = join(own, '00', 'entry2.tmp-999999999');
    writeFileSync(left, Buffer.alloc(9000));

    const space = new FeatureSpace(dir, 30_000);
    expect(space.open([own], 16_384)).toEqual({ have: 8192, removed: [older] });
    expect(existsSync(left)).toBe(false);
    expect(space.used).toBe(16_384);
    expect([old, own, join(dir, 'photographs', '00', 'dear')].every(existsSync)).toBe(true);
    expect(space.take(8192)).toBe(true);
    // 24,576 of 30,000, although nothing has come to the disk yet: another process may have written as much.
    writeFileSync(join(own, '00', 'theirs'), Buffer.alloc(16_000));
    expect(space.take(8192)).toBe(false);
    expect(space.take(1)).toBe(false);
  });
});
