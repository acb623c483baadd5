import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runProgram } from '../../src/cli/context.ts';
import { printable } from '../../src/cli/predict.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { pngSize } from '../../src/eval/draw.ts';
import { startTestEngine } from '../helpers/engine.ts';
import { writeCheckpoint, writeSquares } from './checkpoint.ts';
import { squaresRecord } from './tiny.ts';

let folder: string;
let checkpoint: string;
let image: string;

beforeAll(async () => {
  await startTestEngine();
  folder = mkdtempSync(join(tmpdir(), 'ground-eval-'));
  checkpoint = await writeCheckpoint(folder);
  await writeSquares(folder, 5);
  image = join(folder, 'squares.png');
  await writeFile(image, (await squaresRecord(0)).image);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a command in this process; returns its exit code and what it printed. */
async function ground(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const printed = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map(name =>
    vi.spyOn(process[name], 'write').mockImplementation(text => {
      printed[name] += String(text);
      return true;
    }),
  );
  try {
    const all = [...args, '--device', 'cpu'];
    return { code: await runProgram(await buildProgram(all), all), ...printed };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

describe('ground eval', () => {
  it('prints the scores of the stage’s own held-out data', async () => {
    const { code, stdout } = await ground('eval', '--checkpoint', checkpoint, '--limit', '4');
    expect(code).toBe(0);
    expect(stdout).toMatch(/stage 3, step 5/);
    expect(stdout).toMatch(/rec +4 +rec_accuracy +0\.0000/);
    expect(stdout).toMatch(/caption +4 +caption_loss +\d\.\d{4}/);
  });

  it('writes predictions as one JSON object a line, and the result as JSON', async () => {
    const file = join(folder, 'predictions.jsonl');
    const args = ['--checkpoint', checkpoint, '--limit', '3', '--out', file, '--json'];
    const { code, stdout } = await ground(
      'eval',
      '--data',
      join(folder, 'val'),
      '--task',
      'rec, roc',
      ...args,
    );
    expect(code).toBe(0);
    const result = JSON.parse(stdout);
    expect(result.tasks.map((task: { task: string }) => task.task)).toEqual(['rec', 'roc']);
    expect(result.scores).toMatchObject({ rec_accuracy: 0 });
    const lines = readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line));
    expect(lines).toHaveLength(6);
    expect(Object.keys(lines[0]).sort()).toEqual([
      'answer',
      'boxes',
      'data',
      'id',
      'image',
      'object',
      'prompt',
      'regions',
      'row',
      'task',
      'truth',
      'verdict',
    ]);
  });

  it.each([
    [['--task', 'rec,dance'], /"dance" is no task/],
    [['--task', 'contrastive'], /"contrastive" is no task/],
    [['--limit', '0'], /--limit: must be at least 1, found "0"/],
    [['--max-tokens', '0'], /--max-tokens: must be at least 1/],
    [['--seed', 'x'], /--seed: expected a whole number, found "x"/],
    [['--run', 'a'], /both say which model/],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await ground('eval', '--checkpoint', checkpoint, ...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });

  it('says which dataset is missing', async () => {
    const { code, stderr } = await ground('eval', '--checkpoint', checkpoint, '--data', join(folder, 'none'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/no dataset in .*none/);
  });
});

describe('ground eval on data that lacks what a task asks', () => {
  const task = (names: string): string[] => ['--task', names, '--limit', '2', '--max-tokens', '2'];

  it('says so before the first task is scored, of all tasks at once', async () => {
    const out = join(folder, 'none.jsonl');
    const { code, stderr } = await ground(
      'eval',
      '--checkpoint',
      checkpoint,
      ...task('rec,vqa,presence'),
      '--out',
      out,
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/val \(5 records\) yields no vqa, presence question/);
    expect(readdirSync(folder).filter(name => name.startsWith('none.jsonl'))).toEqual([]);
  });
});

describe('ground predict', () => {
  it('prints an answer and writes the picture with the region drawn', async () => {
    const out = join(folder, 'answer.png');
    const args = ['--image', image, '--prompt', 'What is <region>?', '--box', '2,2,12,12', '--out', out];
    const { code, stdout, stderr } = await ground('predict', '--checkpoint', checkpoint, ...args);
    expect([code, stderr]).toEqual([0, expect.stringMatching(/wrote .*answer\.png/)]);
    expect(stdout).not.toBe('');
    const png = readFileSync(out);
    expect(pngSize(png)).toEqual({ width: 384, height: 384 });
    const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
    const at = (80 * info.width + 24) * info.channels;
    expect([...data.subarray(at, at + 3)]).toEqual([0x22, 0x74, 0xe5]);
  });

  it('gives the prompt as the model read it under --json, regions in the order of the flags', async () => {
    const args = ['--prompt', '<region> or <region>?', '--point', '4,4', '--box', '2,2,12,12', '--json'];
    const { code, stdout } = await ground('predict', '--checkpoint', checkpoint, '--image', image, ...args);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      prompt: '[12, 12] <region_fea> or [6, 6, 37, 37] <region_fea>?',
      boxes: [],
      out: null,
    });
  });

  it('takes a painted mask for a region, in its place among the others', async () => {
    const mask = join(folder, 'mask.png');
    const painted = Uint8Array.from({ length: 32 * 32 }, (_, i) =>
      Number(i % 32 >= 8 && i % 32 < 16 && i < 512),
    );
    await sharp(painted, { raw: { width: 32, height: 32, channels: 1 } })
      .png()
      .toFile(mask);
    const out = join(folder, 'masked.png');
    const ask = ['predict', '--checkpoint', checkpoint, '--image', image, '--max-tokens', '2', '--json'];
    const regions = ['--prompt', '<region> or <region>?', '--mask', mask, '--point', '4,4'];
    const { stdout } = await ground(...ask, ...regions, '--out', out);
    expect(JSON.parse(stdout).prompt).toBe('[25, 0, 50, 50] <region_fea> or [12, 12] <region_fea>?');
    const { data, info } = await sharp(readFileSync(out)).raw().toBuffer({ resolveWithObject: true });
    // The box around it is drawn: its left edge, 8 of 32 pixels from the left.
    const at = (96 * info.width + 96) * info.channels;
    expect([...data.subarray(at, at + 3)]).toEqual([0x22, 0x74, 0xe5]);
  });

  it('points out that boxes can be asked for', async () => {
    const args = ['--image', image, '--prompt', 'Where?', '--max-tokens', '3'];
    const { stderr } = await ground('predict', '--checkpoint', checkpoint, ...args);
    expect(stderr).toMatch(/--ground asks for boxes \("With boxes\."\)/);
    const { stdout } = await ground('predict', '--checkpoint', checkpoint, ...args, '--ground', '--json');
    expect(JSON.parse(stdout).prompt).toBe('Where? With boxes.');
  });

  it('tells which limit cut the answer off', async () => {
    const ask = ['predict', '--checkpoint', checkpoint, '--image', image, '--prompt', 'a'.repeat(350)];
    // Random weights never say the token that ends an answer.
    expect((await ground(...ask, '--max-tokens', '3')).stderr).toMatch(/cut off; --max-tokens allows/);
    const { stderr } = await ground(...ask, '--max-tokens', '1000');
    expect(stderr).toMatch(/cut off where the model's sequences end \(max_length 400\)/);
  });

  it('draws the answer where asked to, the same for a seed', async () => {
    const ask = ['predict', '--checkpoint', checkpoint, '--image', image, '--prompt', 'Where?', '--json'];
    const draw = async (...flags: string[]): Promise<string> =>
      JSON.parse((await ground(...ask, '--max-tokens', '12', ...flags)).stdout).answer;
    const first = await draw('--temperature', '3', '--seed', '5');
    expect(await draw('--temperature', '3', '--seed', '5')).toBe(first);
    expect(await draw('--temperature', '3', '--seed', '6')).not.toBe(first);
    const greedy = await draw();
    expect(await draw('--top-k', '1')).toBe(greedy);
    expect(await draw('--stop', greedy.slice(1, 2))).toBe(greedy.slice(0, 1));
  });

  it.each([
    [
      'a temperature of 0',
      ['--prompt', 'x', '--temperature', '0'],
      2,
      /expected a number above 0, found "0"/,
    ],
    ['a top-p above 1', ['--prompt', 'x', '--top-p', '1.5'], 2, /top-p cannot be 1\.5/],
    ['a missing image', ['--image', 'nowhere.png', '--prompt', 'x'], 2, /cannot read the image nowhere\.png/],
    ['an empty prompt', ['--prompt', ' '], 2, /the prompt is empty/],
    ['a box outside', ['--prompt', 'x', '--box', '0,0,99,9'], 2, /reaches outside the image of 32x32/],
    [
      'an engine for what has none',
      ['--prompt', 'x', '--onnx', 'x', '--engine', 'wasm'],
      2,
      /--engine wasm says nothing about --onnx/,
    ],
    ['a missing mask', ['--prompt', 'x', '--mask', 'none.png'], 2, /cannot read the mask none\.png/],
    ['no tokens', ['--prompt', 'x', '--max-tokens', '0'], 2, /--max-tokens: must be at least 1/],
    ['half a box', ['--prompt', 'x', '--box', '0,0,9'], 2, /expected x1,y1,x2,y2/],
    ['a negative point', ['--prompt', 'x', '--point=-1,4'], 2, /expected x,y/],
    ['slots without regions', ['--prompt', 'x <region>'], 2, /has 1 <region>, but 0/],
    [
      'a checkpoint that is not there',
      ['--prompt', 'x', '--checkpoint', 'nowhere'],
      1,
      /no folder .*nowhere/,
    ],
  ])('refuses %s', async (_, args, exit, message) => {
    const withImage = args.includes('--image') ? args : ['--image', image, ...args];
    const withModel =
      args.includes('--checkpoint') || args.includes('--onnx')
        ? withImage
        : ['--checkpoint', checkpoint, ...withImage];
    const { code, stderr } = await ground('predict', ...withModel);
    expect(stderr).toMatch(message);
    expect(code).toBe(exit);
  });

  it('tells a file that is no image from one that is cut off', async () => {
    const text = join(folder, 'text.png');
    await writeFile(text, 'hello');
    const cut = join(folder, 'cut.png');
    await writeFile(cut, readFileSync(image).subarray(0, 120));
    const ask = ['--checkpoint', checkpoint, '--prompt', 'x', '--image'];
    expect((await ground('predict', ...ask, text)).stderr).toMatch(/text\.png is no image/);
    const { code, stderr } = await ground('predict', ...ask, cut);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/cut\.png/)]);
  });
});

it('printable replaces what a terminal would obey', () => {
  expect(printable('a\u001b[31mb\u007f\tc\nd\u009b')).toBe('a\ufffd[31mb\ufffd\tc\nd\ufffd');
});

describe('ground compare', () => {
  it('compares what the run kept with itself', async () => {
    const args = ['--limit', '4', '--task', 'rec', '--max-tokens', '4', '--bootstrap', '20'];
    const evaluated = await ground('eval', '--checkpoint', checkpoint, ...args, '--json');
    const { predictions, tasks } = JSON.parse(evaluated.stdout);
    expect(predictions).toMatch(/stage3\/eval\/checkpoint-000005-rec\.jsonl$/);
    expect(tasks[0].intervals.rec_accuracy).toEqual({ low: 0, high: 0 });
    const run = join(folder, 'checkpoints', 'run');
    const all = ['compare', run, predictions, '--bootstrap', '20', '--json'];
    const printed: string[] = [];
    const spy = vi.spyOn(process.stdout, 'write').mockImplementation(text => printed.push(String(text)) > 0);
    const code = await runProgram(await buildProgram(all), all);
    spy.mockRestore();
    expect(code).toBe(0);
    const { scores } = JSON.parse(printed.join(''));
    expect(scores[0]).toMatchObject({ score: 'rec_accuracy', questions: 4, difference: 0, p: 1 });
  });
});
