import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { PixelBox } from '../data/box.ts';
import type { Region } from '../data/conversation.ts';
import type { ImageInput } from '../data/image.ts';
import { GroundError } from '../errors.ts';
import type { PredictResult } from '../eval/predict.ts';
import type { Sampling } from '../eval/sampling.ts';
import { type AskedOptions, openAsked, withOnnx } from './asked.ts';
import { withModel } from './model.ts';
import {
  type CommonOptions,
  countingNumber,
  type EngineOptions,
  outputFile,
  wholeNumber,
  withCommon,
  withEngine,
} from './options.ts';
import { createOutput, type Output } from './output.ts';

interface PredictOptions extends CommonOptions, EngineOptions, AskedOptions {
  readonly image: string;
  readonly prompt: string;
  readonly ground?: boolean;
  readonly maxTokens: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly seed?: number;
  readonly stop: readonly string[];
  readonly out?: string;
}

/** A region as its flag gives it. */
type GivenRegion = Region | { readonly kind: 'mask'; readonly file: string };

/** Adds `ground predict`. */
export function register(program: Command): void {
  // One list for all flags: regions fill the prompt's <region>s in the order in which they were given.
  const regions: GivenRegion[] = [];
  const add = (region: GivenRegion): void => {
    regions.push(region);
  };
  const command = program
    .command('predict')
    .description('answer one prompt about one image')
    .requiredOption('--image <file>', 'JPEG, PNG or WebP')
    .requiredOption('--prompt <text>', 'the question; <region> stands for a --box, --point or --mask')
    .option('--box <x1,y1,x2,y2>', 'a region, pixels of the image (repeatable)', text => add(parseBox(text)))
    .option('--point <x,y>', 'a point, pixels of the image (repeatable)', text => add(parsePoint(text)))
    .option(
      '--mask <file>',
      'a free-form region: a picture of the size of the image, bright or opaque where it is (repeatable)',
      text => add({ kind: 'mask', file: text }),
    )
    .option('--ground', "append the stage's grounding prompt, which asks for boxes")
    .option('--max-tokens <n>', 'longest answer', countingNumber, 128)
    .option(
      '--temperature <t>',
      'draw the answer at random; the most probable one without it',
      positiveNumber,
    )
    .option('--top-k <n>', 'draw among the n most probable tokens', wholeNumber)
    .option(
      '--top-p <p>',
      'draw among the most probable tokens that have probability p together',
      positiveNumber,
    )
    .option('--seed <n>', 'of the draw: the same seed gives the same answer (default: 0)', wholeNumber)
    .option(
      '--stop <text>',
      'end the answer before this text (repeatable)',
      (text: string, earlier: readonly string[]) => [...earlier, text],
      [],
    )
    .option('--out <file>', 'write the image there with the boxes of the answer drawn on it, as a PNG');
  withCommon(withEngine(withOnnx(withModel(command)))).action((options: PredictOptions) =>
    run(options, regions, createOutput(options)),
  );
}

async function run(options: PredictOptions, given: readonly GivenRegion[], out: Output): Promise<void> {
  const { predictWith, questionPieces } = await import('../eval/predict.ts');
  const { checkSampling } = await import('../eval/sampling.ts');
  // Mistakes in the question come before the seconds that loading a model takes.
  const regions: Region[] = [];
  for (const region of given) regions.push(region.kind === 'mask' ? await readMask(region.file) : region);
  questionPieces(options.prompt, regions);
  const sampling = samplingOf(options);
  if (sampling) checkSampling(sampling);
  const drawing = options.out === undefined ? undefined : outputFile('--out', options.out);
  const image = await readImage(options.image);
  const { answering, source, close } = await openAsked(options, out);
  try {
    const result = await predictWith(answering, {
      image,
      prompt: options.prompt,
      regions,
      ground: options.ground === true,
      maxNewTokens: options.maxTokens,
      ...(sampling && { sampling }),
      stopStrings: options.stop,
    });
    report(result, out);
    if (!result.finished) {
      out.note(
        result.tokens < options.maxTokens
          ? `the answer was cut off where the model's sequences end (max_length ${answering.config.max_length})`
          : 'the answer was cut off; --max-tokens allows a longer one',
      );
    }
    if (drawing !== undefined) await writeDrawing(drawing, image, regions, result.boxes, out);
    const groundingPrompt = answering.stage.grounding_prompt;
    if (result.boxes.length === 0 && groundingPrompt !== '' && !options.ground) {
      out.note(`no box in the answer; --ground asks for boxes ("${groundingPrompt}")`);
    }
    out.result({ ...source, ...result, out: options.out ?? null });
  } finally {
    await close();
  }
}

/** How the flags ask for the answer to be drawn; undefined where they do not. */
function samplingOf({ temperature, topK, topP, seed }: PredictOptions): Sampling | undefined {
  if (temperature === undefined && topK === undefined && topP === undefined && seed === undefined) {
    return undefined;
  }
  return { temperature: temperature ?? 1, topK: topK ?? 0, topP: topP ?? 1, seed: seed ?? 0 };
}

function report({ answer, boxes }: PredictResult, out: Output): void {
  out.line(printable(answer));
  if (boxes.length > 0) {
    out.line();
    out.table(
      ['box', 'x1', 'y1', 'x2', 'y2'],
      boxes.map(({ x1, y1, x2, y2 }, i) => [i, x1, y1, x2, y2]),
    );
  }
}

/** Text without the control characters that a model may say and a terminal would obey; line breaks and tabs stay. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, '\ufffd');
}

async function writeDrawing(
  file: string,
  image: ImageInput,
  regions: readonly Region[],
  boxes: readonly PixelBox[],
  out: Output,
): Promise<void> {
  const { BOX_COLORS, drawBoxes, PALETTE } = await import('../eval/draw.ts');
  const { writeFileAtomic } = await import('../atomic.ts');
  const { boundsOf } = await import('../data/rle.ts');
  const asked = regions.flatMap(region => {
    if (region.kind === 'box') return [region.box];
    return region.kind === 'point' ? [aroundPoint(region.point)] : (boundsOf(region.mask) ?? []);
  });
  const png = await drawBoxes(image, [
    ...asked.map(box => ({ box, color: BOX_COLORS.region })),
    ...boxes.map((box, i) => ({
      box,
      label: i,
      color: PALETTE[i % PALETTE.length] ?? BOX_COLORS.prediction,
    })),
  ]);
  await writeFileAtomic(file, png);
  out.note(`wrote ${file}`);
}

function aroundPoint({ x, y }: { readonly x: number; readonly y: number }): PixelBox {
  return { space: 'pixels', x1: x - 2, y1: y - 2, x2: x + 3, y2: y + 3 };
}

/** The free-form region that a picture shows. */
async function readMask(path: string): Promise<Region> {
  const { maskOf } = await import('../data/mask-file.ts');
  return { kind: 'free-form', mask: await maskOf(await readPicture('--mask', path), path) };
}

/** The image that a path names. Throws GroundError 'usage' where there is no such file, 'data' where it is damaged. */
async function readImage(path: string): Promise<ImageInput> {
  const bytes = await readPicture('--image', path);
  const { decodeImage, imageInputOf } = await import('../data/image.ts');
  const image = await imageInputOf(bytes, path);
  try {
    await decodeImage(image);
  } catch (cause) {
    throw new GroundError('data', `${path} is damaged and cannot be decoded`, {
      hint: 'copy or download the image again',
      cause,
    });
  }
  return image;
}

/** The bytes of the picture that a flag names. Throws GroundError 'usage' where there is none, 'io' where it cannot be read. */
function readPicture(flag: string, path: string): Promise<Uint8Array> {
  return readFile(path).catch((cause: NodeJS.ErrnoException) => {
    const missing = cause.code === 'ENOENT';
    const what = flag.slice(2);
    throw new GroundError(missing ? 'usage' : 'io', `cannot read the ${what} ${path}: ${cause.message}`, {
      hint: missing ? `${flag} names a JPEG, PNG or WebP file` : 'check that it is a file you may read',
      cause,
    });
  });
}

/** Reads a flag's value as a number above 0. Throws `usage` on anything else. */
function positiveNumber(text: string): number {
  const number = Number(text);
  if (text.trim() !== '' && Number.isFinite(number) && number > 0) return number;
  throw new GroundError('usage', `expected a number above 0, found "${text}"`);
}

function parseBox(text: string): Region {
  const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = parseNumbers(text, 4, '--box');
  return { kind: 'box', box: { space: 'pixels', x1, y1, x2, y2 } };
}

function parsePoint(text: string): Region {
  const [x = 0, y = 0] = parseNumbers(text, 2, '--point');
  return { kind: 'point', point: { x, y } };
}

/** "10,20.5" to numbers. Throws `usage` on another count or on what is no number. */
function parseNumbers(text: string, count: number, flag: string): number[] {
  const parts = text.split(',').map(part => part.trim());
  if (parts.length === count && parts.every(part => /^\d+(\.\d+)?$/.test(part))) return parts.map(Number);
  const shape = count === 4 ? 'x1,y1,x2,y2' : 'x,y';
  throw new GroundError('usage', `${flag} ${text}: expected ${shape}, numbers of pixels from 0`, {
    hint: `for example ${flag} ${count === 4 ? '10,20,110,220' : '60,120'}`,
  });
}
