import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PixelBox } from '../../src/data/box.ts';
import { rleFromBox, rleFromPolygon, rleFromPolygons } from '../../src/data/polygon.ts';
import {
  areaOf,
  type Bitmap,
  boundsOf,
  boxIou,
  decodeCounts,
  decodeMask,
  encodeCounts,
  encodeMask,
  intersectionOf,
  iouOf,
  type Rle,
  rleFromRuns,
  runsOf,
  unionOf,
} from '../../src/data/rle.ts';

interface Golden {
  masks: { mask: string; rle: Rle; uncompressed: number[]; area: number; bbox: number[] }[];
  polygons: {
    segmentation: number[][];
    size: [number, number];
    parts: Rle[];
    rle: Rle;
    mask: string;
    area: number;
    bbox: number[];
  }[];
  boxes: {
    box_xywh: [number, number, number, number];
    size: [number, number];
    rle: Rle;
    area: number;
    bbox: number[];
  }[];
  merge: { of: [string, string]; union: Rle; intersection: Rle };
  iou: { dt: string[]; gt: string[]; iscrowd0: number[][]; iscrowd1: number[][]; box_iou: BoxIous };
  bits: Record<string, string>;
}
interface BoxIous {
  boxes_xywh: number[][];
  iscrowd0: number[][];
  iscrowd1: number[][];
}

const golden = JSON.parse(
  readFileSync(new URL('../fixtures/rle/rle.json', import.meta.url), 'utf8'),
) as Golden;

function pixelsOf(name: string, [height, width]: readonly [number, number]): Bitmap {
  const bytes = Buffer.from(golden.bits[name] ?? '', 'base64');
  const data = new Uint8Array(height * width);
  for (let i = 0; i < data.length; i++) data[i] = ((bytes[i >> 3] ?? 0) >> (i & 7)) & 1;
  return { width, height, data };
}

function xywh(rle: Rle): number[] {
  const box = boundsOf(rle);
  return box ? [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1] : [0, 0, 0, 0];
}

function boxOf([x = 0, y = 0, w = 0, h = 0]: readonly number[]): PixelBox {
  return { space: 'pixels', x1: x, y1: y, x2: x + w, y2: y + h };
}

const rleOf = new Map<string, Rle>([
  ...golden.masks.map(m => [m.mask, m.rle] as const),
  ...golden.polygons.map(p => [p.mask, p.rle] as const),
]);
const named = (name: string): Rle => {
  const rle = rleOf.get(name);
  if (!rle) throw new Error(`no mask ${name}`);
  return rle;
};

describe('masks of pycocotools', () => {
  it.each(golden.masks)('$mask', ({ mask, rle, uncompressed, area, bbox }) => {
    const pixels = pixelsOf(mask, rle.size);
    expect(encodeMask(pixels)).toEqual(rle);
    expect(decodeMask(rle)).toEqual(pixels);
    expect(runsOf(rle)).toEqual(uncompressed);
    expect(rleFromRuns(uncompressed, rle.size)).toEqual(rle);
    expect(areaOf(rle)).toBe(area);
    expect(xywh(rle)).toEqual(bbox);
  });

  it.each(golden.polygons)('$mask', ({ segmentation, size, parts, rle, mask, area, bbox }) => {
    expect(segmentation.map(part => rleFromPolygon(part, size))).toEqual(parts);
    expect(rleFromPolygons(segmentation, size)).toEqual(rle);
    expect(decodeMask(rle)).toEqual(pixelsOf(mask, size));
    expect(areaOf(rle)).toBe(area);
    expect(xywh(rle)).toEqual(bbox);
  });

  it.each(golden.boxes)('box $box_xywh', ({ box_xywh, size, rle, area, bbox }) => {
    expect(rleFromBox(box_xywh, size)).toEqual(rle);
    expect(areaOf(rle)).toBe(area);
    expect(xywh(rle)).toEqual(bbox);
  });

  it('unions and intersections', () => {
    const of = golden.merge.of.map(named);
    expect(unionOf(of)).toEqual(golden.merge.union);
    expect(intersectionOf(of)).toEqual(golden.merge.intersection);
  });

  it.each([
    ['no crowd', golden.iou.iscrowd0, false],
    ['crowd', golden.iou.iscrowd1, true],
  ] as const)('IoU of masks, %s', (_, expected, crowd) => {
    golden.iou.dt.forEach((dt, i) => {
      golden.iou.gt.forEach((gt, j) => {
        expect(Math.abs(iouOf(named(dt), named(gt), crowd) - (expected[i]?.[j] ?? Number.NaN))).toBeLessThan(
          1e-12,
        );
      });
    });
  });
});

it('IoU of boxes', () => {
  const { boxes_xywh: boxes, iscrowd0, iscrowd1 } = golden.iou.box_iou;
  boxes.forEach((dt, i) => {
    boxes.forEach((gt, j) => {
      expect(boxIou(boxOf(dt), boxOf(gt))).toBeCloseTo(iscrowd0[i]?.[j] ?? Number.NaN, 12);
      expect(boxIou(boxOf(dt), boxOf(gt), true)).toBeCloseTo(iscrowd1[i]?.[j] ?? Number.NaN, 12);
    });
  });
});

const bitmap = fc
  .tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }))
  .chain(([width, height]) =>
    fc
      .uint8Array({ minLength: width * height, maxLength: width * height, max: 1 })
      .map((data): Bitmap => ({ width, height, data: Uint8Array.from(data) })),
  );

describe('properties', () => {
  it('encoding and decoding are inverse', () => {
    fc.assert(
      fc.property(bitmap, mask => {
        expect(decodeMask(encodeMask(mask))).toEqual(mask);
      }),
    );
  });

  it('any run lengths survive the string', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2 ** 26 })), runs => {
        expect(decodeCounts(encodeCounts(runs))).toEqual(runs);
      }),
    );
  });

  it('area, box and set operations agree with the pixels', () => {
    fc.assert(
      fc.property(bitmap, fc.infiniteStream(fc.boolean()), (mask, flips) => {
        const other = { ...mask, data: mask.data.map(v => (flips.next().value ? 1 - v : v)) };
        const [a, b] = [encodeMask(mask), encodeMask(other)];
        const both = mask.data.reduce((n, v, i) => n + (v & (other.data[i] ?? 0)), 0);
        const any = mask.data.reduce((n, v, i) => n + (v | (other.data[i] ?? 0)), 0);
        expect(areaOf(a)).toBe(mask.data.reduce((n, v) => n + v, 0));
        expect(areaOf(intersectionOf([a, b]))).toBe(both);
        expect(areaOf(unionOf([a, b]))).toBe(any);
        expect(iouOf(a, b)).toBe(any === 0 ? 0 : both / any);

        const set = [...mask.data.keys()].filter(i => mask.data[i]);
        const columns = set.map(i => i % mask.width);
        const rows = set.map(i => Math.floor(i / mask.width));
        // COCO's box of a run that turns a column's end spans all rows, as do the two columns' pixels.
        const box = boundsOf(a);
        if (set.length === 0) expect(box).toBeNull();
        else {
          expect([box?.x1, box?.x2]).toEqual([Math.min(...columns), Math.max(...columns) + 1]);
          expect([box?.y1, box?.y2]).toEqual([Math.min(...rows), Math.max(...rows) + 1]);
        }
      }),
    );
  });
});

describe('damaged masks', () => {
  it.each([
    ['a string that ends inside a number', { size: [2, 2], counts: 'P' }],
    ['a character out of range', { size: [2, 2], counts: '4 ' }],
    ['runs that do not fill the image', { size: [2, 2], counts: '3' }],
    ['runs that overfill it', { size: [2, 2], counts: '5' }],
    ['a negative run', { size: [2, 2], counts: encodeCounts([-1, 5]) }],
    ['an endless number', { size: [2, 2], counts: 'ooooooooooo0' }],
  ] as [string, Rle][])('%s is refused', (_, rle) => {
    expect(() => decodeMask(rle)).toThrow(/mask: /);
  });

  it('run lists that are no run lengths are refused', () => {
    expect(() => rleFromRuns([1.5, 2.5], [2, 2])).toThrow(/run 0 is 1.5/);
    expect(() => rleFromRuns([5, -1], [2, 2])).toThrow(/run 1 is -1/);
    expect(() => rleFromRuns([1, 2], [2, 2])).toThrow(/add up to 3/);
  });

  it('masks of different sizes are not combined', () => {
    expect(() => unionOf([rleFromRuns([4], [2, 2]), rleFromRuns([4], [1, 4])])).toThrow(/cannot be combined/);
  });
});
