/** COCO's panoptic masks: PNG files whose colours number the segments. */
import { join } from 'node:path';
import sharp from 'sharp';
import type { Size } from '../box.ts';
import { encodeCounts, type Rle } from '../rle.ts';

/** Masks by segment id, or why there are none, in the words of a report. */
export type PanopticMasks =
  | ReadonlyMap<number, Rle>
  | 'panoptic mask missing'
  | 'panoptic mask not readable'
  | 'panoptic mask of another size';

/**
 * Reads a mask of an image of `size`: a pixel belongs to segment R + 256 G + 65536 B, 0 is no segment (panopticapi's
 * `rgb2id`).
 */
export async function readPanopticMasks(folder: string, name: string, size: Size): Promise<PanopticMasks> {
  const file = join(folder, name);
  try {
    // As stored: a colour profile must not touch numbers, nor grey become a colour.
    const image = sharp(file, { ignoreIcc: true });
    const { channels = 0, depth } = await image.metadata();
    if (channels < 3 || depth !== 'uchar') return 'panoptic mask not readable';
    const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
    if (info.width !== size.width || info.height !== size.height) return 'panoptic mask of another size';
    return segmentMasks(data, info.channels, size);
  } catch (thrown) {
    return thrown instanceof Error && /missing|no such file/i.test(thrown.message)
      ? 'panoptic mask missing'
      : 'panoptic mask not readable';
  }
}

/** Masks of all segments of an image of `channels` interleaved bytes a pixel. */
export function segmentMasks(data: Uint8Array, channels: number, { width, height }: Size): Map<number, Rle> {
  const runs = new Map<number, { readonly lengths: number[]; end: number }>();
  // Down the columns, as run lengths go.
  const close = (id: number, start: number, end: number) => {
    if (id === 0) return;
    let segment = runs.get(id);
    if (!segment) {
      segment = { lengths: [], end: 0 };
      runs.set(id, segment);
    }
    segment.lengths.push(start - segment.end, end - start);
    segment.end = end;
  };
  let [current, start] = [0, 0];
  for (let x = 0, position = 0; x < width; x++) {
    for (let y = 0; y < height; y++, position++) {
      const i = (y * width + x) * channels;
      const id = data[i]! + 256 * data[i + 1]! + 65536 * data[i + 2]!;
      if (id === current) continue;
      close(current, start, position);
      [current, start] = [id, position];
    }
  }
  close(current, start, width * height);
  const masks = new Map<number, Rle>();
  for (const [id, { lengths, end }] of runs) {
    if (end < width * height) lengths.push(width * height - end);
    masks.set(id, { size: [height, width], counts: encodeCounts(lengths) });
  }
  return masks;
}
