/**
 * What is wrong with the annotations of one record. `errorsOf` is the rule by which the loader refuses a record, too, so that
 * what `ground data validate` calls an error and what `on_bad_sample` is about are the same.
 */
import { messageOf } from '../../errors.ts';
import { boxProblem, type PixelBox, type Size } from '../box.ts';
import type { Piece, Region } from '../conversation.ts';
import type {
  Annotations,
  CaptionSpan,
  ObjectAnnotation,
  Relation,
  StoredConversation,
  StoredRound,
} from '../record.ts';
import { boundsOf, boxIou, type Rle, runsOf } from '../rle.ts';
import type { Finding } from './problem.ts';
import { garbledText, textError, textOddity } from './text.ts';

/** A mask fits its box, made larger by so many pixels, when this share of the mask's own box lies in it. */
const MASK_MARGIN = 2;
const MASK_INSIDE = 0.5;

/** Findings as they are met: who wants the first only pays for no more. */
type Findings = Generator<Finding, void, undefined>;

/** What makes a record unfit for training; nothing of a sound one. Pure. */
export function* errorsOf(record: Annotations): Findings {
  yield* some(textError('id', record.id));
  for (const [i, caption] of record.captions.entries()) yield* some(textError(`caption ${i}`, caption));
  for (const [i, object] of record.objects.entries())
    yield* at(`object ${i}`, errorsOfObject(object, record));
  for (const [i, relation] of record.relations.entries()) {
    yield* at(`relation ${i}`, errorsOfRelation(relation, record.objects.length));
  }
  for (const [i, { phrase, box }] of (record.regions ?? []).entries()) {
    yield* at(`region ${i}`, some(textError('phrase', phrase)));
    yield* at(`region ${i}`, some(boxError(box, record)));
  }
  for (const [i, span] of (record.spans ?? []).entries()) yield* at(`span ${i}`, errorsOfSpan(span, record));
  for (const [i, label] of (record.absent ?? []).entries())
    yield* some(textError(`absent label ${i}`, label));
  for (const [i, conversation] of (record.conversations ?? []).entries()) {
    yield* at(`conversation ${i}`, errorsOfConversation(conversation, record));
  }
}

/** What training takes as it is, though it is odd. Pure; of parts that have errors nothing is said. */
export function* odditiesOf(record: Annotations): Findings {
  for (const [i, caption] of record.captions.entries()) {
    yield* some(textOddity(`caption ${i}`, caption, false));
  }
  for (const [i, object] of record.objects.entries()) {
    yield* at(`object ${i}`, odditiesOfObject(object, record));
  }
  for (const [i, { subject, predicate, object }] of record.relations.entries()) {
    yield* at(`relation ${i}`, some(textOddity('predicate', predicate, false)));
    if (subject === object) {
      yield {
        kind: 'odd-relation',
        problem: `relation ${i}: object ${subject} stands in relation to itself`,
      };
    }
  }
  for (const [i, { phrase }] of (record.regions ?? []).entries()) {
    yield* at(`region ${i}`, some(textOddity('phrase', phrase, false)));
  }
  for (const [i, { rounds }] of (record.conversations ?? []).entries()) {
    for (const [j, round] of rounds.entries()) {
      yield* at(`conversation ${i}, round ${j}`, odditiesOfRound(round));
    }
  }
}

function* errorsOfObject(object: ObjectAnnotation, size: Size): Findings {
  yield* some(textError('label', object.label));
  yield* some(textError('phrase', object.phrase));
  for (const [i, word] of object.attributes.entries()) yield* some(textError(`attribute ${i}`, word));
  for (const [i, text] of (object.expressions ?? []).entries()) {
    yield* some(textError(`expression ${i}`, text));
  }
  yield* some(boxError(object.box, size));
  if (object.mask) yield* some(maskError(object.mask, size));
}

function* odditiesOfObject({ label, phrase, box, mask }: ObjectAnnotation, size: Size): Findings {
  yield* some(textOddity('label', label, false));
  if (phrase !== label) yield* some(textOddity('phrase', phrase, false));
  if (!mask || maskError(mask, size) || boxError(box, size)) return;
  const bounds = boundsOf(mask);
  if (!bounds) yield { kind: 'odd-mask', problem: 'mask is empty' };
  // Annotators outline loosely: this is to find masks of other objects, not strokes beside the line.
  else if (boxIou(bounds, grown(box), true) < MASK_INSIDE) {
    yield { kind: 'odd-mask', problem: 'mask lies elsewhere than its box' };
  }
}

function* errorsOfRelation({ subject, predicate, object }: Relation, objects: number): Findings {
  if (!isIndex(subject, objects) || !isIndex(object, objects)) {
    yield { kind: 'relation', problem: `objects ${subject} and ${object} of ${objects}` };
  }
  yield* some(textError('predicate', predicate));
}

function* errorsOfSpan({ caption, start, end, objects }: CaptionSpan, record: Annotations): Findings {
  const text = record.captions[caption];
  if (text === undefined) {
    yield { kind: 'span', problem: `caption ${caption} of ${record.captions.length}` };
  } else if (!isIndex(start, text.length) || !isIndex(end - 1, text.length) || start >= end) {
    yield {
      kind: 'span',
      problem: `characters ${start} to ${end} of the ${text.length} of caption ${caption}`,
    };
  } else if (text.slice(start, end).trim() === '') {
    yield { kind: 'span', problem: `characters ${start} to ${end} of caption ${caption} are blank` };
  }
  const unknown = objects.find(index => !isIndex(index, record.objects.length));
  if (unknown !== undefined) {
    yield { kind: 'span', problem: `object ${unknown} of ${record.objects.length}` };
  }
}

function* errorsOfConversation({ rounds }: StoredConversation, size: Size): Findings {
  if (rounds.length === 0) {
    yield { kind: 'untrained', problem: 'it has no rounds: nothing of it is trained on' };
    return;
  }
  const blank = rounds.map(round => isBlank(round.answer));
  if (blank.every(Boolean)) {
    yield { kind: 'untrained', problem: 'all answers are empty: nothing of it is trained on' };
  }
  for (const [i, { question, answer }] of rounds.entries()) {
    if (blank[i]) yield { kind: 'answer', problem: `round ${i}: answer is empty` };
    yield* at(`round ${i}`, errorsOfPieces('question', question, size));
    yield* at(`round ${i}`, errorsOfPieces('answer', answer, size));
  }
}

function* errorsOfPieces(turn: string, pieces: readonly Piece[], size: Size): Findings {
  for (const piece of pieces) {
    if (piece.kind === 'text') yield* some(garbledText(turn, piece.text));
    else if (piece.kind === 'box') yield* at(turn, some(boxError(piece.box, size)));
    else yield* at(turn, errorsOfRegion(piece.region, size));
  }
}

function* errorsOfRegion(region: Region, size: Size): Findings {
  if (region.kind === 'box') yield* some(boxError(region.box, size));
  if (region.kind === 'point') {
    const { x, y } = region.point;
    if (!(x >= 0 && y >= 0 && x <= size.width && y <= size.height)) {
      yield {
        kind: 'box',
        problem: `point [${x}, ${y}] lies outside of the image of ${size.width} x ${size.height} pixels`,
      };
    }
    if (region.within) yield* some(boxError(region.within, size));
  }
  if (!region.mask) return;
  const wrong = maskError(region.mask, size);
  if (wrong) yield wrong;
  else if (region.kind === 'free-form' && !boundsOf(region.mask)) {
    yield { kind: 'mask', problem: 'free-form region has no pixels' };
  }
}

function* odditiesOfRound({ question, answer, accepted = [] }: StoredRound): Findings {
  if (isBlank(question)) yield { kind: 'odd-text', problem: 'question is empty' };
  for (const piece of question) {
    if (piece.kind === 'text') yield* some(textOddity('question', piece.text, true));
  }
  for (const piece of answer) {
    if (piece.kind === 'text') yield* some(textOddity('answer', piece.text, true));
  }
  for (const [i, text] of accepted.entries()) {
    if (text.trim() === '') yield { kind: 'odd-text', problem: `accepted answer ${i} is empty` };
  }
}

function boxError(box: PixelBox, size: Size): Finding | null {
  const wrong = boxProblem(box, size);
  return wrong === null ? null : { kind: 'box', problem: `box ${wrong}` };
}

function maskError(mask: Rle, { width, height }: Size): Finding | null {
  const [rows, columns] = mask.size;
  if (rows !== height || columns !== width) {
    return { kind: 'mask', problem: `mask is ${columns} x ${rows} pixels, the image ${width} x ${height}` };
  }
  try {
    runsOf(mask);
    return null;
  } catch (thrown) {
    return { kind: 'mask', problem: messageOf(thrown) };
  }
}

function isBlank(pieces: readonly Piece[]): boolean {
  return pieces.every(piece => piece.kind === 'text' && piece.text.trim() === '');
}

function isIndex(value: number, length: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < length;
}

function grown({ x1, y1, x2, y2 }: PixelBox): PixelBox {
  return {
    space: 'pixels',
    x1: x1 - MASK_MARGIN,
    y1: y1 - MASK_MARGIN,
    x2: x2 + MASK_MARGIN,
    y2: y2 + MASK_MARGIN,
  };
}

function* some(finding: Finding | null): Findings {
  if (finding) yield finding;
}

/** The findings of a part, which is named. */
function* at(part: string, findings: Iterable<Finding>): Findings {
  for (const { kind, problem } of findings) yield { kind, problem: `${part}: ${problem}` };
}
