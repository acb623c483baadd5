/**
 * What an evaluation has answered so far, a line a batch, so that one that was cut off goes on where it was. A batch is known by
 * its questions; a line torn by a crash is passed over and its batch asked again.
 */
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { z } from 'zod';
import { errorCode, ioError } from '../atomic.ts';
import { openAppend } from '../telemetry/append.ts';

const lossSum = z.object({ loss: z.number(), weight: z.number() });
const entry = z.object({
  own: lossSum,
  /** The loss with images exchanged; null where there was none to exchange with. */
  exchanged: lossSum.nullable(),
  /** In the order of the questions; null where they were not answered. */
  answers: z.array(z.string()).nullable(),
});
const line = entry.extend({ source: z.string(), ids: z.array(z.string()) });

/** What the model said about one batch. */
export type JournalEntry = Readonly<z.infer<typeof entry>>;

/** The batches of one source that are done. */
export interface Journal {
  /** What is known of the batch of exactly these questions. */
  find(ids: readonly string[]): JournalEntry | undefined;
  /** Written before it returns. Throws GroundError 'io'. */
  add(ids: readonly string[], entry: JournalEntry): void;
}

/** A journal on the disk. */
export interface JournalFile {
  /** Batches that an earlier evaluation left. */
  readonly known: number;
  /** The part that belongs to one task and dataset. */
  of(source: string): Journal;
  close(): void;
  /** For an evaluation that is complete. */
  remove(): Promise<void>;
}

/** Opens a journal, with what is there already. Throws GroundError 'io'. */
export function openJournal(file: string): JournalFile {
  const entries = new Map<string, JournalEntry>();
  const left = textOf(file);
  for (const text of left.split('\n')) {
    const known = parse(text);
    if (known) entries.set(keyOf(known.source, known.ids), known);
  }
  const known = entries.size;
  const encoder = new TextEncoder();
  // Opened by the first batch: an evaluation that is refused before it leaves no file.
  let opened: ReturnType<typeof openAppend> | undefined;
  const log = (): ReturnType<typeof openAppend> => {
    if (opened) return opened;
    opened = openAppend(file);
    // A torn last line must not swallow the next one.
    if (left !== '' && !left.endsWith('\n')) opened.write(encoder.encode('\n'));
    return opened;
  };
  return {
    known,
    of: source => ({
      find: ids => entries.get(keyOf(source, ids)),
      add(ids, one) {
        entries.set(keyOf(source, ids), one);
        log().write(encoder.encode(`${JSON.stringify({ source, ids, ...one })}\n`));
      },
    }),
    close: () => opened?.close(),
    async remove() {
      opened?.close();
      await rm(file, { force: true });
    },
  };
}

function keyOf(source: string, ids: readonly string[]): string {
  return JSON.stringify([source, ...ids]);
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT') return '';
    throw ioError(thrown, 'read', file);
  }
}

function parse(text: string): z.infer<typeof line> | undefined {
  try {
    return line.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
