/** Pieces of a conversation as plain text. */
import { GroundError } from '../errors.ts';
import type { Size } from './box.ts';
import type { Piece, Region } from './conversation.ts';
import { boxText, pointText } from './coordinates.ts';
import { boundsOf } from './rle.ts';

/** Numbers of a region as the question writes them: a point's two, else the four of its (tight) box. */
export function regionText(region: Region, size: Size, bins: number): string {
  if (region.kind === 'point') return pointText(region.point, size, bins);
  if (region.kind === 'box') return boxText(region.box, size, bins);
  const bounds = boundsOf(region.mask);
  if (!bounds) throw new GroundError('data', 'a free-form region has no pixels');
  return boxText(bounds, size, bins);
}

/** A turn as plain text, `<region_fea>` after each region's numbers. */
export function piecesText(pieces: readonly Piece[], size: Size, bins: number): string {
  return pieces
    .map(piece => {
      if (piece.kind === 'text') return piece.text;
      if (piece.kind === 'box') return boxText(piece.box, size, bins);
      return `${regionText(piece.region, size, bins)} <region_fea>`;
    })
    .join('');
}
