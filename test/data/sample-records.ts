/** Records for the tests of datasets. */
import sharp from 'sharp';
import type { ImageRecord } from '../../src/data/record.ts';

/** A record that needs no image decoder: its "image" is `bytes` bytes of value `i`. */
export function fakeRecord(i: number, bytes = 100): ImageRecord {
  const box = { space: 'pixels', x1: 0.25, y1: 1, x2: 2.123456789, y2: 3 + (i % 2) } as const;
  return {
    id: `record-${i}`,
    image: new Uint8Array(bytes).fill(i),
    width: 3,
    height: 4,
    captions: i % 2 === 0 ? [] : ['a cat.', 'un été 🐈 "quoted"'],
    objects:
      i % 3 === 0
        ? []
        : [
            {
              label: 'cat',
              phrase: 'leftmost cat',
              attributes: i % 2 ? ['black', 'tall'] : [],
              box,
              mask: { size: [4, 3], counts: '0<' },
            },
            { label: 'cat', phrase: 'cat', attributes: [], box, crowd: true },
          ],
    relations: i % 3 === 0 ? [] : [{ subject: 0, predicate: 'left of', object: 1 }],
  };
}

export function fakeRecords(count: number, bytes = 100): ImageRecord[] {
  return Array.from({ length: count }, (_, i) => fakeRecord(i, bytes));
}

/** A small image of one colour. */
export async function plainImage(
  width: number,
  height: number,
  format: 'png' | 'jpeg' = 'png',
): Promise<Uint8Array> {
  const image = sharp({ create: { width, height, channels: 3, background: '#6080a0' } });
  return new Uint8Array(await image.toFormat(format).toBuffer());
}

/** A record in which everything is right. */
export async function soundRecord(id: string): Promise<ImageRecord> {
  return {
    id,
    image: await plainImage(8, 6),
    width: 8,
    height: 6,
    captions: ['a blue wall.'],
    objects: [
      {
        label: 'wall',
        phrase: 'wall',
        attributes: ['blue'],
        box: { space: 'pixels', x1: 0, y1: 0, x2: 8, y2: 6 },
        mask: { size: [6, 8], counts: '0`1' },
      },
      {
        label: 'door',
        phrase: 'door',
        attributes: [],
        box: { space: 'pixels', x1: 1.5, y1: 2, x2: 3, y2: 5 },
      },
    ],
    relations: [{ subject: 1, predicate: 'inside', object: 0 }],
  };
}
