import { join } from 'node:path';
import { z } from 'zod';
import type { PixelBox } from '../../../src/data/box.ts';
import { rleFromBox, rleFromPolygon, rleFromPolygons } from '../../../src/data/polygon.ts';
import {
  areaOf,
  boundsOf,
  boxIou,
  decodeMask,
  encodeMask,
  intersectionOf,
  iouOf,
  type Rle,
  rleFromRuns,
  runsOf,
  unionOf,
} from '../../../src/data/rle.ts';
import { type FixtureCase, input, readJson } from '../case.ts';
import { Results } from '../results.ts';

const size = z.tuple([z.number(), z.number()]);
const rle = z.object({ size, counts: z.string() });
const bounds = z.tuple([z.number(), z.number(), z.number(), z.number()]);
const matrix = z.array(z.array(z.number()));
const tableSchema = z.object({
  masks: z.array(
    z.object({ mask: z.string(), rle, uncompressed: z.array(z.number()), area: z.number(), bbox: bounds }),
  ),
  polygons: z.array(
    z.object({
      segmentation: matrix,
      size,
      parts: z.array(rle),
      rle,
      mask: z.string(),
      area: z.number(),
      bbox: bounds,
    }),
  ),
  boxes: z.array(z.object({ box_xywh: bounds, size, rle, area: z.number(), bbox: bounds })),
  iou: z.object({
    dt: z.array(z.string()),
    gt: z.array(z.string()),
    iscrowd0: matrix,
    iscrowd1: matrix,
    box_iou: z.object({ boxes_xywh: z.array(bounds), iscrowd0: matrix, iscrowd1: matrix }),
  }),
  merge: z.object({ of: z.array(z.string()), union: rle, intersection: rle }),
});

const IOU = { rtol: 0, atol: 1e-12 };

/** pycocotools.mask: encoding, decoding, polygons, boxes, areas, bounds, set operations and IoU. */
export function runRle(fixture: FixtureCase): Results {
  const table = tableSchema.parse(readJson(join(fixture.dir, 'rle.json')));
  const results = new Results();
  const named = new Map<string, Rle>();
  const describe = (
    name: string,
    made: Rle,
    want: { rle: Rle; area: number; bbox: readonly number[] },
  ): void => {
    results.checkEqual(`${name} rle`, made, want.rle);
    results.check(`${name} area`, [areaOf(made)], [want.area]);
    results.check(`${name} bbox`, xywhOf(made), want.bbox);
  };
  const show = (tensor: string, made: Rle): void => {
    const { width, height, data } = decodeMask(made);
    results.setBytes(tensor, [height, width], data);
    named.set(tensor, made);
  };
  for (const entry of table.masks) {
    const { shape, data } = input(fixture, entry.mask);
    const [height = 0, width = 0] = shape;
    const made = encodeMask({ height, width, data: Uint8Array.from(data) });
    describe(entry.mask, made, entry);
    results.check(`${entry.mask} runs`, runsOf(made), entry.uncompressed);
    results.checkEqual(`${entry.mask} from runs`, rleFromRuns(entry.uncompressed, entry.rle.size), entry.rle);
    show(entry.mask, made);
  }
  for (const entry of table.polygons) {
    const parts = entry.segmentation.map(part => rleFromPolygon(part, entry.size));
    results.checkEqual(`${entry.mask} parts`, parts, entry.parts);
    const made = rleFromPolygons(entry.segmentation, entry.size);
    describe(entry.mask, made, entry);
    show(entry.mask, made);
  }
  for (const [i, entry] of table.boxes.entries()) {
    const made = rleFromBox(entry.box_xywh, entry.size);
    describe(`box.${i}`, made, entry);
    show(`box.${i}`, made);
  }
  const find = (name: string): Rle => {
    const found = named.get(name);
    if (!found) throw new Error(`rle.json names a mask ${name} that it does not hold`);
    return found;
  };
  results.checkEqual('union', unionOf(table.merge.of.map(find)), table.merge.union);
  results.checkEqual('intersection', intersectionOf(table.merge.of.map(find)), table.merge.intersection);
  const { dt, gt, box_iou: plain } = table.iou;
  for (const [name, crowd] of [
    ['iscrowd0', false],
    ['iscrowd1', true],
  ] as const) {
    const masks = dt.flatMap(a => gt.map(b => iouOf(find(a), find(b), crowd)));
    results.check(`iou ${name}`, masks, table.iou[name].flat(), IOU);
    const boxes = plain.boxes_xywh.map(boxOf);
    const ious = boxes.flatMap(a => boxes.map(b => boxIou(a, b, crowd)));
    results.check(`box_iou ${name}`, ious, plain[name].flat(), IOU);
  }
  return results;
}

function xywhOf(mask: Rle): number[] {
  const box = boundsOf(mask);
  return box ? [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1] : [0, 0, 0, 0];
}

function boxOf([x, y, w, h]: z.infer<typeof bounds>): PixelBox {
  return { space: 'pixels', x1: x, y1: y, x2: x + w, y2: y + h };
}
