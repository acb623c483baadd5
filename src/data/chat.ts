/** Conversations in the words of the tokenizer's own chat template, as token ids whose answers are known exactly. */
import { GroundError } from '../errors.ts';
import type { Size } from './box.ts';
import { type ChatMessage, MARKS } from './chat-template.ts';
import type { Conversation, Piece } from './conversation.ts';
import { piecesText } from './pieces.ts';
import type { Rendered, RenderOptions } from './render.ts';
import { tokenSpans } from './token-spans.ts';
import type { Tokenizer } from './tokenizer.ts';

/**
 * Token ids of a conversation under the chat template of the tokenizer. The whole text is tokenised at once, as
 * `apply_chat_template` of transformers does, but for the image: it stands before the first question, and the texts
 * before and behind it are tokenised apart. Throws `tokenizer` without a chat template, `data` on a special token in words.
 */
export function renderChat(conversation: Conversation, size: Size, options: RenderOptions): Rendered {
  const { tokenizer } = options;
  const { chat } = tokenizer;
  if (chat === null) {
    throw new GroundError('tokenizer', 'the tokenizer has no chat template', {
      hint: 'put its tokenizer_config.json or chat_template.jinja beside tokenizer.json, or use template: vicuna_v1',
    });
  }
  const isPrompt = options.prompt === true;
  const messages = messagesOf(conversation, size, options);
  const { text, answers } = isPrompt ? { text: chat.prompt(messages), answers: [] } : chat.write(messages);
  const rendered = tokenise(text, answers, tokenizer);
  checkPlaces(rendered, regionCount(conversation, isPrompt), conversation.image);
  return rendered;
}

function messagesOf(conversation: Conversation, size: Size, options: RenderOptions): ChatMessage[] {
  const { tokenizer, system, bins } = options;
  const say = (pieces: readonly Piece[]): string => {
    for (const piece of pieces) if (piece.kind === 'text') refuseSpecial(piece.text, tokenizer);
    return piecesText(pieces, size, bins);
  };
  const messages: ChatMessage[] = system === '' ? [] : [{ role: 'system', content: system }];
  const last = conversation.rounds.length - 1;
  for (const [i, { question, answer }] of conversation.rounds.entries()) {
    const image = i === 0 && conversation.image ? `${MARKS.image}\n` : '';
    messages.push({ role: 'user', content: image + say(question) });
    if (options.prompt !== true || i < last) messages.push({ role: 'assistant', content: say(answer) });
  }
  return messages;
}

function refuseSpecial(text: string, { specialTokens }: Tokenizer): void {
  const found = [...specialTokens, ...Object.values(MARKS)].find(token => text.includes(token));
  if (found === undefined) return;
  throw new GroundError('data', `text holds the special token ${found}: "${text.slice(0, 60)}"`, {
    hint: 'remove it from the text; regions are given as points, boxes or masks',
  });
}

function tokenise(
  text: string,
  answers: readonly (readonly [number, number])[],
  tokenizer: Tokenizer,
): Rendered {
  const mark = text.indexOf(MARKS.image);
  const head = mark < 0 ? text : text.slice(0, mark);
  const tail = mark < 0 ? '' : text.slice(mark + MARKS.image.length);
  const headIds = tokenizer.encode(head);
  const tailIds = head === '' ? tokenizer.encode(tail) : tokenizer.encodeContinuation(tail);
  const split = mark < 0 ? text.length : mark;
  const spans = [
    ...tokenSpans(
      head,
      headIds,
      answers.filter(([start]) => start < split),
      tokenizer,
    ),
    ...tokenSpans(
      tail,
      tailIds,
      answers
        .filter(([start]) => start >= split)
        .map(([start, end]): [number, number] => [start - split - 1, end - split - 1]),
      tokenizer,
    ).map(([first, last]): [number, number] => [first + headIds.length, last + headIds.length]),
  ];
  const tokens = [...headIds, ...tailIds];
  return {
    tokens,
    imageAt: mark < 0 ? null : headIds.length,
    regionsAt: tokens.flatMap((id, i) => (id === tokenizer.regionId ? [i] : [])),
    answers: spans,
  };
}

function regionCount({ rounds }: Conversation, isPrompt: boolean): number {
  const pieces = rounds.flatMap(({ question, answer }, i) =>
    isPrompt && i === rounds.length - 1 ? question : [...question, ...answer],
  );
  return pieces.filter(piece => piece.kind === 'region').length;
}

/** A template may drop or repeat parts of what it is given; what points into the image must stay whole. */
function checkPlaces({ regionsAt, imageAt }: Rendered, regions: number, image: boolean): void {
  if (regionsAt.length === regions && (imageAt !== null) === image) return;
  throw new GroundError(
    'tokenizer',
    `the chat template kept ${regionsAt.length} of ${regions} regions and ${imageAt === null ? 'no' : 'the'} image`,
    { hint: 'use template: vicuna_v1, or a chat template that writes messages as they are' },
  );
}
