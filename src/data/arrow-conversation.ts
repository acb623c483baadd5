/** Boxes, masks and stored conversations as Arrow structs: the nested columns of a record, and the way there and back. */
import { Field, FixedSizeList, Float64, Int32, List, Struct, Utf8 } from 'apache-arrow';
import { GroundError } from '../errors.ts';
import type { PixelBox } from './box.ts';
import type { Piece, Region } from './conversation.ts';
import { CONVERSATION_KINDS, type StoredConversation, type StoredRound } from './record.ts';
import type { Rle } from './rle.ts';

type FieldType = ConstructorParameters<typeof Field>[1];

/** A column without nulls. */
export function required(name: string, type: FieldType): Field {
  return new Field(name, type, false);
}

/** A list of items none of which is null. */
export function listOf(type: FieldType): List {
  return new List(required('item', type));
}

/** COCO RLE. */
export const MASK = new Struct([
  required('height', new Int32()),
  required('width', new Int32()),
  required('counts', new Utf8()),
]);

/** x1, y1, x2, y2 in pixels; Float64, so that boxes come back as the annotation file wrote them. */
export const BOX = new FixedSizeList(4, required('item', new Float64()));

const POINT = new FixedSizeList(2, required('item', new Float64()));

/** kind: text | box | point | region-box | free-form. `text` is '' and `box`, `point`, `mask` null where unused. */
const PIECE = new Struct([
  required('kind', new Utf8()),
  required('text', new Utf8()),
  new Field('box', BOX, true),
  new Field('point', POINT, true),
  new Field('mask', MASK, true),
]);

const ROUND = new Struct([
  required('question', listOf(PIECE)),
  required('answer', listOf(PIECE)),
  required('accepted', listOf(new Utf8())),
]);

export const CONVERSATION = new Struct([required('kind', new Utf8()), required('rounds', listOf(ROUND))]);

export interface StoredMask {
  readonly height: number;
  readonly width: number;
  readonly counts: string;
}
export interface StoredConversationRow {
  readonly kind: string;
  readonly rounds: Iterable<RoundRow>;
}
interface RoundRow {
  readonly question: Iterable<PieceRow>;
  readonly answer: Iterable<PieceRow>;
  readonly accepted: Iterable<string>;
}
interface PieceRow {
  readonly kind: string;
  readonly text: string;
  readonly box: Iterable<number> | null;
  readonly point: Iterable<number> | null;
  readonly mask: StoredMask | null;
}

/** [x1, y1, x2, y2]. */
export function rowOfBox({ x1, y1, x2, y2 }: PixelBox): readonly number[] {
  return [x1, y1, x2, y2];
}

export function boxOfRow(row: Iterable<number>): PixelBox {
  const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = row;
  return { space: 'pixels', x1, y1, x2, y2 };
}

export function rowOfMask(mask: Rle | undefined): StoredMask | null {
  return mask ? { height: mask.size[0], width: mask.size[1], counts: mask.counts } : null;
}

export function maskOfRow({ height, width, counts }: StoredMask): Rle {
  return { size: [height, width], counts };
}

export function rowOfConversation({ kind, rounds }: StoredConversation): object {
  return {
    kind,
    rounds: rounds.map(({ question, answer, accepted }) => ({
      question: question.map(rowOfPiece),
      answer: answer.map(rowOfPiece),
      accepted: accepted ?? [],
    })),
  };
}

/** Throws `data` on a kind that this version does not know. */
export function conversationOfRow({ kind, rounds }: StoredConversationRow): StoredConversation {
  const known = CONVERSATION_KINDS.find(name => name === kind);
  if (!known) throw unknown('conversation', kind);
  return { kind: known, rounds: [...rounds].map(roundOf) };
}

/** About how many bytes a piece takes in a shard. */
export function pieceBytes(piece: Piece): number {
  if (piece.kind === 'text') return 16 + piece.text.length;
  const mask = piece.kind === 'region' ? piece.region.mask : undefined;
  return 64 + (mask?.counts.length ?? 0);
}

function roundOf({ question, answer, accepted }: RoundRow): StoredRound {
  const answers = [...accepted];
  return {
    question: [...question].map(pieceOfRow),
    answer: [...answer].map(pieceOfRow),
    ...(answers.length === 0 ? {} : { accepted: answers }),
  };
}

const EMPTY = { text: '', box: null, point: null, mask: null };

function rowOfPiece(piece: Piece): object {
  if (piece.kind === 'text') return { ...EMPTY, kind: 'text', text: piece.text };
  if (piece.kind === 'box') return { ...EMPTY, kind: 'box', box: rowOfBox(piece.box) };
  const { region } = piece;
  const mask = rowOfMask(region.mask);
  if (region.kind === 'free-form') return { ...EMPTY, kind: 'free-form', mask };
  if (region.kind === 'box') return { ...EMPTY, kind: 'region-box', box: rowOfBox(region.box), mask };
  const { x, y } = region.point;
  const box = region.within ? rowOfBox(region.within) : null;
  return { ...EMPTY, kind: 'point', point: [x, y], box, mask };
}

function pieceOfRow(row: PieceRow): Piece {
  const box = row.box ? boxOfRow(row.box) : undefined;
  if (row.kind === 'text') return { kind: 'text', text: row.text };
  if (row.kind === 'box' && box) return { kind: 'box', box };
  return { kind: 'region', region: regionOfRow(row, box) };
}

function regionOfRow(row: PieceRow, box: PixelBox | undefined): Region {
  const mask = row.mask ? maskOfRow(row.mask) : undefined;
  if (row.kind === 'free-form' && mask) return { kind: 'free-form', mask };
  if (row.kind === 'region-box' && box) return { kind: 'box', box, ...(mask ? { mask } : {}) };
  if (row.kind !== 'point' || !row.point) throw unknown('piece', row.kind);
  const [x = 0, y = 0] = row.point;
  return {
    kind: 'point',
    point: { x, y },
    ...(box ? { within: box } : {}),
    ...(mask ? { mask } : {}),
  };
}

function unknown(what: string, kind: string): GroundError {
  return new GroundError('data', `a stored ${what} is of kind "${kind}", which this version does not know`, {
    hint: 'build the dataset again with this version of ground',
  });
}
