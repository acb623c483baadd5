import * as tf from '../engine/tf.ts';

/**
 * Cuts images into square patches: pixels [batch, channels, height, width] -> [batch · rows · columns,
 * channels · side · side], patches row-major, each flattened as a PyTorch convolution weight [out, c, y, x] is, so that
 * a strided convolution becomes one matrix product. Two transposes of rank 4: the engines stop at rank 5.
 */
export function cutPatches(pixels: tf.Tensor4D, side: number): tf.Tensor2D {
  const [batch, channels, height, width] = pixels.shape;
  const rows = Math.floor(height / side);
  const columns = Math.floor(width / side);
  const whole =
    rows * side === height && columns * side === width
      ? pixels
      : tf.slice(pixels, [0, 0, 0, 0], [batch, channels, rows * side, columns * side]);
  const bands = tf.transpose(tf.reshape(whole, [batch, channels, rows, side * columns * side]), [0, 2, 1, 3]);
  const cells = tf.transpose(tf.reshape(bands, [batch * rows, channels * side, columns, side]), [0, 2, 1, 3]);
  return tf.reshape(cells, [batch * rows * columns, channels * side * side]);
}
