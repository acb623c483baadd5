import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { parseRange, parseSizes, parseSplits, parseWhole } from '../../src/cli/data-values.ts';
import { DEFAULT_RECIPE } from '../../src/cli/options.ts';
import { openDataset } from '../../src/data/dataset.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { writeShards } from '../../src/data/shards.ts';
import { SOURCES } from '../../src/data/sources/index.ts';
import { plainImage, soundRecord } from '../data/sample-records.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { ground } from './harness.ts';

const json = (text: string) => JSON.parse(text);

/** Two images with annotation files in COCO's form, the second image missing. */
async function cocoFolder() {
  const folder = temporaryFolder();
  await mkdir(join(folder, 'images'));
  await writeFile(join(folder, 'images', 'a.png'), await plainImage(20, 10));
  const images = ['a.png', 'b.png'].map((file_name, id) => ({ id, file_name, width: 20, height: 10 }));
  const instances = {
    images,
    categories: [{ id: 3, name: 'dog' }],
    annotations: [
      { id: 1, image_id: 0, category_id: 3, bbox: [1, 1, 30, 5], segmentation: [[1, 1, 19, 1, 19, 6]] },
      { id: 2, image_id: 0, category_id: 4, bbox: [1, 1, 3, 5] },
    ],
  };
  await writeFile(join(folder, 'instances.json'), JSON.stringify(instances));
  await writeFile(
    join(folder, 'captions.json'),
    JSON.stringify({ images, annotations: [{ image_id: 0, caption: 'a dog' }] }),
  );
  return {
    folder,
    out: join(folder, 'set'),
    flags: [
      ...['--images', join(folder, 'images'), '--instances', join(folder, 'instances.json')],
      ...['--captions', join(folder, 'captions.json'), '--out', join(folder, 'set')],
    ],
  };
}

describe('ground data synth', () => {
  it('renders a dataset, tells progress on stderr and the result on stdout', async () => {
    const out = join(temporaryFolder(), 'scenes');
    const flags = [
      '--count',
      '30',
      '--seed',
      '4',
      '--size',
      '48x32,40',
      '--objects',
      '2-3',
      '--preset',
      'easy',
    ];
    const done = await ground('data', 'synth', '--out', out, ...flags);
    expect(done).toMatchObject({ code: 0, stdout: `${out}: 30 scenes in 1 shard\n` });
    expect(done.stderr).toContain('30/30 scenes');
    const dataset = await openDataset(out);
    const records = await Promise.all(Array.from({ length: 30 }, (_, row) => dataset.read(row)));
    await dataset.close();
    const sizes = new Set(records.map(({ width, height }) => `${width}x${height}`));
    expect([...sizes].sort()).toEqual(['40x40', '48x32']);
    expect(records.every(({ objects }) => objects.length === 2 || objects.length === 3)).toBe(true);
    expect(dataset.manifest.source).toMatchObject({ seed: 4, count: 30, options: { preset: 'easy' } });
  });

  it('splits into sub-folders with other scenes, and refuses to overwrite unless asked', async () => {
    const out = join(temporaryFolder(), 'scenes');
    const args = [
      'data',
      'synth',
      '--out',
      out,
      '--split',
      'train=5,val=3',
      '--size',
      '32',
      '--preset',
      'easy',
    ];
    const done = await ground(...args, '--json');
    expect(json(done.stdout)).toEqual({
      datasets: [
        { dir: join(out, 'train'), rows: 5, shards: 1 },
        { dir: join(out, 'val'), rows: 3, shards: 1 },
      ],
    });
    const [train, val] = [await openDataset(join(out, 'train')), await openDataset(join(out, 'val'))];
    expect(Buffer.from((await train.read(0)).image).equals((await val.read(0)).image)).toBe(false);
    await Promise.all([train.close(), val.close()]);
    expect(await ground(...args)).toMatchObject({ code: 1, stderr: expect.stringContaining('--overwrite') });
    expect(await ground(...args, '--overwrite')).toMatchObject({ code: 0 });
  });

  it.each([
    [['--count', '0'], '--count "0" makes no sense'],
    [['--count', '1.5'], '--count "1.5" makes no sense'],
    [['--size', '9x'], '--size "9x" makes no sense'],
    [['--size', '8'], 'scene option sizes is out of range'],
    [['--objects', '3-2'], 'scene option objects is out of range'],
    [['--split', 'a=1,a=2'], 'a is there twice'],
    [['--preset', 'insane'], 'insane'],
  ])('%o is bad usage', async (flags, message) => {
    const out = join(temporaryFolder(), 'scenes');
    const done = await ground('data', 'synth', '--out', out, ...flags);
    expect(done.code).toBe(2);
    expect(done.stderr).toContain(message);
    expect(existsSync(join(out, 'manifest.json'))).toBe(false);
  });
});

describe('ground data build', () => {
  it('builds from COCO and says what was left out', async () => {
    const { flags, out } = await cocoFolder();
    const done = await ground('data', 'build', '--from', 'coco', ...flags);
    expect(done.code).toBe(0);
    expect(done.stdout).toMatch(/objects +1\n/);
    expect(done.stdout).toMatch(/image file missing +1 +image 1/);
    expect(done.stdout).toMatch(/box cut at the edge of the image +1 +image 0, annotation/);
    const dataset = await openDataset(out);
    expect(await dataset.read(0)).toMatchObject({
      id: 'a.png',
      captions: ['a dog'],
      objects: [{ label: 'dog' }],
    });
    await dataset.close();
  });

  it('prints one JSON document; masks may stay out', async () => {
    const { flags, out } = await cocoFolder();
    const done = await ground('data', 'build', '--from', 'coco', ...flags, '--json', '--no-masks');
    expect(json(done.stdout)).toMatchObject({
      dir: out,
      rows: 1,
      shards: 1,
      report: { counts: { images: 1, objects: 1, masks: 0 }, skipped: { 'image file missing': 1 } },
    });
  });

  it('lists what every format reads, and names the right flags where a wrong one is given', async () => {
    const help = await ground('data', 'build', '--help');
    expect(help.code).toBe(0);
    for (const { name, inputs } of SOURCES) {
      expect(help.stdout).toMatch(new RegExp(`^  ${name}: `, 'm'));
      for (const { flag } of inputs) expect(help.stdout).toContain(`--${flag} <`);
    }
    const { flags, out } = await cocoFolder();
    const wrong = await ground('data', 'build', '--from', 'coco', ...flags, '--refs', 'refs.p');
    expect(wrong).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--refs .* coco[\s\S]*--panoptic/),
    });
    const lacking = await ground('data', 'build', '--from', 'lvis', '--images', '.', '--out', out);
    expect(lacking).toMatchObject({ code: 2, stderr: expect.stringContaining('--instances FILE') });
    const unknown = await ground('data', 'build', '--from', 'tarot', '--out', out);
    expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('visual-genome') });
    expect(existsSync(join(out, 'manifest.json'))).toBe(false);
  });

  it('merges what was built, and links to images where asked', async () => {
    const { flags, out, folder } = await cocoFolder();
    await ground('data', 'build', '--from', 'coco', ...flags, '--link');
    const all = join(folder, 'all');
    const merged = await ground('data', 'merge', out, out, '--out', all, '--json');
    expect(json(merged.stdout)).toMatchObject({
      dir: all,
      rows: 1,
      report: { counts: { 'records read': 2, 'records joined': 1, 'objects joined': 1 } },
    });
    const dataset = await openDataset(all, { readLinks: false });
    expect(await dataset.read(0)).toMatchObject({
      path: expect.stringContaining('a.png'),
      captions: ['a dog'],
    });
    await dataset.close();
    expect(await ground('data', 'merge', out, '--out', all)).toMatchObject({ code: 2 });
    const share = await ground('data', 'merge', out, out, '--out', all, '--same-object', '2');
    expect(share).toMatchObject({ code: 2, stderr: expect.stringContaining('from 0 to 1') });
  });

  it('names a missing file, and wants a known format', async () => {
    const { flags, folder } = await cocoFolder();
    const wrong = flags.map(flag => flag.replace('captions.json', 'nowhere.json'));
    const done = await ground('data', 'build', '--from', 'coco', ...wrong);
    expect(done).toMatchObject({ code: 1, stderr: expect.stringContaining(join(folder, 'nowhere.json')) });
    expect((await ground('data', 'build', '--from', 'tarot', ...flags)).code).toBe(2);
  });
});

describe('ground data validate', () => {
  it('exits 0 on a sound dataset and 1 on a bad one, each problem with its shard and row', async () => {
    const dir = join(temporaryFolder(), 'set');
    const sound = await soundRecord('a');
    await writeShards([sound], dir, { source: {}, builder: 'test' });
    expect(await ground('data', 'validate', dir)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/caption +1 +\d[\s\S]*\n1 rows in 1 shard: 0 errors, 0 warnings\n$/),
    });
    expect(process.exitCode).toBeUndefined();

    await writeShards([sound, { ...sound, id: 'b', captions: [''] }], dir, {
      source: {},
      builder: 'test',
      overwrite: true,
    });
    try {
      const done = await ground('data', 'validate', dir);
      expect(done.stdout).toContain('error: shard-00000.arrow row 1 (b): caption 0 is empty\n');
      expect(done.stdout).toMatch(/2 rows in 1 shard: 1 error, 1 warning\n$/);
      expect(process.exitCode).toBe(1);
      const asJson = await ground('data', 'validate', dir, '--json');
      const row = { shard: 'shard-00000.arrow', row: 1, id: 'b' };
      expect(json(asJson.stdout)).toMatchObject({
        ...{ dir, rows: 2, shards: 1, errors: 1, warnings: 1, totals: { text: 1, copy: 1 }, maxLength: null },
        problems: [
          { severity: 'error', kind: 'text', ...row, problem: 'caption 0 is empty' },
          { severity: 'warning', kind: 'copy', ...row },
        ],
      });
    } finally {
      process.exitCode = undefined;
    }
  });

  it('says where no dataset is', async () => {
    const dir = temporaryFolder();
    expect(await ground('data', 'validate', dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`no dataset in ${dir}`),
    });
  });
});

describe('ground data inspect and preview', () => {
  it('count and draw', async () => {
    const folder = temporaryFolder();
    const [dir, png] = [join(folder, 'set'), join(folder, 'sheet.png')];
    await writeShards([await soundRecord('a'), await soundRecord('b')], dir, { source: {}, builder: 'test' });
    const inspected = await ground('data', 'inspect', dir);
    expect(inspected.stdout).toContain('4 objects: 4 named alone, 2 with masks, 0 crowds');
    expect(inspected.stdout).toMatch(/label +count\ndoor +2\nwall +2\n/);
    expect(json((await ground('data', 'inspect', dir, '--json')).stdout)).toMatchObject({
      rows: 2,
      objects: 4,
    });

    const drawn = await ground(
      'data',
      'preview',
      dir,
      '--out',
      png,
      '--side',
      '100',
      '--columns',
      '1',
      '--json',
    );
    expect(json(drawn.stdout)).toEqual({ file: png });
    expect(await sharp(await readFile(png)).metadata()).toMatchObject({ format: 'png', width: 116 });
    expect((await ground('data', 'preview', dir, '--out', join(folder, 'sheet.gif'))).code).toBe(2);
  });
});

describe('ground data over stored conversations', () => {
  const text = (words: string) => [{ kind: 'text', text: words }] as const;
  const rounds = [{ question: text('What is it?'), answer: text('A wall.') }];
  const talk = async () => {
    const folder = temporaryFolder();
    const dir = join(folder, 'set');
    const record = { ...(await soundRecord('a')), split: 'train', conversations: [{ kind: 'chat', rounds }] };
    const alone = {
      ...{ id: 'b', width: 0, height: 0, captions: [], objects: [], relations: [] },
      image: new Uint8Array(0),
      conversations: [{ kind: 'chat', rounds }],
    } as const;
    await writeShards([record as ImageRecord, alone], dir, { source: {}, builder: 'test' });
    return { folder, dir };
  };

  it('inspect counts them', async () => {
    const { dir } = await talk();
    const { stdout } = await ground('data', 'inspect', dir);
    expect(stdout).toContain('1 rows of text alone, 0 with linked images');
    expect(stdout).toContain('2 conversations (2 chat) of 2 rounds');
    expect(json((await ground('data', 'inspect', dir, '--json')).stdout)).toMatchObject({
      ...{ rows: 2, textAlone: 1, conversations: 2, rounds: 2, conversationKinds: { chat: 2, vqa: 0 } },
      ...{ splits: { '': 1, train: 1 }, width: { min: 8, max: 8 }, roundsPerConversation: { mean: 1 } },
      boxSides: [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    });
  });

  it('show prints text and tokens, what is trained on marked', async () => {
    const { dir } = await talk();
    const first = await ground('data', 'show', dir, '0');
    expect(first.stdout).toContain('What is it? ASSISTANT:» A wall.</s>«');
    expect(first.stdout).toMatch(/\n +\d+ +\S+ +-100 +"USER"\n/);
    expect(first.stdout).toMatch(/tasks that it serves: conversation, .*caption/);
    const alone = json((await ground('data', 'show', dir, '1', '--json')).stdout);
    expect(alone).toMatchObject({ row: 1, tasks: ['text-conversation'], transcript: { visual: 0 } });
    const { tokens } = alone.transcript;
    const trained = tokens.filter(({ id, label }: { id: number; label: number }) => id === label);
    expect(trained.map((token: { text: string }) => token.text).join('')).toBe(' A wall.</s>');
    expect((await ground('data', 'show', dir, '1', '--task', 'caption')).stdout).toContain(
      'it cannot serve the task caption',
    );
    expect(await ground('data', 'show', dir, '2')).toMatchObject({ code: 1 });
  });

  it('preview draws chosen rows and tasks, validate renders with the tasks of a recipe', async () => {
    const { dir, folder } = await talk();
    const png = join(folder, 'sheet.png');
    for (const flags of [
      ['--rows', '1', '--task', 'text-conversation'],
      ['--recipe', DEFAULT_RECIPE, '--stage', '3'],
    ]) {
      expect(await ground('data', 'preview', dir, '--out', png, ...flags)).toMatchObject({ code: 0 });
    }
    expect(await ground('data', 'preview', dir, '--out', png, '--rows', '2')).toMatchObject({ code: 2 });
    const checked = await ground(
      ...['data', 'validate', dir, '--recipe', DEFAULT_RECIPE, '--stage', '3', '--against', dir, '--json'],
    );
    process.exitCode = undefined;
    const report = json(checked.stdout);
    // Text alone has no image to be found.
    expect(report.totals).toEqual({ leak: 1 });
    expect(report.maxLength).toBeGreaterThan(0);
    expect(report.tasks.map(({ task }: { task: string }) => task)).toContain('rec');
    expect(await ground('data', 'validate', dir, '--stage', '3')).toMatchObject({ code: 2 });
  });
});

describe('values of flags', () => {
  it('are read as they are written', () => {
    expect(parseSizes('--size', '96, 64x32')).toEqual([
      { width: 96, height: 96 },
      { width: 64, height: 32 },
    ]);
    expect(parseRange('--scale', '0.1-.45')).toEqual([0.1, 0.45]);
    expect(parseRange('--objects', '4')).toEqual([4, 4]);
    expect(parseSplits('--split', 'train=10,val-2=3')).toEqual([
      { name: 'train', count: 10 },
      { name: 'val-2', count: 3 },
    ]);
    expect(parseWhole('--seed', '0', 0)).toBe(0);
  });

  it.each(['', '-1', '1e99', 'x', '0x'])('"%s" is no whole number', text => {
    expect(() => parseWhole('--seed', text, 0)).toThrow(/makes no sense/);
  });

  it.each(['../up=3', 'a', 'a=', '=3', 'a=1,,b=2'])('"%s" is no split', text => {
    expect(() => parseSplits('--split', text)).toThrow(/makes no sense/);
  });
});
