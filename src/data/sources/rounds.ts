/** Messages in any order to rounds of question and answer. */
import { type Piece, textPiece } from '../conversation.ts';
import type { StoredRound } from '../record.ts';
import type { Turn } from './turns.ts';

/** A message whose text has become pieces; null where they cannot be trusted and the round must go. */
export interface PieceTurn extends Pick<Turn, 'role' | 'index'> {
  readonly pieces: readonly Piece[] | null;
}

/** Told what was changed, and at which turn. */
export type TurnNote = (reason: string, turn: number) => void;

interface Draft {
  question: readonly Piece[] | null;
  answer: readonly Piece[] | null;
  readonly turn: number;
  spoilt: boolean;
}

/**
 * Rounds from messages. A conversation may begin with an answer (that one goes, as in LLaVA's trainer), end with a
 * question (it goes) or have two messages of one side in a row (they are joined by a line end). A system message is put
 * before the question that follows it. A round with an empty answer goes, and so does one with a spoilt message; an
 * empty question is one only where an image is shown, and in the first round.
 */
export function roundsOf(turns: readonly PieceTurn[], image: boolean, changed: TurnNote): StoredRound[] {
  const drafts: Draft[] = [];
  let system: readonly Piece[] = [];
  for (const { role, pieces, index } of turns) {
    const last = drafts.at(-1);
    if (role === 'system') {
      system = joined(system, trimmed(pieces ?? []));
    } else if (role === 'user') {
      const open = last?.answer === null ? last : undefined;
      if (open) changed('two questions in a row joined', index);
      const draft: Draft = open ?? { question: null, answer: null, turn: index, spoilt: false };
      if (!open) drafts.push(draft);
      if (system.length > 0) changed('system message put before the question', index);
      draft.question = joined(joined(draft.question ?? [], system), trimmed(pieces ?? []));
      draft.spoilt ||= pieces === null;
      system = [];
    } else if (!last) {
      changed('answer before the first question left out', index);
    } else {
      if (last.answer !== null) changed('two answers in a row joined', index);
      last.answer = joined(last.answer ?? [], trimmed(pieces ?? []));
      last.spoilt ||= pieces === null;
    }
  }
  if (system.length > 0) changed('system message without a question left out', turns.length - 1);
  return drafts.flatMap(({ question, answer, turn, spoilt }, i): StoredRound[] => {
    // What spoilt it has been told already.
    if (spoilt) return [];
    if (answer === null) changed('question without an answer left out', turn);
    else if (answer.length === 0) changed('round with an empty answer left out', turn);
    else if (!question || (question.length === 0 && !(image && i === 0))) {
      changed('round with an empty question left out', turn);
    } else return [{ question, answer }];
    return [];
  });
}

/** Pieces without blanks at either end and without empty texts; neighbouring texts become one. */
export function trimmed(pieces: readonly Piece[]): Piece[] {
  const out: Piece[] = [];
  for (const piece of pieces) {
    const last = out.at(-1);
    if (piece.kind === 'text' && last?.kind === 'text')
      out[out.length - 1] = textPiece(last.text + piece.text);
    else out.push(piece);
  }
  const [first] = out;
  if (first?.kind === 'text') out[0] = textPiece(first.text.trimStart());
  const last = out.at(-1);
  if (last?.kind === 'text') out[out.length - 1] = textPiece(last.text.trimEnd());
  return out.filter(piece => piece.kind !== 'text' || piece.text !== '');
}

function joined(a: readonly Piece[], b: readonly Piece[]): readonly Piece[] {
  if (a.length === 0) return b;
  return b.length === 0 ? a : trimmed([...a, textPiece('\n'), ...b]);
}
