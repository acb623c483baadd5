import { gatherOnce } from '../engine/ops.ts';
import * as tf from '../engine/tf.ts';

export interface RoiAlignOptions {
  /** Rows and columns of bins a box is divided into. */
  readonly output: readonly [rows: number, columns: number];
  /** From the boxes' pixels to cells of the map: cells / pixels. */
  readonly scale: number;
  /** Samples along a bin's side; 0 takes one a cell of the map, rounded up. */
  readonly samples: number;
  /** Half-pixel centres (pixel i covers i - 0.5..i + 0.5). Without, boxes are enlarged to one cell, as they once were. */
  readonly aligned: boolean;
}

/** Boxes as rows (image, x1, y1, x2, y2), coordinates in pixels, [boxes · 5]. */
export type RoiBoxes = ArrayLike<number>;

/**
 * RoIAlign (Mask R-CNN, arXiv 1703.06870; torchvision's `roi_align`): each box's part of its image's feature map,
 * averaged into a fixed grid of bins. features [batch, channels, height, width] -> [boxes, channels, rows, columns],
 * with a gradient for the features. One matrix product an image: the weights depend on the boxes alone.
 */
export function roiAlign(features: tf.Tensor4D, boxes: RoiBoxes, options: RoiAlignOptions): tf.Tensor4D {
  const [batch, channels, height, width] = features.shape;
  const [rows, columns] = options.output;
  const bins = rows * columns;
  const byImage = groupByImage(boxes, batch);
  const maps: tf.Tensor3D = tf.reshape(features, [batch, channels, height * width]);
  const parts = byImage.flatMap((own, image): tf.Tensor2D[] => {
    if (own.length === 0) return [];
    const weights = roiAlignWeights(boxes, own, { height, width }, options);
    const map: tf.Tensor2D = tf.reshape(tf.slice(maps, [image, 0, 0], [1, -1, -1]), [
      channels,
      height * width,
    ]);
    return [tf.matMul(tf.tensor2d(weights, [own.length * bins, height * width]), map, false, true)];
  });
  if (parts.length === 0) return tf.zeros([0, channels, rows, columns]);
  const pooled = tf.concat(parts, 0);
  const order = byImage.flat();
  const perBox: tf.Tensor2D = tf.reshape(pooled, [order.length, bins * channels]);
  const inOrder = order.every((box, i) => box === i) ? perBox : gatherOnce(perBox, ...permutation(order));
  const binsLast = tf.transpose(tf.reshape(inOrder, [order.length, bins, channels]), [0, 2, 1]);
  return tf.reshape(binsLast, [order.length, channels, rows, columns]);
}

/** The boxes of each image, by their numbers. */
function groupByImage(boxes: RoiBoxes, batch: number): number[][] {
  const byImage = Array.from({ length: batch }, (): number[] => []);
  for (let box = 0; box < boxes.length / 5; box++) byImage[boxes[5 * box] ?? -1]?.push(box);
  return byImage;
}

/** For rows that stand in `order`: which of them each output reads, and which output reads each. */
function permutation(order: readonly number[]): [source: tf.Tensor1D, inverse: tf.Tensor1D] {
  const source = new Int32Array(order.length);
  for (const [row, box] of order.entries()) source[box] = row;
  return [tf.tensor1d(source, 'int32'), tf.tensor1d([...order], 'int32')];
}

/**
 * What each bin of the boxes `own` takes from each cell of the map, [own · bins, height · width]. A bin's samples form a
 * grid, so its weights are the product of one line down and one across.
 */
function roiAlignWeights(
  boxes: RoiBoxes,
  own: readonly number[],
  { height, width }: { readonly height: number; readonly width: number },
  options: RoiAlignOptions,
): Float32Array {
  const [rows, columns] = options.output;
  const weights = new Float32Array(own.length * rows * columns * height * width);
  let at = 0;
  for (const box of own) {
    const [, x1 = 0, y1 = 0, x2 = 0, y2 = 0] = Array.from({ length: 5 }, (_, i) => boxes[5 * box + i] ?? 0);
    const down = lineWeights([y1, y2], rows, height, options);
    const across = lineWeights([x1, x2], columns, width, options);
    for (const vertical of down) {
      for (const horizontal of across) {
        for (const wv of vertical) {
          for (const wh of horizontal) weights[at++] = wv * wh;
        }
      }
    }
  }
  return weights;
}

/**
 * Weights [bins][cells] of one side of a box. The arithmetic is rounded to float32 step by step as the reference's is,
 * so that samples at the very border fall on the same side of it.
 */
function lineWeights(
  [from, to]: readonly [number, number],
  bins: number,
  cells: number,
  { scale, samples, aligned }: RoiAlignOptions,
): Float64Array[] {
  const f = Math.fround;
  const offset = aligned ? 0.5 : 0;
  const start = f(f(from * f(scale)) - offset);
  const length = f(f(f(to * f(scale)) - offset) - start);
  const bin = f((aligned ? length : Math.max(length, 1)) / bins);
  const count = samples > 0 ? samples : Math.max(Math.ceil(bin), 0);
  return Array.from({ length: bins }, (_, b) => {
    const line = new Float64Array(cells);
    for (let i = 0; i < count; i++) {
      const position = f(f(start + f(b * bin)) + f(f((i + 0.5) * bin) / count));
      addSample(line, position, 1 / count);
    }
    return line;
  });
}

/** Adds the linear interpolation at a position; more than a cell outside of the map it is zero. */
function addSample(line: Float64Array, position: number, weight: number): void {
  const last = line.length - 1;
  if (position < -1 || position > line.length) return;
  const inside = Math.min(Math.max(position, 0), last);
  const cell = Math.min(Math.floor(inside), last);
  const next = Math.min(cell + 1, last);
  line[cell] = (line[cell] ?? 0) + weight * (1 - (inside - cell));
  line[next] = (line[next] ?? 0) + weight * (inside - cell);
}
