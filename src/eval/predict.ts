/** One prompt about one image, answered: what a user asks for, without any of evaluation. */
import type { PixelBox, Size } from '../data/box.ts';
import { type Piece, promptOf, type Region, regionPiece, textPiece } from '../data/conversation.ts';
import { decodeBox } from '../data/coordinates.ts';
import type { ImageInput } from '../data/image.ts';
import { piecesText } from '../data/render.ts';
import { boundsOf } from '../data/rle.ts';
import { prepareSample } from '../data/sample.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import { GroundError } from '../errors.ts';
import type { StageRecipe } from '../train/recipe.ts';
import { type AskedModel, askedModel } from './answer.ts';
import type { InferenceModel } from './load.ts';
import { parseBoxes } from './parse.ts';
import type { Sampling } from './sampling.ts';

/** What stands for a region in a prompt. */
export const REGION_SLOT = '<region>';

export interface PredictOptions {
  readonly inference: Pick<InferenceModel, 'model' | 'tokenizer' | 'recipe'>;
  readonly image: ImageInput;
  readonly prompt: string;
  /** In the order of the prompt's `<region>`s; a single one may also be left out of the prompt, and is appended. */
  readonly regions: readonly Region[];
  /** Appends the stage's grounding prompt, which asks for boxes. */
  readonly ground: boolean;
  readonly maxNewTokens: number;
  /** Draws the answer at random; greedy without it. */
  readonly sampling?: Sampling;
  /** Texts that end the answer. */
  readonly stopStrings?: readonly string[];
}

export interface PredictResult {
  /** The question as the model read it. */
  readonly prompt: string;
  readonly answer: string;
  /** Boxes of the answer, in pixels of the image. */
  readonly boxes: readonly PixelBox[];
  /** How many tokens the answer has. */
  readonly tokens: number;
  /** False where the limit of new tokens, or the model's own of a sequence, cut the answer off. */
  readonly finished: boolean;
}

/** Whatever answers prepared prompts, and how they are to be prepared. */
export interface Answering extends AskedModel {
  readonly tokenizer: Tokenizer;
  readonly stage: Pick<StageRecipe, 'views' | 'seed' | 'grounding_prompt'>;
}

/**
 * Answers a prompt about an image, the same every time: greedily, or drawn with a seed. Throws GroundError 'usage' on an
 * empty prompt, regions that do not fit its slots or the image, sampling values that draw nothing, and 'data' on a damaged image or a prompt that is too long.
 */
export async function predict(options: PredictOptions): Promise<PredictResult> {
  return predictWith(answeringOf(options.inference), options);
}

/** A model in the engine as something that answers. */
export function answeringOf({ model, tokenizer, recipe }: PredictOptions['inference']): Answering {
  return { ...askedModel(model, tokenizer), tokenizer, stage: recipe.stage };
}

/** The same by anything that answers. */
export async function predictWith(
  answering: Answering,
  options: Omit<PredictOptions, 'inference'>,
): Promise<PredictResult> {
  const { config, tokenizer, stage } = answering;
  const { image } = options;
  const { bins } = config.coordinates;
  for (const region of options.regions) checkInside(region, image);
  const question = questionPieces(options.prompt, options.regions);
  if (options.ground) question.push(...groundingPieces(stage.grounding_prompt));
  const sample = await prepareSample(
    image,
    // Any task but `caption`, whose plain template drops the question.
    promptOf('rec', question),
    { model: config, tokenizer, views: stage.views, seed: stage.seed },
    { prompt: true },
  );
  const [answer] = await answering.answer([sample], {
    maxNewTokens: options.maxNewTokens,
    ...(options.sampling && { sampling: options.sampling }),
    ...(options.stopStrings && { stopStrings: options.stopStrings }),
  });
  const text = answer?.text ?? '';
  return {
    prompt: piecesText(question, image, bins),
    answer: text,
    boxes: parseBoxes(text, bins).map(box => decodeBox(box, image, bins)),
    tokens: answer?.tokens ?? 0,
    finished: answer?.finished ?? true,
  };
}

/**
 * The prompt with a region in each `<region>`. One region without a slot goes to the end. Throws GroundError 'usage'
 * when the prompt is empty or the numbers of slots and regions differ.
 */
export function questionPieces(prompt: string, regions: readonly Region[]): Piece[] {
  const text = prompt.trim();
  if (text === '') {
    throw new GroundError('usage', 'the prompt is empty', {
      hint: 'ask something: --prompt "What is this?"',
    });
  }
  const slots = text.split(REGION_SLOT).length - 1;
  const whole = slots === 0 && regions.length === 1 ? `${text} ${REGION_SLOT}` : text;
  const parts = whole.split(REGION_SLOT);
  if (parts.length - 1 !== regions.length) {
    throw new GroundError(
      'usage',
      `the prompt has ${parts.length - 1} ${REGION_SLOT}, but ${regions.length} regions are given`,
      { hint: `write ${REGION_SLOT} where each box or point belongs, and give as many of them` },
    );
  }
  return parts.flatMap((part, i): Piece[] => {
    const region = regions[i];
    return [...(part === '' ? [] : [textPiece(part)]), ...(region ? [regionPiece(region)] : [])];
  });
}

function groundingPieces(groundingPrompt: string): Piece[] {
  if (groundingPrompt !== '') return [textPiece(` ${groundingPrompt}`)];
  throw new GroundError('usage', 'the stage that trained this checkpoint has no grounding prompt', {
    hint: 'ask without --ground, or use a checkpoint of a stage with a `grounding_prompt`',
  });
}

const PIXELS = 'coordinates are pixels of the image, x to the right and y down';

/** Throws GroundError 'usage' where a point or a box does not lie in the image, corners in order, or a mask does not fit it. */
function checkInside(region: Region, { width, height }: Size): void {
  const image = `the image of ${width}x${height} pixels`;
  if (region.kind === 'point') {
    const { x, y } = region.point;
    if (x >= 0 && y >= 0 && x < width && y < height) return;
    throw new GroundError('usage', `point ${x},${y} lies outside ${image}`, { hint: PIXELS });
  }
  if (region.kind === 'free-form') {
    const [rows, columns] = region.mask.size;
    if (rows !== height || columns !== width) {
      throw new GroundError('usage', `a mask of ${columns}x${rows} pixels does not fit ${image}`, {
        hint: 'a mask has a pixel for each of the image',
      });
    }
    if (boundsOf(region.mask) !== null) return;
    throw new GroundError('usage', 'the mask is empty', { hint: 'paint the region white on black' });
  }
  const { x1, y1, x2, y2 } = region.box;
  const box = `box ${x1},${y1},${x2},${y2}`;
  if (x1 < 0 || y1 < 0 || x2 > width || y2 > height) {
    throw new GroundError('usage', `${box} reaches outside ${image}`, {
      hint: PIXELS,
    });
  }
  if (x1 >= x2 || y1 >= y2) {
    throw new GroundError('usage', `${box} is empty`, {
      hint: 'give the upper left corner first: x1,y1,x2,y2 with x1 < x2 and y1 < y2',
    });
  }
}
