/** Boxes inside the messages of a conversation: checked against the image, cut at its edge, or refused with a reason. */
import type { PixelBox, Size } from '../box.ts';
import { type Piece, textPiece } from '../conversation.ts';

/** A box that lies in its image; `cut` where it did not wholly before. */
export interface SoundBox {
  readonly box: PixelBox;
  readonly cut: boolean;
}

/** Sums of two-digit decimals miss the image's edge by less than this. */
const ROUNDING = 0.011;

/**
 * A box cut at the edge of its image, or why there is none, in the words of a report. Corners in the wrong order are not
 * exchanged: they are more often a width and a height than a slip. `rounding` pixels beyond the edge are no error.
 */
export function soundBox(
  { x1, y1, x2, y2 }: PixelBox,
  { width, height }: Size,
  rounding = ROUNDING,
): SoundBox | string {
  if (![x1, y1, x2, y2].every(Number.isFinite)) return 'box that is not four numbers';
  if (x1 > x2 || y1 > y2) return 'inverted box';
  if (x1 === x2 || y1 === y2) return 'box without area';
  const box: PixelBox = {
    space: 'pixels',
    x1: Math.max(0, x1),
    y1: Math.max(0, y1),
    x2: Math.min(width, x2),
    y2: Math.min(height, y2),
  };
  if (box.x1 >= box.x2 || box.y1 >= box.y2) return 'box outside of the image';
  return { box, cut: Math.max(-x1, -y1, x2 - width, y2 - height) > rounding };
}

/** A text cut at the matches of a pattern (flag g), each match replaced by a piece; null as soon as one has none. */
export function piecesAt(
  text: string,
  pattern: RegExp,
  pieceOf: (match: RegExpExecArray) => Piece | null,
): Piece[] | null {
  const pieces: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    const piece = pieceOf(match);
    if (!piece) return null;
    pieces.push(textPiece(text.slice(end, match.index)), piece);
    end = match.index + match[0].length;
  }
  return [...pieces, textPiece(text.slice(end))];
}
