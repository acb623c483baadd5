/**
 * Conversations to token ids. Every message is tokenised once and its span is known by construction, so the labels
 * cannot slip (building them by tokenising rounds again is what masks whole samples in older trainers).
 */
import { GroundError } from '../errors.ts';
import type { ModelConfig } from '../models/config.ts';
import type { Size } from './box.ts';
import { renderChat } from './chat.ts';
import type { Conversation, Piece } from './conversation.ts';
import { boxText } from './coordinates.ts';
import { regionText } from './pieces.ts';
import type { Tokenizer } from './tokenizer.ts';

export { piecesText } from './pieces.ts';

/** Token ids of a conversation, the places of its image and regions, and what is supervised. */
export interface Rendered {
  /** Text token ids; a region holds its place with the id of `<region_fea>`. */
  readonly tokens: readonly number[];
  /** How many text tokens come before the visual tokens; null without an image. */
  readonly imageAt: number | null;
  /** Positions in `tokens` of the regions, in order. */
  readonly regionsAt: readonly number[];
  /** Spans of `tokens` that are supervised, [start, end): the answers with their end token. */
  readonly answers: readonly (readonly [start: number, end: number])[];
}

export interface RenderOptions {
  readonly tokenizer: Tokenizer;
  readonly template: ModelConfig['template'];
  readonly system: string;
  readonly bins: number;
  /** Leaves the last answer out and ends where the model has to go on. */
  readonly prompt?: boolean;
}

/**
 * Token ids of a conversation about an image of `size`.
 * `vicuna_v1`: `<s>{system} USER: <image>\n{question} ASSISTANT: {answer}</s>USER: …`.
 * `plain`: `<s><image>{answer}\n` for captions, `<s><image>{question}\n{answer}\n` otherwise.
 * `chat`: as the chat template of the tokenizer writes it.
 * Throws `data` when a text holds a special token in words.
 */
export function renderConversation(conversation: Conversation, size: Size, options: RenderOptions): Rendered {
  if (options.template === 'chat') return renderChat(conversation, size, options);
  const writer = new Writer(size, options);
  const plain = options.template === 'plain';
  if (options.tokenizer.beginId !== null) writer.token(options.tokenizer.beginId);
  if (!plain && options.system !== '') writer.text(`${options.system} `);
  for (const [i, round] of conversation.rounds.entries()) {
    const isPrompt = options.prompt === true && i === conversation.rounds.length - 1;
    if (!plain) writer.text('USER: ');
    if (i === 0 && conversation.image) writer.image(plain ? '' : '\n');
    if (plain) {
      if (conversation.task !== 'caption') writer.pieces([...round.question, { kind: 'text', text: '\n' }]);
    } else {
      writer.pieces([...round.question, { kind: 'text', text: ' ASSISTANT:' }]);
    }
    writer.flush();
    if (isPrompt) break;
    const start = writer.tokens.length;
    if (!plain) writer.text(' ');
    writer.pieces(round.answer);
    if (plain) writer.text('\n');
    writer.flush();
    if (!plain) writer.token(options.tokenizer.endId);
    writer.answers.push([start, writer.tokens.length]);
  }
  return writer;
}

/** How many of its tokens are supervised. */
export function trainedTokens({ answers }: Rendered): number {
  return answers.reduce((sum, [start, end]) => sum + end - start, 0);
}

/** Collects text until something that is no text comes, so that every run of text is tokenised once and whole. */
class Writer implements Rendered {
  readonly tokens: number[] = [];
  imageAt: number | null = null;
  readonly regionsAt: number[] = [];
  readonly answers: [number, number][] = [];
  readonly #size: Size;
  readonly #options: RenderOptions;
  #run = '';
  #begun = false;

  constructor(size: Size, options: RenderOptions) {
    this.#size = size;
    this.#options = options;
  }

  text(text: string): void {
    this.#run += text;
  }

  token(id: number): void {
    this.flush();
    this.tokens.push(id);
  }

  image(after: string): void {
    this.flush();
    this.imageAt = this.tokens.length;
    this.#run = after;
  }

  pieces(pieces: readonly Piece[]): void {
    const { bins, tokenizer } = this.#options;
    for (const piece of pieces) {
      if (piece.kind === 'text') this.#run += piece.text;
      else if (piece.kind === 'box') this.#run += boxText(piece.box, this.#size, bins);
      else {
        this.#run += `${regionText(piece.region, this.#size, bins)} `;
        this.flush();
        this.regionsAt.push(this.tokens.length);
        this.tokens.push(tokenizer.regionId);
      }
    }
  }

  flush(): void {
    const run = this.#run;
    if (run === '') return;
    const { tokenizer } = this.#options;
    const ids = this.#begun ? tokenizer.encodeContinuation(run) : tokenizer.encode(run);
    for (const id of ids) {
      if (id === tokenizer.regionId || id === tokenizer.endId || id === tokenizer.beginId) {
        throw new GroundError(
          'data',
          `text holds the special token ${tokenizer.tokenOf(id)}: "${run.slice(0, 60)}"`,
          {
            hint: 'remove it from the text; regions are given as points, boxes or masks',
          },
        );
      }
      this.tokens.push(id);
    }
    this.#begun = true;
    this.#run = '';
  }
}
