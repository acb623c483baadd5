/** Boxes, masks and stored conversations as Arrow structs: the nested columns of a record, and the way there and back. */
import { type Data, Field, FixedSizeList, Float64, Int32, List, Struct, Utf8 } from 'apache-arrow';
import { GroundError } from '../errors.ts';
import { type Column, fieldOf, lists, nullable, numbers, strings, tuples } from './arrow-columns.ts';
import type { PixelBox } from './box.ts';
import type { Piece, PixelPoint, Region } from './conversation.ts';
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

/** [x1, y1, x2, y2]. */
export function rowOfBox({ x1, y1, x2, y2 }: PixelBox): readonly number[] {
  return [x1, y1, x2, y2];
}

export function boxColumn(data: Data): Column<PixelBox> {
  return tuples(data, 4, (values, at) => ({
    space: 'pixels',
    x1: values[at] ?? 0,
    y1: values[at + 1] ?? 0,
    x2: values[at + 2] ?? 0,
    y2: values[at + 3] ?? 0,
  }));
}

export function rowOfMask(mask: Rle | undefined): object | null {
  return mask ? { height: mask.size[0], width: mask.size[1], counts: mask.counts } : null;
}

export function maskColumn(data: Data): Column<Rle | null> {
  const heights = numbers(fieldOf(data, 'height'));
  const widths = numbers(fieldOf(data, 'width'));
  const counts = strings(fieldOf(data, 'counts'));
  return nullable(data, i => ({ size: [heights(i), widths(i)], counts: counts(i) }));
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

/** Reading throws `data` on a kind that this version does not know. */
export function conversationColumn(data: Data): Column<StoredConversation> {
  const kinds = strings(fieldOf(data, 'kind'));
  const rounds = lists(fieldOf(data, 'rounds'), roundColumn);
  return i => {
    const kind = kinds(i);
    const known = CONVERSATION_KINDS.find(name => name === kind);
    if (!known) throw unknown('conversation', kind);
    return { kind: known, rounds: rounds(i) };
  };
}

/** About how many bytes a piece takes in a shard. */
export function pieceBytes(piece: Piece): number {
  if (piece.kind === 'text') return 16 + piece.text.length;
  const mask = piece.kind === 'region' ? piece.region.mask : undefined;
  return 64 + (mask?.counts.length ?? 0);
}

function roundColumn(data: Data): Column<StoredRound> {
  const questions = lists(fieldOf(data, 'question'), pieceColumn);
  const answers = lists(fieldOf(data, 'answer'), pieceColumn);
  const allAccepted = lists(fieldOf(data, 'accepted'), strings);
  return i => {
    const accepted = allAccepted(i);
    return {
      question: questions(i),
      answer: answers(i),
      ...(accepted.length === 0 ? {} : { accepted }),
    };
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

function pieceColumn(data: Data): Column<Piece> {
  const kinds = strings(fieldOf(data, 'kind'));
  const texts = strings(fieldOf(data, 'text'));
  const boxData = fieldOf(data, 'box');
  const boxes = nullable(boxData, boxColumn(boxData));
  const pointData = fieldOf(data, 'point');
  const points = nullable(pointData, pointColumn(pointData));
  const masks = maskColumn(fieldOf(data, 'mask'));
  return i => {
    const kind = kinds(i);
    if (kind === 'text') return { kind, text: texts(i) };
    const box = boxes(i);
    if (kind === 'box' && box) return { kind, box };
    return { kind: 'region', region: regionOf(kind, box, points(i), masks(i)) };
  };
}

function pointColumn(data: Data): Column<PixelPoint> {
  return tuples(data, 2, (values, at) => ({ x: values[at] ?? 0, y: values[at + 1] ?? 0 }));
}

function regionOf(kind: string, box: PixelBox | null, point: PixelPoint | null, mask: Rle | null): Region {
  if (kind === 'free-form' && mask) return { kind, mask };
  if (kind === 'region-box' && box) return { kind: 'box', box, ...(mask ? { mask } : {}) };
  if (kind !== 'point' || !point) throw unknown('piece', kind);
  return { kind, point, ...(box ? { within: box } : {}), ...(mask ? { mask } : {}) };
}

function unknown(what: string, kind: string): GroundError {
  return new GroundError('data', `a stored ${what} is of kind "${kind}", which this version does not know`, {
    hint: 'build the dataset again with this version of ground',
  });
}
