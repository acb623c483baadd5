/**
 * A conversation about one image before it is tokens: rounds of question and answer made of text, boxes and regions
 * that keep their pixels. Tasks write it; `render.ts` turns it into token ids, `regions.ts` its regions into points.
 */
import type { PixelBox } from './box.ts';
import type { Rle } from './rle.ts';
import type { TaskName } from './tasks/names.ts';

/** Pixels of the original image, x to the right, y down. */
export interface PixelPoint {
  readonly x: number;
  readonly y: number;
}

/**
 * What a user points at. `mask`, where known, is the object's: it narrows the window around a point and the inside of
 * a box (Ferret's training rule). A free-form region is a mask alone; its tight box gives its text.
 */
export type Region =
  | { readonly kind: 'point'; readonly point: PixelPoint; readonly within?: PixelBox; readonly mask?: Rle }
  | { readonly kind: 'box'; readonly box: PixelBox; readonly mask?: Rle }
  | { readonly kind: 'free-form'; readonly mask: Rle };

/** A piece of a turn. A box is written as numbers alone; a region as numbers and `<region_fea>`. */
export type Piece =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'box'; readonly box: PixelBox }
  | { readonly kind: 'region'; readonly region: Region };

/** What a round's answer is scored against. */
export interface Truth {
  /** Boxes the answer should carry, in the order of the answer. */
  readonly boxes?: readonly PixelBox[];
  /** The right word or phrase (roc, reg, count, ocr). */
  readonly label?: string;
  /** All answers that count as right (VQA's ten); `label` alone where absent. */
  readonly accepted?: readonly string[];
  /** The wrong option of a binary choice. */
  readonly distractor?: string;
  /** What was asked for though it is not there; the answer says so. */
  readonly absent?: string;
  /** What the user pointed with (roc, reg). */
  readonly region?: Region['kind'];
}

/** A question and its answer. Empty `question`: the answer follows the image at once. */
export interface Round {
  readonly question: readonly Piece[];
  readonly answer: readonly Piece[];
  readonly truth: Truth;
}

export interface Conversation {
  readonly task: TaskName;
  /** Whether the image itself is shown: its visual tokens open the first question. */
  readonly image: boolean;
  readonly rounds: readonly Round[];
}

export function textPiece(text: string): Piece {
  return { kind: 'text', text };
}

export function boxPiece(box: PixelBox): Piece {
  return { kind: 'box', box };
}

export function regionPiece(region: Region): Piece {
  return { kind: 'region', region };
}

/** A round without an answer, for prompts: "Where is the <thing>?" with any regions in it. */
export function promptOf(task: TaskName, question: readonly Piece[], image = true): Conversation {
  return { task, image, rounds: [{ question, answer: [], truth: {} }] };
}

/** The regions of a conversation in order of appearance, which is the order of its `<region_fea>` tokens. */
export function regionsOf(conversation: Conversation): Region[] {
  return conversation.rounds
    .flatMap(round => [...round.question, ...round.answer])
    .flatMap(piece => (piece.kind === 'region' ? [piece.region] : []));
}
