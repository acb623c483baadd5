/** The built command on annotation files that people bring: LLaVA's and Ferret's, from the file to a trained step. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDataset } from '../../src/data/dataset.ts';
import type { ImageRecord } from '../../src/data/record.ts';
import { Random } from '../../src/random.ts';
import { ground, metricsOf, QUICK, succeed } from './ground.ts';

const IMAGES = 6;
const [WIDTH, HEIGHT] = [96, 64];
let folder = '';

/** A red rectangle on grey; where it lies follows from the number. */
function rectangle(i: number): readonly [number, number, number, number] {
  const random = new Random('rectangle', i);
  const [x, y] = [random.int(0, 60), random.int(0, 40)];
  return [x, y, x + random.int(8, 36), y + random.int(8, 24)];
}

const human = (value: string) => ({ from: 'human', value });
const gpt = (value: string) => ({ from: 'gpt', value });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ground-conversations-'));
  mkdirSync(join(folder, 'images'));
  for (let i = 0; i < IMAGES; i++) {
    const [left, top, right, bottom] = rectangle(i);
    const red = sharp({
      create: { width: right - left, height: bottom - top, channels: 3, background: '#ff0000' },
    });
    const input = await red.png().toBuffer();
    await sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background: '#808080' } })
      .composite([{ input, left, top }])
      .png()
      .toFile(join(folder, 'images', `${i}.png`));
  }
  const llava = [
    ...Array.from({ length: IMAGES }, (_, i) => ({
      id: i,
      image: `${i}.png`,
      conversations: [
        human('<image>\nWhat is in the image?'),
        gpt('A red square.'),
        human('Is it big?'),
        gpt('It is small.'),
      ],
    })),
    // A second sample about an image, two without any, and two that cannot be used.
    {
      id: 'again',
      image: '0.png',
      conversations: [human('Describe the image.\n<image>'), gpt('Red on gray.')],
    },
    { id: 'text-1', conversations: [human('Count to three.'), gpt('One, two, three.')] },
    { id: 'text-2', conversations: [human('Hello'), gpt('Hello.')] },
    { id: 'lost', image: 'lost.png', conversations: [human('<image>\na'), gpt('b')] },
    { id: 'silent', image: '1.png', conversations: [human('<image>\na'), gpt('')] },
  ];
  writeFileSync(join(folder, 'llava.json'), JSON.stringify(llava));
  const ferret = Array.from({ length: IMAGES }, (_, i) => ({
    id: `f${i}`,
    image: `${i}.png`,
    image_w: WIDTH,
    image_h: HEIGHT,
    conversations: [
      human('<image>\nWhat is <bbox_location0>?'),
      gpt('A red square.'),
      human('Where is the red square?'),
      gpt('The red square <bbox_location0>.'),
    ],
    box_x1y1x2y2: [[rectangle(i)], [], [], [rectangle(i)]],
  }));
  writeFileSync(join(folder, 'ferret.jsonl'), ferret.map(sample => JSON.stringify(sample)).join('\n'));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Built {
  readonly rows: number;
  readonly report: Record<'counts' | 'skipped' | 'mended', Record<string, number>>;
}

function build(...args: string[]): Built {
  return JSON.parse(succeed(folder, 'data', 'build', ...args, '--images', 'images', '--json').stdout);
}

async function recordsOf(dir: string): Promise<ImageRecord[]> {
  const dataset = await openDataset(join(folder, dir));
  const records = [];
  for (let row = 0; row < dataset.rows; row++) records.push(await dataset.read(row));
  await dataset.close();
  return records;
}

/** One stage of three steps on one dataset, from random weights. */
function train(run: string, ...data: string[]): number[] {
  const sources = ['--set', `data=[${data.join(', ')}]`, '--set', 'eval.data=[]'];
  succeed(
    folder,
    'train',
    '--stage',
    '3',
    ...QUICK,
    ...sources,
    '--set',
    'from=null',
    '--set',
    'steps=3',
    '--run',
    run,
  );
  return metricsOf(folder, run, 3)
    .filter(({ type }) => type === 'step')
    .map(({ loss }) => Number(loss));
}

describe('a LLaVA file', () => {
  it('builds with counts that add up, and validates', async () => {
    const { rows, report } = build('--from', 'llava', '--annotations', 'llava.json', '--out', 'data/llava');
    expect(rows).toBe(IMAGES + 2);
    expect(report).toMatchObject({
      counts: { images: IMAGES, texts: 2, conversations: IMAGES + 3, rounds: 2 * IMAGES + 3 },
      skipped: { 'image file missing': 1, 'conversation without a usable round': 1 },
    });
    const records = await recordsOf('data/llava');
    const conversations = records.flatMap(record => record.conversations ?? []);
    expect(conversations).toHaveLength(IMAGES + 3);
    const { stdout, code } = ground(folder, 'data', 'validate', 'data/llava');
    expect(stdout).toContain('0 errors');
    expect(code).toBe(0);
  });

  it('trains, images and texts in one stage', () => {
    const losses = train(
      'llava',
      '{dataset: data/llava, task: conversation, weight: 1}',
      '{dataset: data/llava, task: text-conversation, weight: 1}',
    );
    expect(losses).toHaveLength(3);
    expect(losses.every(loss => loss > 0 && loss < 20)).toBe(true);
  });
});

describe('a Ferret file', () => {
  it('builds, and every box lies on what it is said to be', async () => {
    const { rows, report } = build(
      '--from',
      'ferret',
      '--annotations',
      'ferret.jsonl',
      '--out',
      'data/ferret',
    );
    expect(rows).toBe(IMAGES);
    expect(report).toMatchObject({
      counts: { images: IMAGES, conversations: IMAGES, rounds: 2 * IMAGES, regions: IMAGES, boxes: IMAGES },
      skipped: {},
      mended: {},
    });
    for (const { image, conversations = [] } of await recordsOf('data/ferret')) {
      const pieces = conversations.flatMap(({ rounds }) =>
        rounds.flatMap(({ question, answer }) => [...question, ...answer]),
      );
      const boxes = pieces.flatMap(piece =>
        piece.kind === 'box'
          ? [piece.box]
          : piece.kind === 'region' && piece.region.kind === 'box'
            ? [piece.region.box]
            : [],
      );
      expect(boxes).toHaveLength(2);
      for (const { x1, y1, x2, y2 } of boxes) {
        const area = { left: x1, top: y1, width: x2 - x1, height: y2 - y1 };
        // Statistics are those of the whole input: it takes a second pass to get those of a part.
        const part = await sharp(image).removeAlpha().extract(area).png().toBuffer();
        const { channels } = await sharp(part).stats();
        expect(channels.map(({ min, max }) => [min, max])).toEqual([
          [255, 255],
          [0, 0],
          [0, 0],
        ]);
      }
    }
    const { stdout, code } = ground(folder, 'data', 'validate', 'data/ferret');
    expect(stdout).toContain('0 errors');
    expect(code).toBe(0);
    succeed(folder, 'data', 'preview', 'data/ferret', '--out', 'sheet.png', '--count', '4');
    expect((await sharp(join(folder, 'sheet.png')).metadata()).width).toBeGreaterThan(WIDTH);
  });

  it('trains, the sampler included', () => {
    const losses = train('ferret', '{dataset: data/ferret, task: conversation, weight: 1}');
    expect(losses).toHaveLength(3);
    expect(losses.every(loss => loss > 0 && loss < 20)).toBe(true);
  });
});
