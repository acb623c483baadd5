/** A record as a task renders it: the text that the model reads, and which of it is trained on. */
import type { Candidates } from '../candidates.ts';
import type { Conversation } from '../conversation.ts';
import type { Dataset } from '../dataset.ts';
import type { Annotations } from '../record.ts';
import type { Rendered } from '../render.ts';
import { openTasks, type Rendering } from '../rendering.ts';
import { renderFitting, renderOf, sequenceLength } from '../sample.ts';
import type { TaskName } from '../tasks/names.ts';
import type { Tokenizer } from '../tokenizer.ts';

/** One token of a rendered conversation; the image's visual tokens are one of their own, without an id. */
export interface Token {
  readonly id: number | null;
  readonly bytes: Uint8Array;
  readonly trained: boolean;
}

/** Text that is trained on as a whole, or not. */
export interface Part {
  readonly text: string;
  readonly trained: boolean;
}

/** A record seen through a task. */
export interface Transcript {
  readonly task: TaskName;
  readonly conversation: Conversation;
  readonly tokens: readonly Token[];
  readonly visual: number;
  /** Why training passes over it, where it does: it is too long. */
  readonly problem: string | null;
}

/** Renders records of a dataset as the first epoch of a run does. */
export class Transcriber {
  readonly #candidates: Candidates;

  /** Tries `tasks` in turn. Throws as `openTasks`. */
  static async open(
    dataset: Dataset,
    rendering: Rendering,
    tasks: readonly TaskName[],
  ): Promise<Transcriber> {
    return new Transcriber(await openTasks(dataset, rendering, tasks));
  }

  private constructor(candidates: Candidates) {
    this.#candidates = candidates;
  }

  /** The record as the first task writes it that it can serve; null where there is none. Throws `data` on what cannot be written. */
  transcribe(record: Annotations, row: number): Transcript | null {
    const { context, sources } = this.#candidates;
    for (const [i, { task }] of sources.entries()) {
      const conversation = this.#candidates.ask(record, this.#candidates.firstDrawOf(i, row));
      if (!conversation) continue;
      const fitted = renderFitting(conversation, record, context);
      const isLong = typeof fitted === 'string';
      const rendered = isLong ? renderOf(conversation, record, context, false) : fitted.rendered;
      return {
        task,
        conversation: isLong ? conversation : fitted.conversation,
        tokens: tokensOf(rendered, context.tokenizer),
        visual: sequenceLength(rendered, record, context).visual,
        problem: isLong ? fitted : null,
      };
    }
    return null;
  }

  /** The tasks that a record can serve. */
  tasksOf(record: Annotations, row: number): TaskName[] {
    return this.#candidates.sources.flatMap(({ task }, i) =>
      this.#candidates.ask(record, this.#candidates.firstDrawOf(i, row)) ? [task] : [],
    );
  }
}

/** The tokens of a rendered conversation, `<image>` where the visual ones go. */
export function tokensOf({ tokens, imageAt, answers }: Rendered, tokenizer: Tokenizer): Token[] {
  const trained = new Uint8Array(tokens.length);
  for (const [start, end] of answers) trained.fill(1, start, end);
  const written = tokens.map(
    (id, i): Token => ({ id, bytes: tokenizer.bytesOf(id), trained: trained[i] === 1 }),
  );
  if (imageAt === null) return written;
  const image: Token = { id: null, bytes: new TextEncoder().encode('<image>'), trained: false };
  return [...written.slice(0, imageAt), image, ...written.slice(imageAt)];
}

/** The text of tokens, cut where training begins and ends. */
export function partsOf(tokens: readonly Token[]): Part[] {
  const runs: { readonly bytes: Uint8Array[]; readonly trained: boolean }[] = [];
  for (const { bytes, trained } of tokens) {
    const last = runs.at(-1);
    if (last?.trained === trained) last.bytes.push(bytes);
    else runs.push({ bytes: [bytes], trained });
  }
  return runs.map(({ bytes, trained }) => ({ text: Buffer.concat(bytes).toString('utf8'), trained }));
}
