/** Tasks about conversations that somebody annotated: a part of one is taken, regions are drawn anew, nothing is reworded. */
import type { Random } from '../../random.ts';
import type { Piece, Region, Round } from '../conversation.ts';
import {
  type Annotations,
  type ConversationKind,
  isTextAlone,
  type StoredConversation,
  type StoredRound,
} from '../record.ts';
import { distinct } from '../regions.ts';
import type { Task, TaskContext } from './context.ts';
import { pointAt } from './pointing.ts';
import { fill, grounded, phrase } from './template.ts';

/**
 * What asks for an answer as VQA scores it (LLaVA-1.5's wording first). It follows the question on a line of its own.
 */
export const SHORT_ANSWER_PROMPTS = [
  'Answer the question using a single word or phrase.',
  'Reply with one word or a short phrase.',
  'Give a short answer.',
  'Answer briefly, in one word or phrase.',
  'Use a single word or phrase as the answer.',
  'Keep the answer to a word or a short phrase.',
  'A single word or phrase is enough.',
  'Answer in as few words as possible.',
] as const;

/**
 * A conversation about the image, as annotated. Of several one is drawn; one with more rounds than asked for is cut
 * between rounds into parts, of which one is drawn. What the user points at with a box is given as a point or as a box,
 * one way for all regions of a turn (Ferret). A question whose answer carries boxes gets the grounding prompt.
 */
export const conversation: Task = (record, context, random) => {
  if (isTextAlone(record)) return null;
  const rounds = somePart(record, context, random);
  if (!rounds) return null;
  return {
    task: 'conversation',
    image: true,
    rounds: rounds.map(round => asked(pointedAt(round.question, record, context, random), round, context)),
  };
};

/** A conversation that has no image. */
export const textConversation: Task = (record, context, random) => {
  if (!isTextAlone(record)) return null;
  const rounds = somePart(record, context, random);
  if (!rounds) return null;
  return {
    task: 'text-conversation',
    image: false,
    rounds: rounds.map(round => asked(round.question, round, context)),
  };
};

/** Annotated questions about the image or the text in it, each with a prompt for a short answer. */
export const vqa: Task = (record, context, random) => {
  const rounds = someRounds(record, ['vqa', 'ocr'], context, random);
  if (rounds.length === 0) return null;
  return {
    task: 'vqa',
    image: true,
    rounds: rounds.map(round => {
      const prompt = phrase(SHORT_ANSWER_PROMPTS, {}, context, random);
      return asked([...round.question, ...fill('\n', {}), ...prompt], round, context);
    }),
  };
};

/** Annotated questions whether something is in the image, answered yes or no (POPE). */
export const presence: Task = (record, context, random) => {
  const rounds = someRounds(record, ['presence'], context, random);
  if (rounds.length === 0) return null;
  return {
    task: 'presence',
    image: true,
    rounds: rounds.map(round => asked(round.question, round, context)),
  };
};

/** Rounds in a row of one conversation; null where the record has none. */
function somePart(record: Annotations, context: TaskContext, random: Random): readonly StoredRound[] | null {
  const conversations = conversationsOf(record, ['chat']);
  if (conversations.length === 0) return null;
  const { rounds } = random.pick(conversations);
  const parts = Math.ceil(rounds.length / context.rounds);
  const first = random.int(0, parts) * context.rounds;
  return rounds.slice(first, first + context.rounds);
}

/** Rounds that do not depend on each other: any of them, in the record's order. */
function someRounds(
  record: Annotations,
  kinds: readonly ConversationKind[],
  context: TaskContext,
  random: Random,
): readonly StoredRound[] {
  if (isTextAlone(record)) return [];
  const rounds = conversationsOf(record, kinds).flatMap(one => one.rounds);
  if (rounds.length <= context.rounds) return rounds;
  if (context.phrasing === 'literal') return rounds.slice(0, context.rounds);
  return distinct(rounds.length, context.rounds, random)
    .sort((a, b) => a - b)
    .map(i => rounds[i]!);
}

function conversationsOf(
  record: Annotations,
  kinds: readonly ConversationKind[],
): readonly StoredConversation[] {
  return (record.conversations ?? []).filter(({ kind, rounds }) => kinds.includes(kind) && rounds.length > 0);
}

function asked(question: readonly Piece[], { answer, accepted }: StoredRound, context: TaskContext): Round {
  const boxes = answer.flatMap(piece => (piece.kind === 'box' ? [piece.box] : []));
  const label = answer.map(piece => (piece.kind === 'text' ? piece.text : '')).join('');
  return {
    question:
      boxes.length > 0 && !says(question, context.groundingPrompt) ? grounded(question, context) : question,
    answer,
    truth: { ...(boxes.length > 0 ? { boxes } : {}), label, ...(accepted ? { accepted } : {}) },
  };
}

function says(question: readonly Piece[], prompt: string): boolean {
  return question.some(piece => piece.kind === 'text' && piece.text.includes(prompt));
}

/** Boxes that the user points with become points or stay boxes; a point or a free-form region is what it is. */
function pointedAt(
  question: readonly Piece[],
  record: Annotations,
  context: TaskContext,
  random: Random,
): readonly Piece[] {
  const drawn: Region['kind'] = random.pick(['point', 'box']);
  const kind = context.regionKind ?? drawn;
  return question.map(piece =>
    piece.kind === 'region' && piece.region.kind === 'box'
      ? { kind: 'region', region: pointAt(piece.region, kind, record, random) }
      : piece,
  );
}
