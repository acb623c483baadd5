/** One conversation with its image and regions, ready to be collated: the last stop before tensors of a batch. */
import { GroundError } from '../errors.ts';
import type { ModelConfig } from '../models/config.ts';
import { Random } from '../random.ts';
import { chooseGrid } from './anyres.ts';
import type { Size } from './box.ts';
import { type Conversation, regionsOf } from './conversation.ts';
import { decodeImage, type ImageInput, type ViewMode, type Views, viewsOf } from './image.ts';
import { patchLayout } from './maps.ts';
import { errorAt } from './naming.ts';
import { type RegionSample, sampleRegion } from './regions.ts';
import { type Rendered, renderConversation } from './render.ts';
import { STORED_TASKS } from './tasks/names.ts';
import type { Tokenizer } from './tokenizer.ts';

/** What turns conversations into samples, the same for a whole run. */
export interface SampleContext {
  readonly model: ModelConfig;
  readonly tokenizer: Tokenizer;
  readonly views: ViewMode;
  readonly seed: number;
}

export interface Sample {
  readonly id: string;
  readonly rendered: Rendered;
  /** Null for text alone. */
  readonly views: Views | null;
  readonly regions: readonly RegionSample[];
}

/**
 * A sample of an image and a conversation about it. `prompt`: the last answer is left out and the tokens end where
 * the model goes on. The region points depend on (seed, input.id, region) only, so the same sample is always the same.
 * Throws `data` on a damaged image, a region outside it, or a sequence longer than `max_length`.
 */
export async function prepareSample(
  input: ImageInput,
  conversation: Conversation,
  context: SampleContext,
  options: { readonly prompt?: boolean } = {},
): Promise<Sample> {
  const rendered = renderOf(conversation, input, context, options.prompt ?? false);
  const problem = lengthProblem(rendered, input, context);
  if (problem !== null) {
    throw new GroundError('data', `${input.id}: ${problem}`, {
      hint: 'shorten the text, give fewer objects or tiles, or raise max_length of the model',
    });
  }
  const views = conversation.image ? await prepareViews(input, context) : null;
  return assembleSample(input.id, conversation, rendered, views, context);
}

/** Decodes an image and cuts its views. Throws `data` on a damaged file or one of another size than stated. */
export async function prepareViews(input: ImageInput, { model, views }: SampleContext): Promise<Views> {
  return viewsOf(await decodeImage(input), model.image, views === 'global+local');
}

/** Token ids of a conversation under a model's template. Throws `data` naming the sample. */
export function renderOf(
  conversation: Conversation,
  image: Size & { readonly id: string },
  { model, tokenizer }: SampleContext,
  prompt: boolean,
): Rendered {
  const { template, system, coordinates } = model;
  try {
    const { tokens, imageAt, regionsAt, answers } = renderConversation(conversation, image, {
      tokenizer,
      template,
      system,
      bins: coordinates.bins,
      prompt,
    });
    // Plain data, whatever wrote it: it travels between threads.
    return { tokens, imageAt, regionsAt, answers };
  } catch (thrown) {
    throw errorAt(image.id, thrown);
  }
}

/**
 * A conversation with its token ids, or why it is too long (`lengthProblem`). Of one that was annotated the last rounds
 * are left out until the others fit: it is cut between rounds, never inside one. Throws as `renderOf`.
 */
export function renderFitting(
  conversation: Conversation,
  size: Size & { readonly id: string },
  context: SampleContext,
  room?: number,
): { readonly conversation: Conversation; readonly rendered: Rendered } | string {
  const rendered = renderOf(conversation, size, context, false);
  const problem = lengthProblem(rendered, size, context, room);
  if (problem === null) return { conversation, rendered };
  const rounds = conversation.rounds.slice(0, -1);
  if (rounds.length === 0 || !STORED_TASKS.has(conversation.task)) return problem;
  return renderFitting({ ...conversation, rounds }, size, context, room);
}

/** Puts the parts together and computes the regions' geometry. Pure. Throws `data` on a region outside the image. */
export function assembleSample(
  id: string,
  conversation: Conversation,
  rendered: Rendered,
  views: Views | null,
  { model, seed }: SampleContext,
): Sample {
  const asked = regionsOf(conversation).slice(0, rendered.regionsAt.length);
  if (asked.length > 0 && !views) {
    throw new GroundError('data', `${id}: a region needs an image`, { hint: 'text-only tasks write boxes' });
  }
  const regions = views
    ? asked.map((region, i) => sampleRegion(region, views, model, new Random(seed, 'region', id, i), id))
    : [];
  return { id, rendered, views, regions };
}

/** Positions that a conversation about an image of `size` takes, those of text and those of visual tokens. */
export function sequenceLength(
  rendered: Rendered,
  size: Size,
  { model, views }: SampleContext,
): { readonly text: number; readonly visual: number } {
  const text = rendered.tokens.length;
  if (rendered.imageAt === null) return { text, visual: 0 };
  const [columns, rows] = chooseGrid(size, model.image.grids, model.image.side);
  const { globalCount, tileCount } = patchLayout(model);
  return { text, visual: globalCount + (views === 'global+local' ? columns * rows * tileCount : 0) };
}

/**
 * Why a conversation about an image of `size` cannot be used, or null: sequences longer than the model takes, or than
 * `room` where that is less, are refused, never cut.
 */
export function lengthProblem(
  rendered: Rendered,
  size: Size,
  context: SampleContext,
  room = Number.POSITIVE_INFINITY,
): string | null {
  const { max_length: longest } = context.model;
  const { text, visual } = sequenceLength(rendered, size, context);
  if (text + visual <= Math.min(longest, room)) return null;
  const limit = room < longest ? `the packed length ${room}` : `max_length ${longest}`;
  return `${text + visual} tokens (${visual} visual, ${text} text) exceed ${limit}`;
}
