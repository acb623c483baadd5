import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDataset } from '../../src/data/dataset.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { writeShards } from '../../src/data/shards.ts';
import { manifestText } from '../../src/train/integrity.ts';
import { ground, MAIN, newestCheckpoint, type Outcome, QUICK, renderScenes, succeed } from './ground.ts';

/** One thing that a person gets wrong, and what must be said about it. */
interface Mistake {
  readonly what: string;
  readonly args: readonly string[];
  readonly code: 1 | 2;
  /** What the answer must hold: the place, the value, the way out. */
  readonly says: readonly (string | RegExp)[];
}

/** A stage that can be trained alone, in one step. */
const STAGE1 = ['train', '--stage', '1', ...QUICK, '--set', 'from=null', '--set', 'steps=1'];
const CONFIGS = join(import.meta.dirname, '../../configs/ferret-v2-tiny');

let folder = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ground-bad-'));
  renderScenes(folder);
  succeed(folder, ...STAGE1, '--run', 'good');
  succeed(folder, ...STAGE1, '--run', 'other', '--set', 'model.llm.intermediate_size=128');
  writeBadRecipes();
  await writeBadDatasets();
  writeBadCheckpoints();
  await writeBadImages();
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Copies of the tiny recipe with one mistake each, in configs/<name>. */
function writeBadRecipes(): void {
  const recipe = (name: string, from: string, to: string) => {
    const dir = join(folder, 'configs', name);
    cpSync(CONFIGS, dir, { recursive: true });
    const file = join(dir, 'stage1.yaml');
    const text = readFileSync(file, 'utf8');
    const edited = text.replace(new RegExp(`^${from}.*$`, 'm'), to);
    if (edited === text) throw new Error(`stage1.yaml has no line ${from}`);
    writeFileSync(file, edited);
  };
  recipe('unknown-key', 'steps:', 'stpes: 400');
  recipe('wrong-type', 'lr:', 'lr: fast');
  recipe('no-yaml', 'train:', 'train: [projector.global');
  recipe('no-group', 'train:', 'train: [projector.globe]');
  recipe('no-dataset', '  - \\{dataset: data/scenes/train', '  - {dataset: data/scenes/lost, task: caption}');
}

/** Datasets with one fault each, in data/<name>. */
async function writeBadDatasets(): Promise<void> {
  const scenes = await openDataset(join(folder, 'data/scenes/train'));
  const records = await Promise.all(Array.from({ length: scenes.rows }, (_, row) => scenes.read(row)));
  await scenes.close();
  const dataset = (
    name: string,
    change: (record: ImageRecord, row: number) => ImageRecord | Promise<ImageRecord>,
  ) =>
    Promise.all(records.map(change)).then(changed =>
      writeShards(changed, join(folder, 'data', name), { builder: 'test', source: {} }),
    );
  await writeShards([], join(folder, 'data/empty'), { builder: 'test', source: {} });
  await dataset('no-captions', record => ({ ...record, captions: [] }));
  const corrupt = async (record: ImageRecord): Promise<ImageRecord> => {
    const jpeg = new Uint8Array(await sharp(record.image).jpeg().toBuffer());
    return { ...record, image: jpeg.subarray(0, jpeg.length >> 1) };
  };
  await dataset('corrupt', corrupt);
  await dataset('some', (record, row) => (row % 3 === 0 ? corrupt(record) : record));
  await dataset('outside', record => ({
    ...record,
    objects: record.objects.map(object => ({
      ...object,
      box: { ...object.box, x1: object.box.x1 + 500, x2: object.box.x2 + 500 },
    })),
  }));
  const copy = (name: string, spoil: (dir: string) => void) => {
    const dir = join(folder, 'data', name);
    cpSync(join(folder, 'data/scenes/train'), dir, { recursive: true });
    spoil(dir);
  };
  copy('truncated', dir => truncateSync(join(dir, 'shard-00000.arrow'), 20_000));
  copy('lost-shard', dir => rmSync(join(dir, 'shard-00000.arrow')));
  copy('unfinished', dir => rmSync(join(dir, 'manifest.json')));
  copy('no-manifest', dir => truncateSync(join(dir, 'manifest.json'), 100));
  copy('altered', dir => flipByte(join(dir, 'shard-00000.arrow'), 60_000));
}

/** Checkpoints with one fault each, in the folder itself. */
function writeBadCheckpoints(): void {
  const good = newestCheckpoint(folder, 'good', 1);
  const copy = (name: string, spoil: (dir: string) => void) => {
    const dir = join(folder, name);
    cpSync(good, dir, { recursive: true });
    spoil(dir);
  };
  copy('damaged', dir => flipByte(join(dir, 'frozen.safetensors'), 100_000));
  copy('cut', dir => truncateSync(join(dir, 'frozen.safetensors'), 1_000_000));
  copy('no-manifest', dir => rmSync(join(dir, 'manifest.json')));
  copy('mixed', dir => {
    const frozen = 'frozen.safetensors';
    cpSync(join(newestCheckpoint(folder, 'other', 1), frozen), join(dir, frozen));
    const files = readdirSync(dir).filter(name => name !== 'manifest.json');
    const written = files.map(name => {
      const bytes = readFileSync(join(dir, name));
      return [name, { bytes: bytes.length, crc32c: crc32c(bytes) }] as const;
    });
    writeFileSync(join(dir, 'manifest.json'), manifestText(new Map(written)));
  });
  const run = join(folder, 'checkpoints/spoilt');
  cpSync(join(folder, 'checkpoints/good'), run, { recursive: true });
  flipByte(join(newestCheckpoint(folder, 'spoilt', 1), 'optimizer.safetensors'), 5_000);
}

async function writeBadImages(): Promise<void> {
  const plain = sharp({ create: { width: 60, height: 40, channels: 3, background: 'teal' } });
  const jpeg = await plain.jpeg().toBuffer();
  writeFileSync(join(folder, 'good.jpg'), jpeg);
  writeFileSync(join(folder, 'half.jpg'), jpeg.subarray(0, jpeg.length - 20));
  writeFileSync(join(folder, 'words.jpg'), 'no image at all');
  mkdirSync(join(folder, 'notes'));
  writeFileSync(join(folder, 'notes/mine.txt'), 'not to be deleted');
}

function flipByte(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  writeFileSync(file, bytes);
}

/** Path, size and checksum of every file below a folder. */
function listing(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter(name => statSync(join(dir, name)).isFile())
    .map(name => `${name} ${crc32c(readFileSync(join(dir, name)))}`)
    .sort();
}

/** What every refusal has in common: an error line, a way out, no result, no stack, nothing that nobody foresaw. */
function expectRefusal(
  { code, stdout, stderr }: Outcome,
  { code: expected, says }: Omit<Mistake, 'what' | 'args'>,
) {
  expect(stderr).toMatch(/^error: \S/m);
  expect(stderr).not.toMatch(/^\s+at .*[:(]|unexpected|undefined|\[object/m);
  expect(stderr, 'a way out').toMatch(/^hint: \S|^ {2}= \S|^\(add --help|: expected |YAML: .* must /m);
  expect(stdout).not.toMatch(/error/i);
  for (const words of says) expect(stderr).toMatch(words);
  expect(code).toBe(expected);
}

/** The mistake is refused, and every file is as it was: none lost, none begun. */
function itIsRefused(mistakes: readonly Mistake[]): void {
  it.each(mistakes)('$what', ({ args, ...expected }) => {
    const before = listing(folder);
    expectRefusal(ground(folder, ...args), expected);
    expect(listing(folder)).toEqual(before);
  });
}

const stage1 = (...more: string[]): string[] => [...STAGE1, '--run', 'new', ...more];

describe('a wrong recipe or flag (exit code 2)', () => {
  itIsRefused(
    (
      [
        [
          'an unknown key',
          stage1('--recipe', 'configs/unknown-key'),
          [/^configs\/unknown-key\/stage1\.yaml:\d+:1 {2}stpes: no such key$/m, 'did you mean steps?'],
        ],
        [
          'a wrong type',
          stage1('--recipe', 'configs/wrong-type'),
          [/stage1\.yaml:\d+:5 {2}lr: expected a number above 0.*found "fast"/],
        ],
        [
          'broken YAML',
          stage1('--recipe', 'configs/no-yaml'),
          [/configs\/no-yaml\/stage1\.yaml:\d+:\d+ {2}YAML: /],
        ],
        [
          'a module that is not there',
          stage1('--recipe', 'configs/no-group'),
          [/stage1\.yaml:\d+:9 {2}train\.0: no part "globe" in projector/, 'its parts are global, local'],
        ],
        [
          'a group that matches no parameter',
          stage1('--set', 'train=projector.global.7'),
          ['train: "projector.global.7" matches no parameter', /groups of this model: .*projector\.global/],
        ],
        [
          'a dataset that is not there',
          stage1('--recipe', 'configs/no-dataset'),
          [
            /stage1\.yaml:\d+:\d+ {2}data\.0\.dataset: dataset data\/scenes\/lost does not exist/,
            'ground data synth --out data/scenes/lost',
          ],
        ],
        [
          'a dataset that is not there, by flag',
          stage1('--data', 'data/mine'),
          [/^--data data\/mine {2}data\.0\.dataset: dataset data\/mine does not exist$/m],
        ],
        [
          'a dataset whose build did not finish',
          stage1('--data', 'data/unfinished'),
          ['data/unfinished is no dataset: it has no manifest.json'],
        ],
        [
          'a wrong type, by flag',
          stage1('--set', 'batch.samples=many'),
          ['--set batch.samples=many', 'expected a whole number, 1 or more, found "many"'],
        ],
        [
          'a tokenizer that is not there',
          stage1('--set', 'model.tokenizer=lost.json'),
          ['--set model.tokenizer=lost.json', 'lost.json does not exist'],
        ],
        [
          'weights that are not there',
          stage1('--set', 'from=lost'),
          ['--set from=lost', 'no checkpoint folder at lost'],
        ],
        [
          'a recipe that is not there',
          stage1('--recipe', 'configs/lost'),
          [/recipe folder not found: .*configs\/lost/],
        ],
        [
          'a stage that is not there',
          ['train', '--stage', '7'],
          ['has no stage7.yaml', 'its stages are 0, 1, 2, 3'],
        ],
        [
          'a stage that is no number',
          ['train', '--stage', 'two'],
          ['--stage two: expected stage numbers', '1-3'],
        ],
        ['no stage', ['train'], ["required option '--stage"]],
        [
          'flags that contradict each other',
          stage1('--fresh', '--resume'),
          ['--fresh and --resume contradict'],
        ],
        [
          'another model in the same run',
          [...STAGE1, '--run', 'good', '--set', 'model.llm.intermediate_size=128'],
          [/model\.llm\.intermediate_size: \d+ became 128/, '--fresh', '--run NAME'],
        ],
        ['an unknown command', ['trian'], ["unknown command 'trian'"]],
        [
          'a task that is none',
          ['eval', '--run', 'good', '--task', 'rec,rco'],
          ['"rco" is no task', 'rec, reg, roc'],
        ],
        [
          'a prompt for a region that is not given',
          [
            'predict',
            '--run',
            'good',
            '--image',
            'good.jpg',
            '--prompt',
            'a <region> or <region>?',
            '--box',
            '1,1,9,9',
          ],
          ['2 <region>, but 1 regions'],
        ],
        [
          'a box outside the image',
          ['predict', '--run', 'good', '--image', 'good.jpg', '--prompt', 'what?', '--box', '10,10,90,30'],
          ['box 10,10,90,30 reaches outside the image of 60x40 pixels', 'pixels of the image'],
        ],
        [
          'a box the wrong way round',
          ['predict', '--run', 'good', '--image', 'good.jpg', '--prompt', 'what?', '--box', '30,10,10,30'],
          ['box 30,10,10,30 is empty'],
        ],
        [
          'a point outside the image',
          ['predict', '--run', 'good', '--image', 'good.jpg', '--prompt', 'what?', '--point', '60,5'],
          ['point 60,5 lies outside the image of 60x40'],
        ],
        [
          'an image that is not there',
          ['predict', '--run', 'good', '--image', 'lost.jpg', '--prompt', 'what?'],
          ['cannot read the image lost.jpg', '--image names'],
        ],
        [
          'a folder to write to that is not there',
          ['predict', '--run', 'good', '--image', 'good.jpg', '--prompt', 'what?', '--out', 'lost/a.png'],
          ['--out lost/a.png: there is no folder', 'mkdir -p lost'],
        ],
        [
          'a folder of something else to export to',
          ['export', 'onnx', '--run', 'good', '--out', 'notes'],
          ['holds other files (mine.txt)'],
        ],
      ] as const
    ).map(([what, args, says]) => ({ what, args, says, code: 2 })),
  );
});

describe('a fault in the data (exit code 1)', () => {
  const shard = /data\/truncated\/shard-00000\.arrow is truncated: 20000 bytes, the manifest says \d+/;
  itIsRefused(
    (
      [
        [
          'train on an empty dataset',
          stage1('--data', 'data/empty'),
          [/stage 1, data\.0: the dataset .*data\/empty is empty/],
        ],
        [
          'eval on an empty dataset',
          ['eval', '--run', 'good', '--data', 'data/empty'],
          [/data\/empty \(0 records\) yields no caption question/],
        ],
        [
          'preview of an empty dataset',
          ['data', 'preview', 'data/empty', '--out', 'a.png'],
          ['data/empty has no records'],
        ],
        [
          'train on a task that nothing serves',
          stage1('--data', 'data/no-captions'),
          ['none of the 24 records of', 'the task caption', 'ground data inspect'],
        ],
        [
          'held-out data that serves nothing',
          stage1('--eval-data', 'data/no-captions'),
          ['stage 1, eval.data.0: none of the 24 records'],
        ],
        ['train on a truncated shard', stage1('--data', 'data/truncated'), [shard]],
        ['score on a truncated shard', stage1('--eval-data', 'data/truncated'), [shard]],
        ['eval on a truncated shard', ['eval', '--run', 'good', '--data', 'data/truncated'], [shard]],
        ['inspect a truncated shard', ['data', 'inspect', 'data/truncated'], [shard]],
        [
          'train without a shard',
          stage1('--data', 'data/lost-shard'),
          [/shard .*shard-00000\.arrow is missing/],
        ],
        [
          'train with half a manifest',
          stage1('--data', 'data/no-manifest'),
          [/data\/no-manifest\/manifest\.json is no valid dataset manifest/],
        ],
        [
          'preview of a damaged image',
          ['data', 'preview', 'data/corrupt', '--out', 'a.png'],
          ['shard-00000.arrow row 0 cannot be drawn', 'ground data validate'],
        ],
        [
          'render over a dataset',
          ['data', 'synth', '--out', 'data/empty', '--count', '2'],
          ['data/empty holds a dataset already', '--overwrite'],
        ],
        [
          'render into a folder of other files',
          ['data', 'synth', '--out', 'notes', '--count', '2'],
          ['such as mine.txt'],
        ],
        [
          'annotations that are not there',
          [
            'data',
            'build',
            '--from',
            'coco',
            '--images',
            'notes',
            '--instances',
            'lost.json',
            '--out',
            'data/coco',
          ],
          ['cannot read lost.json'],
        ],
        [
          'annotations that are no JSON',
          [
            'data',
            'build',
            '--from',
            'coco',
            '--images',
            'notes',
            '--instances',
            'words.jpg',
            '--out',
            'data/coco',
          ],
          ['words.jpg:1:1: expected an object'],
        ],
        [
          'images that are not there',
          [
            'data',
            'build',
            '--from',
            'coco',
            '--images',
            'lost',
            '--instances',
            'lost.json',
            '--out',
            'data/coco',
          ],
          ['cannot read the image folder lost'],
        ],
        [
          'an image that is none',
          ['predict', '--run', 'good', '--image', 'words.jpg', '--prompt', 'what?'],
          ['words.jpg is no image', 'JPEG, PNG or WebP'],
        ],
        [
          'a damaged image',
          ['predict', '--run', 'good', '--image', 'half.jpg', '--prompt', 'what?'],
          ['half.jpg is damaged'],
        ],
      ] as const
    ).map(([what, args, says]) => ({ what, args, says, code: 1 })),
  );

  it.each([
    ['corrupt', /shard-00000\.arrow row 0 \(scene-\S+\): image cannot be decoded: .+/],
    ['outside', /row \d+ \(scene-\S+\): object \d+: box \[.*\] leaves the image of 96 x 96 pixels/],
    ['truncated', /shard-00000\.arrow: shard .* is truncated/],
    ['altered', /shard-00000\.arrow: checksum is \w+, the manifest says \w+: the file was altered/],
    ['empty', /manifest\.json: the dataset has no rows/],
  ])('ground data validate finds what is wrong with the dataset "%s"', (name, finding) => {
    const { code, stdout } = ground(folder, 'data', 'validate', `data/${name}`);
    expect(stdout).toMatch(finding);
    expect(code).toBe(1);
  });

  it.each([
    ['corrupt', 1, /data\/corrupt, shard-00000\.arrow:\d+: image scene-\S+ cannot be decoded: /],
    [
      'outside',
      1,
      /data\/outside, shard-00000\.arrow:\d+: scene-\S+, object \d+: box \[.*\] leaves the image of 96 x 96/,
    ],
  ])('training stops at the first bad row of the dataset "%s" and names it', (name, code, row) => {
    const outcome = ground(folder, ...STAGE1, '--data', `data/${name}`, '--run', name);
    expectRefusal(outcome, { code: code as 1, says: [row, 'ground data validate'] });
    expect(listing(join(folder, 'checkpoints', name)).join()).not.toMatch(/\.tmp-|checkpoint-/);
  });

  it('eval leaves out what is damaged and says so', () => {
    const { stderr } = succeed(folder, 'eval', '--run', 'good', '--data', 'data/some', '--limit', '8');
    expect(stderr).toMatch(
      /^left out shard-00000\.arrow:\d+#caption\.0: image scene-\S+ cannot be decoded: .+$/m,
    );
  });
});

describe('a fault in the weights (exit code 1)', () => {
  const asked = ['--image', 'good.jpg', '--prompt', 'what?'];
  const uses = (model: readonly string[]): (readonly [string, readonly string[]])[] => [
    ['eval', ['eval', ...model]],
    ['predict', ['predict', ...model, ...asked]],
    ['export', ['export', 'onnx', ...model, '--out', 'exported']],
  ];
  const other = /misshapen: llm\.model\.layers\.0\.mlp\.gate_proj\.weight \[128,\d+\], not \[\d+,\d+\]/;
  const damaged = /damaged: frozen\.safetensors has the checksum \w+ instead of \w+/;
  const mistakes: (readonly [string, readonly string[], readonly (string | RegExp)[]])[] = [
    ...uses(['--run', 'lost']).map(
      ([command, args]) =>
        [
          `${command} of an unknown run`,
          args,
          [/there is no folder .*lost/, 'ground checkpoints list'],
        ] as const,
    ),
    ...uses(['--checkpoint', 'damaged']).map(
      ([command, args]) =>
        [`${command} of a damaged checkpoint`, args, [damaged, 'older checkpoint']] as const,
    ),
    ...uses(['--checkpoint', 'mixed']).map(
      ([command, args]) =>
        [`${command} of weights of another model`, args, [other, 'another checkpoint']] as const,
    ),
    [
      'eval of a checkpoint cut short',
      ['eval', '--checkpoint', 'cut'],
      [/frozen\.safetensors has 1000000 bytes instead of \d+/],
    ],
    [
      'eval of a checkpoint without its manifest',
      ['eval', '--checkpoint', 'no-manifest'],
      ['manifest.json is missing'],
    ],
    ['train from a damaged checkpoint', stage1('--set', 'from=damaged'), [damaged]],
    ['train from another model', stage1('--set', 'from=checkpoints/other'), [other, 'model.yaml']],
    [
      'verify a damaged run',
      ['checkpoints', 'verify', '--run', 'spoilt'],
      [/1 of 1 damaged: .*optimizer\.safetensors has the checksum/],
    ],
    [
      'list an unknown run',
      ['checkpoints', 'list', '--run', 'lost'],
      ['there is no run lost', /there are: .*good, .*other/],
    ],
    ['a GPU on an engine that has none', stage1('--engine', 'wasm', '--device', 'gpu'), [/gpu/i]],
  ];
  itIsRefused(mistakes.map(([what, args, says]) => ({ what, args, says, code: 1 })));

  it('a damaged checkpoint is passed over by the run it belongs to, with a word', () => {
    const { stderr } = succeed(folder, ...STAGE1, '--run', 'spoilt');
    expect(stderr).toMatch(/passed over .*checkpoint-000001: optimizer\.safetensors has the checksum/);
    succeed(folder, 'checkpoints', 'verify', '--run', 'spoilt');
  });
});

// `ulimit -f` stands in for a full disk: no file may grow beyond so many kilobytes.
describe.skipIf(process.platform === 'win32')('a full disk (exit code 1)', () => {
  const limited = (kilobytes: number, ...args: string[]): Outcome => {
    const script = `ulimit -f ${kilobytes}; exec "$@"`;
    const { status, stdout, stderr } = spawnSync(
      'bash',
      ['-c', script, 'bash', process.execPath, MAIN, ...args],
      { cwd: folder, encoding: 'utf8' },
    );
    return { code: status, stdout, stderr };
  };

  it.each([
    ['a dataset', 20, ['data', 'synth', '--out', 'data/full', '--count', '24'], 'data/full'],
    ['a contact sheet', 2, ['data', 'preview', 'data/scenes/val', '--out', 'full.png'], 'full.png'],
    ['an export', 100, ['export', 'onnx', '--run', 'good', '--out', 'full-export'], 'full-export'],
  ] as const)('leaves nothing of %s', (_, kilobytes, args, path) => {
    const before = listing(folder);
    expectRefusal(limited(kilobytes, ...args), { code: 1, says: [`cannot write`, path, 'ulimit -f'] });
    expect(listing(folder)).toEqual(before);
  });

  it('leaves the checkpoints of a run as they were, and the run goes on when there is room', () => {
    const before = listing(newestCheckpoint(folder, 'good', 1));
    const more = [
      'train',
      '--stage',
      '1',
      '--run',
      'good',
      '--resume',
      ...QUICK,
      '--set',
      'from=null',
      '--set',
      'steps=2',
    ];
    expectRefusal(limited(100, ...more), {
      code: 1,
      // A trial save before the first step.
      says: [/cannot write .*checkpoint-000000\.trial/, 'ulimit -f'],
    });
    expect(listing(newestCheckpoint(folder, 'good', 1))).toEqual(before);
    expect(readdirSync(join(folder, 'checkpoints/good/stage1')).join()).not.toMatch(/\.tmp-|lock/);
    succeed(folder, ...more);
    expect(existsSync(join(folder, 'checkpoints/good/stage1/checkpoint-000002/manifest.json'))).toBe(true);
  });
});
