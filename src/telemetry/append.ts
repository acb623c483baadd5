import { closeSync, openSync, writeSync } from 'node:fs';
import { errorCode, ioError } from '../atomic.ts';

/** A log that only grows. What `write` was given survives the process being killed right after it. */
export interface AppendFile {
  /** Throws GroundError('io'), but not for a full disk: what finds no room there waits for the next call. */
  write(bytes: Uint8Array): void;
  /** Throws GroundError('io') where there still is no room for what waits. */
  close(): void;
}

/** What a full disk answers. A log is not worth a run: training goes on, and so does the log once there is room. */
const FULL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT']);
/** Most that waits, bytes; what does not fit any more is lost. */
const MOST_WAITING = 1 << 24;

/** Opens `file` for appending; it is created when missing. Throws GroundError('io'). */
export function openAppend(file: string): AppendFile {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'a');
  } catch (thrown) {
    throw ioError(thrown, 'open', file);
  }
  let waiting = new Uint8Array();
  const drain = (): void => {
    // Synchronous on purpose: an event is small, and a buffer would be lost with the process.
    while (waiting.byteLength > 0) waiting = waiting.subarray(writeSync(descriptor, waiting));
  };
  return {
    write(bytes) {
      if (waiting.byteLength + bytes.byteLength <= MOST_WAITING) waiting = joined(waiting, bytes);
      try {
        drain();
      } catch (thrown) {
        if (!FULL.has(errorCode(thrown))) throw ioError(thrown, 'write', file);
      }
    },
    close() {
      try {
        drain();
      } catch (thrown) {
        throw ioError(thrown, 'write', file);
      } finally {
        closeSync(descriptor);
      }
    },
  };
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(a.byteLength + b.byteLength);
  all.set(a);
  all.set(b, a.byteLength);
  return all;
}
