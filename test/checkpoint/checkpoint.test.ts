import { cp, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { openNewest, requireWhole, resolveCheckpoint } from '../../src/train/find.ts';
import { loadCheckpoint, verifyCheckpoint } from '../../src/train/reading.ts';
import { clearStage, listCheckpoints } from '../../src/train/rundir.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { findPython, runPython } from '../helpers/python.ts';
import { contentOf } from './content.ts';

const FILES = [
  'manifest.json',
  'model.json',
  'model.safetensors',
  'optimizer.safetensors',
  'recipe.yaml',
  'state.json',
  'tokenizer.json',
];

describe('a saved checkpoint', () => {
  it('loads with every value as it was, and its own tokenizer', async () => {
    const stage = temporaryFolder();
    const content = contentOf(30);
    const saved = await saveCheckpoint(stage, content);
    expect(saved.path).toBe(join(stage, 'checkpoint-000030'));
    expect(await readdir(stage)).toEqual(['checkpoint-000030']);
    expect((await readdir(saved.path)).sort()).toEqual(FILES);
    const loaded = await loadCheckpoint(saved.path);
    expect(loaded.state).toEqual(content.state);
    expect(loaded.recipe).toBe(content.recipe);
    expect(loaded.modelConfig).toEqual({
      ...content.modelConfig,
      tokenizer: join(saved.path, 'tokenizer.json'),
    });
    expect(await readFile(loaded.modelConfig.tokenizer)).toEqual(Buffer.from(content.tokenizer));
    const sorted = (map: ReadonlyMap<string, unknown>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
    expect(sorted(loaded.model)).toEqual(sorted(content.model));
    expect(sorted(loaded.optimizer?.m ?? new Map())).toEqual(sorted(content.optimizer.m));
    expect(sorted(loaded.optimizer?.v ?? new Map())).toEqual(sorted(content.optimizer.v));
    expect((await loadCheckpoint(saved.path, { optimizer: false })).optimizer).toBeNull();
  });

  it('has the same bytes when saved again: nothing in it depends on the time or place', async () => {
    const [one, two] = [temporaryFolder(), temporaryFolder()];
    await saveCheckpoint(one, contentOf(5));
    await saveCheckpoint(two, contentOf(5));
    for (const file of FILES) {
      const path = join('checkpoint-000005', file);
      expect(await readFile(join(one, path))).toEqual(await readFile(join(two, path)));
    }
  });

  it('fetches lazy values when it writes them', async () => {
    const stage = temporaryFolder();
    const content = contentOf(1);
    const lazy = new Map(
      [...content.model].map(([name, { shape, data }]) => [
        name,
        { shape, data: async () => data as Float32Array },
      ]),
    );
    const { path } = await saveCheckpoint(stage, { ...content, model: lazy });
    expect((await loadCheckpoint(path)).model.get('projector.global.0.weight')).toEqual(
      content.model.get('projector.global.0.weight'),
    );
  });

  it('replaces one of the same step', async () => {
    const stage = temporaryFolder();
    const { path } = await saveCheckpoint(stage, contentOf(5));
    await truncate(join(path, 'model.safetensors'), 3);
    await saveCheckpoint(stage, { ...contentOf(5), recipe: 'new' });
    expect((await loadCheckpoint(path)).recipe).toBe('new');
    expect(await readdir(stage)).toEqual(['checkpoint-000005']);
  });

  it('leaves nothing behind, and the older one of the step untouched, when fetching a value fails', async () => {
    const stage = temporaryFolder();
    await saveCheckpoint(stage, contentOf(5));
    const content = contentOf(5);
    const model = new Map(content.model).set('w', {
      shape: [2],
      data: () => Promise.reject(new Error('device lost')),
    });
    await expect(saveCheckpoint(stage, { ...content, model })).rejects.toThrow('device lost');
    expect(await readdir(stage)).toEqual(['checkpoint-000005']);
    expect(await verifyCheckpoint(join(stage, 'checkpoint-000005'))).toEqual([]);
  });

  it('is refused when a moment has no parameter or another shape', async () => {
    const content = contentOf(1);
    const lost = new Map([['gone', { shape: [1], data: new Float32Array(1) }]]);
    await expect(
      saveCheckpoint(temporaryFolder(), { ...content, optimizer: { m: lost, v: new Map() } }),
    ).rejects.toThrow('moment m.gone belongs to no parameter');
    const reshaped = new Map([['projector.global.0.weight', { shape: [12], data: new Float32Array(12) }]]);
    await expect(
      saveCheckpoint(temporaryFolder(), { ...content, optimizer: { m: new Map(), v: reshaped } }),
    ).rejects.toThrow('moment v.projector.global.0.weight has shape [12], its parameter [3,4]');
  });

  it('that a later format wrote is refused with advice', async () => {
    const stage = temporaryFolder();
    const state = Object.assign({}, contentOf(1).state, { format: 3 });
    const { path } = await saveCheckpoint(stage, { ...contentOf(1), state });
    await expect(loadCheckpoint(path)).rejects.toMatchObject({
      code: 'checkpoint',
      message: expect.stringContaining('has format 3; this ground reads 2'),
    });
  });

  const python = findPython(['safetensors', 'numpy']);
  it.skipIf(python === undefined)('is read by Python', async () => {
    const { path } = await saveCheckpoint(temporaryFolder(), contentOf(2));
    const script = `
import sys
from safetensors.numpy import load_file
t = load_file(sys.argv[1] + '/optimizer.safetensors')
print(sorted(t), t['m.projector.global.0.weight'][0].tolist(), load_file(sys.argv[1] + '/model.safetensors')['contrastive.logit_scale'])`;
    expect(runPython(python as string, script, [path]).trim()).toBe(
      "['m.projector.global.0.weight', 'v.projector.global.0.weight'] [2004.0, 2004.125, 2004.25, 2004.375] 2003.0",
    );
  });
});

describe('damage', () => {
  it('of any byte of any file is found, and the file named', async () => {
    const stage = temporaryFolder();
    const { path } = await saveCheckpoint(stage, contentOf(3, 20));
    const originals = new Map(
      await Promise.all(FILES.map(async f => [f, await readFile(join(path, f))] as const)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...FILES),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.integer({ min: 1, max: 255 }),
        async (file, where, flip) => {
          const original = originals.get(file) as Buffer;
          const flipped = Buffer.from(original);
          const at = Math.floor(where * flipped.length);
          flipped[at] = (flipped[at] as number) ^ flip;
          await writeFile(join(path, file), flipped);
          const problems = await verifyCheckpoint(path);
          await writeFile(join(path, file), original);
          expect(problems.map(p => p.file)).toEqual([file]);
        },
      ),
      { numRuns: 300 },
    );
    expect(await verifyCheckpoint(path)).toEqual([]);
  });

  it.each(FILES)('of %s by truncation at any length, growth or removal is found', async file => {
    const stage = temporaryFolder();
    const { path } = await saveCheckpoint(stage, contentOf(3, 20));
    const whole = await readFile(join(path, file));
    const lengths = new Set([
      0,
      1,
      7,
      8,
      9,
      whole.length >> 1,
      whole.length - 8,
      whole.length - 1,
      whole.length + 1,
    ]);
    for (const length of [...lengths].filter(n => n >= 0 && n !== whole.length)) {
      await writeFile(join(path, file), Buffer.concat([whole, Buffer.alloc(1)]).subarray(0, length));
      expect((await verifyCheckpoint(path)).map(p => p.file)).toEqual([file]);
      await expect(loadCheckpoint(path)).rejects.toMatchObject({
        code: 'checkpoint',
        message: expect.stringContaining(file),
      });
    }
    await rm(join(path, file));
    expect(await verifyCheckpoint(path)).toEqual([{ file, problem: 'is missing' }]);
    await mkdir(join(path, file));
    expect((await verifyCheckpoint(path)).map(p => p.file)).toEqual([file]);
  });

  it('does not hide the newest whole one: damaged newer ones are passed over with a warning', async () => {
    const stage = temporaryFolder();
    for (const step of [10, 20, 30, 40]) await saveCheckpoint(stage, contentOf(step, 10));
    await rm(join(stage, 'checkpoint-000040', 'manifest.json'));
    await truncate(join(stage, 'checkpoint-000030', 'optimizer.safetensors'), 100);
    await mkdir(join(stage, 'checkpoint-000050.tmp-999'));
    const { found, warnings } = await openNewest(stage, requireWhole);
    expect(found).toMatchObject({ path: join(stage, 'checkpoint-000020'), step: 20 });
    expect(warnings).toEqual([
      expect.stringContaining('checkpoint-000040: manifest.json is missing'),
      expect.stringContaining('checkpoint-000030: optimizer.safetensors has 100 bytes instead of'),
    ]);
  });
});

describe('finding a checkpoint', () => {
  it('sorts by step, past six digits too, and ignores other names', async () => {
    const stage = temporaryFolder();
    for (const name of [
      'checkpoint-1000000',
      'checkpoint-999999',
      'checkpoint-000002',
      'checkpoint-7',
      'notes',
    ]) {
      await mkdir(join(stage, name));
    }
    expect((await listCheckpoints(stage)).map(c => c.step)).toEqual([2, 999999, 1000000]);
    expect(await listCheckpoints(join(stage, 'nowhere'))).toEqual([]);
  });

  it('takes a checkpoint under any name, a stage, or a run, whose last stage with one counts', async () => {
    const run = temporaryFolder();
    const [one, two, ten] = ['stage1', 'stage2', 'stage10'].map(s => join(run, s)) as [
      string,
      string,
      string,
    ];
    await saveCheckpoint(one, contentOf(10, 10));
    await saveCheckpoint(two, contentOf(10, 10));
    await saveCheckpoint(two, contentOf(20, 10));
    await mkdir(ten);
    expect(await resolveCheckpoint(run)).toEqual({
      path: join(two, 'checkpoint-000020'),
      warnings: [`${ten} has no whole checkpoint`],
    });
    expect((await resolveCheckpoint(one)).path).toBe(join(one, 'checkpoint-000010'));
    const renamed = join(run, 'best');
    await cp(join(two, 'checkpoint-000010'), renamed, { recursive: true });
    expect(await resolveCheckpoint(renamed)).toEqual({ path: renamed, warnings: [] });
  });

  it('says what is missing', async () => {
    const run = temporaryFolder();
    await expect(resolveCheckpoint(join(run, 'x'))).rejects.toThrow(`there is no folder ${join(run, 'x')}`);
    await expect(resolveCheckpoint(run)).rejects.toThrow(`no whole checkpoint in ${run}`);
    await writeFile(join(run, 'file'), '');
    await expect(resolveCheckpoint(join(run, 'file'))).rejects.toMatchObject({ code: 'checkpoint' });
    await saveCheckpoint(join(run, 'stage1'), contentOf(1, 10));
    await truncate(join(run, 'stage1', 'checkpoint-000001', 'state.json'), 0);
    await expect(resolveCheckpoint(run)).rejects.toThrow(/state\.json has 0 bytes instead of/);
  });

  it('starting afresh deletes what runs write and nothing else', async () => {
    const stage = temporaryFolder();
    await saveCheckpoint(stage, contentOf(1, 10));
    await rename(await saveCheckpoint(stage, contentOf(2, 10)).then(s => s.path), join(stage, 'best'));
    for (const name of ['metrics.jsonl', 'recipe.yaml', 'events.out.tfevents.1.h.2.3', 'notes.txt']) {
      await writeFile(join(stage, name), '');
    }
    await clearStage(stage);
    expect((await readdir(stage)).sort()).toEqual(['best', 'notes.txt']);
  });
});
