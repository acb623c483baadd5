import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import { type Event, EventSchema } from '../../src/telemetry/proto/tensorboard_pb.ts';

/** CRC32C a bit at a time (polynomial 0x82f63b78), masked as TFRecord does: shares no code with the writer. */
function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  crc = ~crc >>> 0;
  return (((crc >>> 15) | ((crc << 17) >>> 0)) + 0xa282ead8) % 2 ** 32;
}

/** The payloads of a TFRecord file, up to the first that is torn or damaged. */
export function readRecords(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: Uint8Array[] = [];
  for (let at = 0; at + 16 <= bytes.byteLength; ) {
    if (view.getUint32(at + 8, true) !== maskedCrc(bytes.subarray(at, at + 8))) break;
    const length = Number(view.getBigUint64(at, true));
    if (at + 16 + length > bytes.byteLength) break;
    const payload = bytes.subarray(at + 12, at + 12 + length);
    if (view.getUint32(at + 12 + length, true) !== maskedCrc(payload)) break;
    records.push(payload);
    at += 16 + length;
  }
  return records;
}

export function readEvents(file: string): Event[] {
  return readRecords(readFileSync(file)).map(payload => fromBinary(EventSchema, payload));
}
