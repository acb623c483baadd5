/** Writes checkpoints while training goes on: in a thread of its own where there can be one. */
import { Worker } from 'node:worker_threads';
import { type ErrorCode, GroundError, messageOf } from '../errors.ts';
import { type CheckpointContent, type SavedCheckpoint, saveCheckpoint } from './checkpoint.ts';

/** One save at a time. The arrays of what is to be written belong to the writer from then on. */
export interface CheckpointWriter {
  write(stageDir: string, content: CheckpointContent): Promise<SavedCheckpoint>;
  close(): Promise<void>;
}

/** What the thread is asked for. */
export interface WriteRequest {
  readonly stageDir: string;
  readonly content: CheckpointContent;
}

/** What it answers. */
export type WriteReply =
  | { readonly kind: 'saved'; readonly saved: SavedCheckpoint }
  | { readonly kind: 'error'; readonly code: ErrorCode; readonly message: string; readonly hint?: string };

/**
 * A writer. All arrays must be in memory already (`snapshot`).
 *
 * @param threaded in a thread, where the code is compiled; otherwise between the steps of this one, with the same files
 */
export function openWriter(threaded: boolean): CheckpointWriter {
  return threaded && COMPILED ? inThread() : { write: saveCheckpoint, close: async () => undefined };
}

/** TypeScript source cannot be a thread's file without a loader. */
const COMPILED = !import.meta.url.endsWith('.ts');

function inThread(): CheckpointWriter {
  let worker: Worker | undefined;
  let settle: ((reply: WriteReply | Error) => void) | undefined;
  const answer = (reply: WriteReply | Error): void => {
    settle?.(reply);
    settle = undefined;
  };
  const start = (): Worker => {
    const started = new Worker(new URL('./writer-thread.js', import.meta.url));
    const gone = (why: string): void => {
      if (worker === started) worker = undefined;
      answer(new GroundError('io', `the thread that writes checkpoints stopped: ${why}`));
    };
    started.on('message', answer);
    started.on('error', thrown => gone(messageOf(thrown)));
    started.on('exit', code => gone(`exit code ${code}`));
    return started;
  };
  return {
    write(stageDir, content) {
      worker ??= start();
      const request: WriteRequest = { stageDir, content };
      worker.postMessage(request, buffersOf(content));
      return new Promise((resolve, reject) => {
        settle = reply => {
          if (reply instanceof Error) reject(reply);
          else if (reply.kind === 'saved') resolve(reply.saved);
          else {
            const { code, message, hint } = reply;
            reject(new GroundError(code, message, hint === undefined ? {} : { hint }));
          }
        };
      });
    },
    async close() {
      const last = worker;
      worker = undefined;
      await last?.terminate();
    },
  };
}

/** The memory of a snapshot, handed over uncopied. */
function buffersOf({ model, optimizer, average }: CheckpointContent): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  for (const arrays of [model, optimizer.m, optimizer.v, average]) {
    for (const { data } of arrays?.values() ?? []) {
      if (typeof data !== 'function' && data.buffer instanceof ArrayBuffer) buffers.add(data.buffer);
    }
  }
  return [...buffers];
}
