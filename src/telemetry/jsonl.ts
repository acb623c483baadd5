import { createReadStream, existsSync } from 'node:fs';
import { mkdir, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ioError } from '../atomic.ts';
import { openAppend } from './append.ts';
import type { RunListener } from './events.ts';
import { lineOf } from './lines.ts';

export interface JsonlOptions {
  /** Steps already completed: lines beyond it are dropped; 0 empties the file. */
  readonly step: number;
  /** Unix time, seconds. */
  readonly now?: () => number;
}

/**
 * Appends one line of JSON an event to `file` (docs/metrics.md). On resume the file is first cut back to the restart step,
 * so that in the end it reads, times aside, as if the run had never been interrupted. Throws GroundError('io').
 */
export async function openJsonl(file: string, options: JsonlOptions): Promise<RunListener> {
  const now = options.now ?? (() => Date.now() / 1000);
  const kept = await cutBack(file, options.step);
  const out = openAppend(file);
  const write = (line: object) => {
    const { type, ...rest } = { type: '', ...line };
    out.write(new TextEncoder().encode(`${JSON.stringify({ type, time: now(), ...rest })}\n`));
  };
  return {
    on(event) {
      // A resumed run already has its first line, and whatever else it wrote up to the checkpoint.
      if (event.type !== 'start' || !kept.start) write(lineOf(event));
      if (event.type === 'start' && event.resumedFrom !== null && !kept.checkpoint) {
        // Killed after the checkpoint appeared and before its line was written.
        const unknown = { seconds: null, bytes: null, pauseSeconds: null, waitSeconds: null };
        write({ type: 'checkpoint', step: event.step, path: event.resumedFrom, ...unknown });
      }
    },
    async close() {
      out.close();
    },
  };
}

/** What the lines that stay include. */
interface Kept {
  readonly start: boolean;
  /** The line of the checkpoint at the restart step. */
  readonly checkpoint: boolean;
}

/**
 * Shortens the file to the lines up to `step`; a last line that was torn by a crash goes too. Truncation is one operation
 * of the file system, so that a crash here leaves either length.
 */
async function cutBack(file: string, step: number): Promise<Kept> {
  try {
    await mkdir(dirname(file), { recursive: true });
    if (!existsSync(file)) return { start: false, checkpoint: false };
    const { length, ...kept } = await measure(file, step);
    await truncate(file, length);
    return kept;
  } catch (thrown) {
    throw ioError(thrown, 'repair', file);
  }
}

/** Lines after which nothing comes; a stage that goes on has not ended. */
const ENDS: ReadonlySet<unknown> = new Set(['end', 'stop']);

/** Bytes of the lines to keep: all before the first that belongs to a later step or ends the run. */
async function measure(file: string, step: number): Promise<Kept & { length: number }> {
  const kept = { length: 0, start: false, checkpoint: false };
  let at = 0;
  if (step === 0) return kept;
  for await (const bytes of lines(file)) {
    at += bytes.byteLength;
    const line = parseLine(bytes);
    // Damage inside the file costs that line only; at its end, it is not counted and so cut off.
    if (!line) continue;
    if ((line.step ?? 0) > step || ENDS.has(line.type)) break;
    kept.length = at;
    kept.start ||= line.type === 'start';
    kept.checkpoint ||= line.type === 'checkpoint' && line.step === step;
  }
  return kept;
}

function parseLine(bytes: Uint8Array): { type?: unknown; step?: number } | undefined {
  if (bytes.at(-1) !== NEWLINE) return undefined;
  try {
    const line: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof line === 'object' && line !== null ? line : undefined;
  } catch {
    return undefined;
  }
}

const NEWLINE = 10;

/** The lines of a file as bytes, each with its newline; the last may lack it. */
async function* lines(file: string): AsyncGenerator<Uint8Array> {
  let rest = Buffer.alloc(0);
  for await (const chunk of createReadStream(file)) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    let begin = 0;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE, begin)) {
      yield rest.subarray(begin, end + 1);
      begin = end + 1;
    }
    rest = rest.subarray(begin);
  }
  if (rest.byteLength > 0) yield rest;
}
