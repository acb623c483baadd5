/** What is wrong with the image of a record, and its pixels as training sees them. */
import sharp from 'sharp';
import { messageOf } from '../../errors.ts';
import { decodeImage, MAX_PIXELS } from '../image.ts';
import { type ImageRecord, isTextAlone } from '../record.ts';
import type { Rgb } from '../resample.ts';
import type { Finding } from './problem.ts';

export interface CheckedImage {
  readonly findings: readonly Finding[];
  /** Null where there is no image, or none that can be used. */
  readonly pixels: Rgb | null;
}

/** Decodes the image as training does, and looks at what its file says of it. Throws nothing. */
export async function checkImage(record: ImageRecord): Promise<CheckedImage> {
  const { image, conversations = [] } = record;
  if (isTextAlone(record) && image.length === 0 && conversations.length > 0) {
    return { findings: [], pixels: null };
  }
  try {
    const {
      width,
      height,
      orientation = 1,
      space,
    } = await sharp(image, {
      limitInputPixels: MAX_PIXELS,
    }).metadata();
    const findings: Finding[] = [];
    const stored = width === record.width && height === record.height;
    const turned = orientation > 4 && width === record.height && height === record.width;
    if (!stored && !turned) {
      const recorded = `the record says ${record.width} x ${record.height}`;
      findings.push({ kind: 'size', problem: `image is ${width} x ${height} pixels, ${recorded}` });
    }
    if (orientation > 1) {
      const used = stored
        ? 'its pixels are used as they are stored'
        : 'it is turned, as its recorded size is';
      findings.push({ kind: 'orientation', problem: `image has EXIF orientation ${orientation}: ${used}` });
    }
    if (space === 'cmyk') {
      findings.push({
        kind: 'colours',
        problem: 'image is CMYK: it is turned into RGB, its colour profile ignored',
      });
    }
    if (Math.min(width, height) === 1) {
      findings.push({ kind: 'odd-image', problem: `image is ${width} x ${height} pixels` });
    }
    const pixels = await decodeImage(stored ? record : { ...record, width, height });
    return { findings, pixels: stored || turned ? pixels : null };
  } catch (thrown) {
    const said = messageOf(thrown).split('\n')[0] ?? '';
    const reason = said.replace(`image ${record.id} cannot be decoded: `, '');
    return { findings: [{ kind: 'image', problem: `image cannot be decoded: ${reason}` }], pixels: null };
  }
}
