/** What the two kinds of image cases share. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeImage, imageInputOf } from '../../../src/data/image.ts';
import type { Rgb } from '../../../src/data/resample.ts';
import { type FixtureCase, input } from '../case.ts';
import type { Results } from '../results.ts';

/** 1e-5 after normalisation: far below one 8-bit level, so that resampling has to be right to the bit. */
export const PIXEL_VALUES = { rtol: 0, atol: 1e-5 };

/** Decodes an image file of the case and compares it with the decoded pixels that the case holds. */
export async function decodeFile(
  fixture: FixtureCase,
  file: string,
  stored: string,
  results: Results,
): Promise<Rgb> {
  const encoded = readFileSync(join(fixture.dir, file));
  const image = await decodeImage(await imageInputOf(encoded, file));
  results.check(`${stored} shape`, [image.height, image.width, 3], input(fixture, stored).shape);
  results.check(stored, image.data, input(fixture, stored).data);
  return image;
}

/** Planes [n, 3, pixels] to pixels [n, pixels, 3]. */
export function interleaved(planes: Uint8Array, pixels: number): Uint8Array {
  return Uint8Array.from(planes, (_, i) => {
    const [image, within] = [Math.floor(i / (3 * pixels)), i % (3 * pixels)];
    return planes[image * 3 * pixels + (within % 3) * pixels + Math.floor(within / 3)] ?? 0;
  });
}
