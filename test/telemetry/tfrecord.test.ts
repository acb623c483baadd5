import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { frameRecord, maskedCrc32c } from '../../src/telemetry/tfrecord.ts';
import { readRecords } from './read-events.ts';

const payloads = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 6 });

describe('TFRecord framing', () => {
  it('has the checksum of the published example', () => {
    // CRC32C("123456789") is e3069283; masked by hand: rotate right by 15, add a282ead8.
    expect(maskedCrc32c(new TextEncoder().encode('123456789'))).toBe(
      ((0xe3069283 >>> 15) + ((0xe3069283 << 17) >>> 0) + 0xa282ead8) % 2 ** 32,
    );
  });

  it('is read back by an independent reader', () => {
    fc.assert(
      fc.property(payloads, all => {
        const file = Buffer.concat(all.map(frameRecord));
        expect(readRecords(file).map(r => [...r])).toEqual(all.map(r => [...r]));
      }),
    );
  });

  it('stops a reader exactly before the record in which a byte was changed or the file torn', () => {
    fc.assert(
      fc.property(payloads, fc.nat(), fc.integer({ min: 1, max: 255 }), (all, where, flip) => {
        const frames = all.map(frameRecord);
        const file = Buffer.concat(frames);
        fc.pre(file.length > 0);
        const at = where % file.length;
        let before = 0;
        for (let end = 0; before < frames.length; before++) {
          end += (frames[before] as Uint8Array).length;
          if (at < end) break;
        }
        expect(readRecords(file.subarray(0, at))).toHaveLength(before);
        file[at] = (file[at] as number) ^ flip;
        expect(readRecords(file)).toHaveLength(before);
      }),
    );
  });
});
