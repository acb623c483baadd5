/** One line of our own JSON Lines format: every key that a record can have, and no other. */
import { GroundError } from '../../errors.ts';
import type { Size } from '../box.ts';
import { boxPiece, type Piece, regionPiece, textPiece } from '../conversation.ts';
import {
  type CaptionSpan,
  CONVERSATION_KINDS,
  type DescribedRegion,
  type ObjectAnnotation,
  type Relation,
  type StoredConversation,
  type StoredRound,
} from '../record.ts';
import type { RecordContent } from './entries.ts';
import { items, oneOf, ShapeError, shaped, text, under, whole } from './json-shape.ts';
import { BOX_SPACES, boxAt, type Frame, maskAt, regionAt } from './jsonl-places.ts';
import { trimmed } from './rounds.ts';

/** Keys of a line that say which image it is. */
const IMAGE_KEYS = ['id', 'image', 'width', 'height'] as const;
/** Keys that only an image can have. */
const PLACED_KEYS = ['objects', 'relations', 'regions', 'spans', 'absent', 'space'] as const;
const KEYS = [...IMAGE_KEYS, ...PLACED_KEYS, 'split', 'captions', 'conversations'] as const;

/** What a line says of its image before anybody has looked at that. */
export interface LineHead {
  readonly id?: string;
  readonly image?: string;
  readonly width?: number;
  readonly height?: number;
}

/** Throws `ShapeError` where a line is not of the format. */
export function headOf(value: unknown): LineHead {
  const line = shaped(value, '', KEYS);
  const { id, image, width, height } = line;
  if (image === undefined) {
    const placed = PLACED_KEYS.find(key => line[key] !== undefined);
    if (placed !== undefined) throw new ShapeError(placed, 'this needs an image');
    if (line.conversations === undefined) throw new ShapeError('', 'expected an image or conversations');
  }
  return {
    ...(id === undefined ? {} : { id: typeof id === 'number' ? String(id) : text(id, 'id') }),
    ...(image === undefined ? {} : { image: text(image, 'image') }),
    ...(width === undefined ? {} : { width: whole(width, 'width') }),
    ...(height === undefined ? {} : { height: whole(height, 'height') }),
  };
}

/**
 * What a line says about its image of this size; null where there is none, or where only the shape is checked. Throws
 * `ShapeError`, and `Unusable` for boxes and masks that are not of the image.
 */
export function contentOfLine(value: unknown, image: Size | null, changed: Frame['changed']): RecordContent {
  const line = shaped(value, '', KEYS);
  const space = line.space === undefined ? 'pixels' : oneOf(line.space, 'space', BOX_SPACES);
  const frame: Frame = { space, image, changed };
  const captions = items(line.captions, 'captions', text);
  const objects = items(line.objects, 'objects', (item, at) => objectAt(item, at, frame));
  const relations = items(line.relations, 'relations', (item, at) => relationAt(item, at, objects.length));
  const regions = items(line.regions, 'regions', (item, at) => describedAt(item, at, frame));
  const spans = items(line.spans, 'spans', (item, at) => spanAt(item, at, captions, objects.length));
  const absent = items(line.absent, 'absent', text);
  const isPlaced = line.image !== undefined;
  const conversations = items(line.conversations, 'conversations', (item, at) =>
    conversationAt(item, at, frame, isPlaced),
  );
  return {
    captions,
    objects,
    relations,
    ...(line.split === undefined ? {} : { split: text(line.split, 'split') }),
    ...(regions.length === 0 ? {} : { regions }),
    ...(spans.length === 0 ? {} : { spans }),
    ...(conversations.length === 0 ? {} : { conversations }),
    ...(absent.length === 0 ? {} : { absent }),
  };
}

/** The error of a line that is not of the format. */
export function malformed(file: string, line: number, { at, message }: ShapeError): GroundError {
  return new GroundError('data', `${file}:${line}: ${at === '' ? '' : `${at}: `}${message}`, {
    hint: 'docs/data.md describes every key of the format',
  });
}

function objectAt(value: unknown, at: string, frame: Frame): ObjectAnnotation {
  const keys = ['label', 'phrase', 'attributes', 'box', 'mask', 'crowd', 'expressions'];
  const object = shaped(value, at, keys);
  const label = text(object.label, `${at}.label`);
  const expressions = items(object.expressions, `${at}.expressions`, text);
  if (object.crowd !== undefined && typeof object.crowd !== 'boolean') {
    throw new ShapeError(`${at}.crowd`, 'expected true or false');
  }
  return {
    label,
    phrase: object.phrase === undefined ? label : text(object.phrase, `${at}.phrase`),
    attributes: items(object.attributes, `${at}.attributes`, text),
    box: boxAt(object.box, `${at}.box`, frame),
    ...(object.mask === undefined ? {} : { mask: maskAt(object.mask, `${at}.mask`, frame) }),
    ...(object.crowd === true ? { crowd: true } : {}),
    ...(expressions.length === 0 ? {} : { expressions }),
  };
}

function relationAt(value: unknown, at: string, objects: number): Relation {
  const { subject, predicate, object } = shaped(value, at, ['subject', 'predicate', 'object']);
  return {
    subject: whole(subject, `${at}.subject`, objects),
    predicate: text(predicate, `${at}.predicate`),
    object: whole(object, `${at}.object`, objects),
  };
}

function describedAt(value: unknown, at: string, frame: Frame): DescribedRegion {
  const { phrase, box } = shaped(value, at, ['phrase', 'box']);
  return { phrase: text(phrase, `${at}.phrase`), box: boxAt(box, `${at}.box`, frame) };
}

function spanAt(value: unknown, at: string, captions: readonly string[], objects: number): CaptionSpan {
  const span = shaped(value, at, ['caption', 'start', 'end', 'objects']);
  const caption = whole(span.caption, `${at}.caption`, captions.length);
  const end = whole(span.end, `${at}.end`, (captions[caption]?.length ?? 0) + 1);
  const start = whole(span.start, `${at}.start`, end);
  return {
    caption,
    start,
    end,
    objects: items(span.objects, `${at}.objects`, (item, of) => whole(item, of, objects)),
  };
}

function conversationAt(value: unknown, at: string, frame: Frame, isPlaced: boolean): StoredConversation {
  const { kind, rounds } = shaped(value, at, ['kind', 'rounds']);
  const read = items(rounds, `${at}.rounds`, (item, of) => roundAt(item, of, frame, isPlaced));
  if (read.length === 0) throw new ShapeError(`${at}.rounds`, 'expected a round, found none');
  return { kind: kind === undefined ? 'chat' : oneOf(kind, `${at}.kind`, CONVERSATION_KINDS), rounds: read };
}

function roundAt(value: unknown, at: string, frame: Frame, isPlaced: boolean): StoredRound {
  const round = shaped(value, at, ['question', 'answer', 'accepted']);
  const question = turnAt(round.question, `${at}.question`, frame, isPlaced);
  const answer = turnAt(round.answer, `${at}.answer`, frame, isPlaced);
  const accepted = items(round.accepted, `${at}.accepted`, text);
  if (answer.length === 0) throw new ShapeError(`${at}.answer`, 'expected an answer, found an empty one');
  if (answer.some(piece => piece.kind === 'region')) {
    throw new ShapeError(`${at}.answer`, 'a region is what users point with; answers have boxes');
  }
  return { question, answer, ...(accepted.length === 0 ? {} : { accepted }) };
}

/** A text, or a list of texts, `{text}`, `{box}` and `{region}`. */
function turnAt(value: unknown, at: string, frame: Frame, isPlaced: boolean): Piece[] {
  const pieces = items(Array.isArray(value) ? value : [value], at, (item, of) =>
    pieceAt(item, Array.isArray(value) ? of : at, frame),
  );
  const placed = pieces.findIndex(piece => piece.kind !== 'text');
  if (placed >= 0 && !isPlaced) throw new ShapeError(under(at, placed), 'this needs an image');
  return trimmed(pieces);
}

function pieceAt(value: unknown, at: string, frame: Frame): Piece {
  if (typeof value === 'string') return textPiece(value);
  const piece = shaped(value, at, ['text', 'box', 'region']);
  const [key, ...more] = Object.keys(piece);
  if (key === undefined || more.length > 0) throw new ShapeError(at, 'expected one of text, box and region');
  if (piece.box !== undefined) return boxPiece(boxAt(piece.box, `${at}.box`, frame));
  if (piece.region !== undefined) return regionPiece(regionAt(piece.region, `${at}.region`, frame));
  if (typeof piece.text !== 'string') throw new ShapeError(`${at}.text`, 'expected a text');
  return textPiece(piece.text);
}
