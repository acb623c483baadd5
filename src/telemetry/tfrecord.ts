import { crc32c } from '@node-rs/crc32';

/** CRC32C rotated and offset, so that the checksum of data that itself holds checksums stays useful (TFRecord format). */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/**
 * One record of a TFRecord file: uint64 length, its masked checksum, the payload, the payload's masked checksum, all
 * little-endian. A reader stops at the first record whose checksums do not fit.
 */
export function frameRecord(payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(payload.byteLength + 16);
  const view = new DataView(frame.buffer);
  view.setBigUint64(0, BigInt(payload.byteLength), true);
  view.setUint32(8, maskedCrc32c(frame.subarray(0, 8)), true);
  frame.set(payload, 12);
  view.setUint32(12 + payload.byteLength, maskedCrc32c(payload), true);
  return frame;
}
