import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { maskOf } from '../../src/data/mask-file.ts';
import { decodeMask } from '../../src/data/rle.ts';

/** Pixels of a picture that is 3 wide and 2 high, as the mask has them. */
async function read(
  pixels: readonly number[],
  channels: 1 | 2 | 3 | 4,
  format: 'png' | 'jpeg' = 'png',
): Promise<number[]> {
  const raw = { width: 3, height: 2, channels };
  const bytes = await sharp(Uint8Array.from(pixels), { raw }).toFormat(format, { quality: 60 }).toBuffer();
  const { width, height, data } = decodeMask(await maskOf(bytes, 'm'));
  expect([width, height]).toEqual([3, 2]);
  return [...data];
}

describe('maskOf', () => {
  it('takes white, the number 1 and any bright colour for the region', async () => {
    const painted = [0, 1, 1, 0, 0, 1];
    expect(await read(painted, 1)).toEqual(painted);
    expect(
      await read(
        painted.map(value => value * 255),
        1,
      ),
    ).toEqual(painted);
    expect(
      await read(
        painted.flatMap(value => [0, 200 * value, 30]),
        3,
      ),
    ).toEqual(painted);
  });

  it('takes what is opaque where the rest is not, black paint as well', async () => {
    expect(
      await read(
        [0, 255, 255, 0, 200, 3].flatMap(alpha => [0, 0, 0, alpha]),
        4,
      ),
    ).toEqual([0, 1, 1, 0, 1, 0]);
    expect(
      await read(
        [0, 9, 9, 0, 9, 0].flatMap(grey => [grey, 255]),
        2,
      ),
    ).toEqual([0, 1, 1, 0, 1, 0]);
  });

  it('passes over the noise of a JPEG, and finds nothing in black', async () => {
    expect(await read([0, 4, 0, 255, 250, 2], 1, 'jpeg')).toEqual([0, 0, 0, 1, 1, 0]);
    expect(await read([0, 0, 0, 0, 0, 0], 1)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('refuses a file that is no image', async () => {
    await expect(maskOf(Uint8Array.of(1, 2, 3), 'scribble.png')).rejects.toThrow(/scribble\.png is no mask/);
  });
});
