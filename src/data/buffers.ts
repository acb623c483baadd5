/**
 * Memory of large arrays used again: fresh memory costs the system a fault for every page that is first written, more than
 * filling a batch takes. One store a thread; what is given back is found again by its size.
 */

/** Smaller arrays are not worth it. */
const LEAST_BYTES = 2 ** 18;
/** Buffers kept for use; a loader has a handful of batches under way. */
const MOST = 16;

/** The oldest first. */
const free: ArrayBuffer[] = [];

/** An array of `length` floats whose values are whatever was there: the caller writes all of them. */
export function takeFloats(length: number): Float32Array<ArrayBuffer> {
  const bytes = length * 4;
  if (bytes < LEAST_BYTES) return new Float32Array(length);
  let best = -1;
  for (const [i, { byteLength }] of free.entries()) {
    const fits = byteLength >= bytes && byteLength <= 2 * bytes;
    if (fits && (best < 0 || byteLength < free[best]!.byteLength)) best = i;
  }
  const [found] = best < 0 ? [] : free.splice(best, 1);
  return new Float32Array(found ?? new ArrayBuffer(roomFor(bytes)), 0, length);
}

/** Gives memory back that nothing reads any more. Small buffers are let go. */
export function giveBuffers(buffers: readonly ArrayBuffer[]): void {
  free.push(...buffers.filter(buffer => buffer.byteLength >= LEAST_BYTES));
  if (free.length > MOST) free.splice(0, free.length - MOST);
}

/** Up to an eighth more, so that batches of slightly different sizes can use each other's memory. */
function roomFor(bytes: number): number {
  const step = 2 ** Math.max(Math.floor(Math.log2(bytes)) - 3, 0);
  return Math.ceil(bytes / step) * step;
}
