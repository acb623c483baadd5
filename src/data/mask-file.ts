/** A region that somebody painted: a picture of the image's size that says which pixels belong to it. */
import { GroundError, messageOf } from '../errors.ts';
import { MAX_PIXELS } from './image.ts';
import { encodeMask, type Rle } from './rle.ts';

/**
 * The pixels of a PNG, WebP or JPEG that are at least half as bright as its brightest (so that masks of 0 and 1 count as those of 0
 * and 255 do, and JPEG's noise does not); where it has transparency, those that are at least half opaque, whatever
 * their colour. EXIF orientation is followed. Throws `data` on a file that is no image, `id` names it.
 */
export async function maskOf(bytes: Uint8Array, id: string): Promise<Rle> {
  const { default: sharp } = await import('sharp');
  try {
    const options = {
      limitInputPixels: MAX_PIXELS,
      failOn: 'error',
      ignoreIcc: true,
      autoOrient: true,
    } as const;
    const { data, info } = await sharp(bytes, options)
      .toColourspace('srgb')
      .ensureAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const { width, height } = info;
    return encodeMask({ width, height, data: brightHalf(levelsOf(data, info.channels)) });
  } catch (cause) {
    const [reason = ''] = messageOf(cause).split('\n');
    throw new GroundError('data', `${id} is no mask: ${reason}`, {
      hint: 'give a picture of the size of the image, bright where the region is',
      cause,
    });
  }
}

/** How much of each pixel is there, 0..255: its opacity where any pixel lacks some, else its brightest colour. */
function levelsOf(data: Uint8Array, channels: number): Uint8Array {
  const opacity = new Uint8Array(data.length / channels);
  const brightness = new Uint8Array(opacity.length);
  for (let i = 0, at = 0; i < opacity.length; i++) {
    for (let c = 1; c < channels; c++, at++) brightness[i] = Math.max(brightness[i] ?? 0, data[at] ?? 0);
    opacity[i] = data[at++] ?? 0;
  }
  return opacity.some(value => value < 255) ? opacity : brightness;
}

/** 1 for levels of half of the highest and more. */
function brightHalf(levels: Uint8Array): Uint8Array {
  const half = levels.reduce((most, value) => Math.max(most, value), 0) / 2;
  return levels.map(value => Number(value > 0 && value >= half));
}
