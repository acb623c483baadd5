/** Questions with short answers, one entry each: what VQA, TextVQA, GQA and POPE have in common. */
import { textPiece } from '../conversation.ts';
import type { ConversationKind, StoredRound } from '../record.ts';
import { isObject } from './chat-samples.ts';
import type { Entry, RecordContent } from './entries.ts';

/** A question about an image; plain JSON. */
export interface Question {
  readonly question: string;
  readonly answer: string;
  readonly accepted?: readonly string[];
  readonly split?: string;
}

/** All questions about an image as one conversation, in the order in which they came; their rounds are independent. */
export function questionsContent(
  kind: ConversationKind,
  questions: readonly Question[],
): RecordContent | null {
  if (questions.length === 0) return null;
  const split = questions[0]?.split;
  const rounds = questions.map(
    ({ question, answer, accepted }): StoredRound => ({
      question: [textPiece(question)],
      answer: [textPiece(answer)],
      ...(accepted ? { accepted } : {}),
    }),
  );
  return { conversations: [{ kind, rounds }], ...(split === undefined ? {} : { split }) };
}

export function questionsOf(entries: readonly Entry<Question>[]): readonly Question[] {
  return entries.map(({ content }) => content);
}

/** A text without blanks at its ends, line ends and blanks in it as single blanks; null for what is none. */
export function lineOf(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const text = value.replace(/\s+/g, ' ').trim();
  return text === '' ? null : text;
}

/** Answers as VQA has them, {answer: "net", …}, or as bare texts; what is neither, or empty, is none. */
export function answersOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((item: unknown) => lineOf(isObject(item) ? item.answer : item) ?? []);
}

/** The answer that most people gave; of several, the one in `preferred`, else the one given first. Null for no answer. */
export function mostFrequent(answers: readonly string[], preferred: string | null): string | null {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  const most = Math.max(...counts.values());
  const first = [...counts.keys()].filter(answer => counts.get(answer) === most);
  return (preferred !== null && first.includes(preferred) ? preferred : first[0]) ?? null;
}

/** Image names from a pattern: `{id}` stands for the id, `{id:12}` for it with zeros before it, to twelve digits. */
export function imageName(pattern: string, id: number | string): string {
  return pattern.replace(/\{id(?::(\d+))?\}/g, (_, digits) => String(id).padStart(Number(digits ?? 0), '0'));
}
