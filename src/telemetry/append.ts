import { closeSync, openSync, writeSync } from 'node:fs';
import { ioError } from '../atomic.ts';

/** A log that only grows. What `write` was given survives the process being killed right after it. */
export interface AppendFile {
  /** Throws GroundError('io') when the disk is full. */
  write(bytes: Uint8Array): void;
  close(): void;
}

/** Opens `file` for appending; it is created when missing. Throws GroundError('io'). */
export function openAppend(file: string): AppendFile {
  const attempt = <T>(doing: string, work: () => T): T => {
    try {
      return work();
    } catch (thrown) {
      throw ioError(thrown, doing, file);
    }
  };
  const descriptor = attempt('open', () => openSync(file, 'a'));
  return {
    write(bytes) {
      // Synchronous on purpose: an event is small, and a buffer would be lost with the process.
      for (let at = 0; at < bytes.byteLength; ) {
        at += attempt('write', () => writeSync(descriptor, bytes, at));
      }
    },
    close: () => attempt('close', () => closeSync(descriptor)),
  };
}
