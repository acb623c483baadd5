import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { decodePlainPng } from '../../src/data/png.ts';
import { Random } from '../../src/random.ts';

function picture(width: number, height: number, channels: 1 | 2 | 3 | 4, seed: number) {
  const random = new Random('png', seed);
  // Slopes with some noise: encoders choose all kinds of filters.
  const data = Uint8Array.from(
    { length: width * height * channels },
    (_, i) => (i * 3 + random.int(0, 9)) % 256,
  );
  return sharp(data, { raw: { width, height, channels } });
}

const extent = fc.integer({ min: 1, max: 40 });

describe('plain PNG files', () => {
  it('are decoded as libvips does, whatever the filters', async () => {
    await fc.assert(
      fc.asyncProperty(
        extent,
        extent,
        fc.constantFrom(1, 2, 3, 4),
        fc.boolean(),
        fc.nat(),
        async (width, height, channels, adaptiveFiltering, seed) => {
          const png = await picture(width, height, channels, seed).png({ adaptiveFiltering }).toBuffer();
          const want = await sharp(png).removeAlpha().toColourspace('srgb').raw().toBuffer();
          const got = decodePlainPng(png);
          expect(got).toMatchObject({ width, height });
          expect(Buffer.compare(got?.data ?? Buffer.alloc(0), want)).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('are nothing else: other kinds, large ones and damage are left to libvips', async () => {
    const rgb = () => picture(20, 10, 3, 1);
    const others = await Promise.all([
      rgb().png({ palette: true }).toBuffer(),
      rgb().png({ progressive: true }).toBuffer(),
      rgb().toColourspace('rgb16').png().toBuffer(),
      rgb().withMetadata({ orientation: 6 }).png().toBuffer(),
      rgb().jpeg().toBuffer(),
      picture(400, 200, 3, 1).png().toBuffer(),
    ]);
    for (const file of [...others, Buffer.alloc(0), Buffer.alloc(100)])
      expect(decodePlainPng(file)).toBeNull();
    const whole = await rgb().png().toBuffer();
    expect(decodePlainPng(whole)).not.toBeNull();
    for (let cut = 0; cut < whole.length; cut++) expect(decodePlainPng(whole.subarray(0, cut))).toBeNull();
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 0x10;
      expect(decodePlainPng(damaged)).toBeNull();
    }
  });
});
