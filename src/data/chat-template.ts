/**
 * The chat template of a tokenizer: a Jinja text that says how its authors write conversations. Rendering is that of
 * transformers' `apply_chat_template`; beyond it, the places of the answers in the text are known exactly.
 */
import { Template } from '@huggingface/jinja';
import { GroundError, messageOf } from '../errors.ts';

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** A conversation as text, and where in it the answers stand, [start, end) in UTF-16 units. */
export interface WrittenChat {
  readonly text: string;
  readonly answers: readonly (readonly [start: number, end: number])[];
}

export interface ChatTemplate {
  /** A whole conversation. An answer's span holds what the model has to write: the answer and the token that ends it. */
  write(messages: readonly ChatMessage[]): WrittenChat;
  /** A conversation that ends with a question, up to where the model goes on. */
  prompt(messages: readonly ChatMessage[]): string;
  /** The special token that ends an answer, or null where answers end otherwise. */
  readonly endToken: string | null;
}

/** Tokens that have a part to play, by content; null where the vocabulary has none. */
export interface TemplateTokens {
  readonly begin: string | null;
  readonly end: string;
  readonly unknown: string | null;
}

/** Characters of the private use area: they mark places in a text on its way through a template. */
export const MARKS = { answerBegin: '\ue000', answerEnd: '\ue001', image: '\ue002' } as const;

/**
 * The chat template of that source, or null without one. Nothing is parsed before it is used: a tokenizer whose template
 * is broken can still be used without it. Errors are GroundError('tokenizer') that name `origin`.
 */
export function compileChatTemplate(
  source: string | null,
  tokens: TemplateTokens,
  specialTokens: readonly string[],
  origin: string,
): ChatTemplate | null {
  if (source === null) return null;
  let parsed: Template | undefined;
  const fail = (what: string, cause?: unknown): GroundError =>
    new GroundError('tokenizer', `the chat template of ${origin} ${what}`, {
      hint: 'choose another template for the model (template: vicuna_v1), or mend the one of the tokenizer',
      ...(cause === undefined ? {} : { cause }),
    });
  const render = (messages: readonly ChatMessage[], goOn: boolean): string => {
    try {
      parsed ??= new Template(markAnswers(source));
      return parsed.render({
        messages,
        add_generation_prompt: goOn,
        bos_token: tokens.begin ?? undefined,
        eos_token: tokens.end,
        unk_token: tokens.unknown ?? undefined,
        answer_begin_marks: [MARKS.answerBegin],
        answer_end_marks: [MARKS.answerEnd],
      });
    } catch (cause) {
      throw fail(`cannot be rendered: ${messageOf(cause)}`, cause);
    }
  };

  const write = (messages: readonly ChatMessage[]): WrittenChat => {
    const marked = render(messages, false);
    if (marked.includes(MARKS.answerBegin)) return readMarks(marked);
    const answers = messages.flatMap(({ role }, i): [number, number][] => {
      if (role !== 'assistant') return [];
      const before = render(messages.slice(0, i), true);
      const after = render(messages.slice(0, i + 1), false);
      if (!marked.startsWith(before) || !marked.startsWith(after) || after.length < before.length) {
        throw fail('writes a turn differently once another follows, so that answers cannot be found in it');
      }
      const answer = after.slice(before.length);
      return [[before.length, before.length + (endOfLast(answer, specialTokens) ?? answer.length)]];
    });
    return { text: marked, answers };
  };

  let endToken: string | null | undefined;
  return {
    write,
    prompt: messages => stripMarks(render(messages, true)),
    get endToken() {
      if (endToken === undefined) endToken = findEndToken(write, specialTokens);
      return endToken;
    },
  };
}

/**
 * `{% generation %}` blocks say where the model writes. Loops over one mark stand in for their tags: they are statements,
 * too, so that white space around them is treated alike.
 */
function markAnswers(source: string): string {
  return source.replaceAll(/\{%(-?)\s*(end)?generation\s*(-?)%\}/g, (_, left, end, right) => {
    const marks = end === undefined ? 'answer_begin_marks' : 'answer_end_marks';
    return `{%${left} for mark in ${marks} %}{{ mark }}{% endfor ${right}%}`;
  });
}

function readMarks(marked: string): WrittenChat {
  const answers: [number, number][] = [];
  let text = '';
  let start = 0;
  for (const part of marked.split(/([\ue000\ue001])/)) {
    if (part === MARKS.answerBegin) start = text.length;
    else if (part === MARKS.answerEnd) answers.push([start, text.length]);
    else text += part;
  }
  return { text, answers };
}

function stripMarks(marked: string): string {
  return marked.replaceAll(/[\ue000\ue001]/g, '');
}

/** Where the last special token of a text ends. */
function endOfLast(text: string, specialTokens: readonly string[]): number | null {
  const ends = specialTokens.flatMap(token => {
    const at = text.lastIndexOf(token);
    return at < 0 ? [] : [at + token.length];
  });
  return ends.length === 0 ? null : Math.max(...ends);
}

/** The special token that closes an answer, or follows it. */
function findEndToken(
  write: (messages: readonly ChatMessage[]) => WrittenChat,
  specialTokens: readonly string[],
): string | null {
  const { text, answers } = write([
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
  ]);
  const [start, end] = answers[0] ?? [0, 0];
  const inside = endOfLast(text.slice(start, end), specialTokens);
  const at = inside === null ? text.slice(end).trimStart() : text.slice(0, start + inside);
  const found = specialTokens.filter(token => (inside === null ? at.startsWith(token) : at.endsWith(token)));
  return found.sort((a, b) => b.length - a.length)[0] ?? null;
}
