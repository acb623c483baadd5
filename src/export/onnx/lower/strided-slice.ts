import * as tf from '../../../engine/tf.ts';
import type { Lowering } from './lowering.ts';

/** x[begin:end:stride] with TensorFlow's masks, worked out from the shape: a slice with steps, then a reshape. */
export const stridedSlice: Lowering = (call, g) => {
  const shape = call.value('x').shape.filter(extent => typeof extent === 'number');
  if (shape.length !== call.value('x').shape.length) {
    throw call.failure(
      'a strided slice of a tensor whose size depends on the inputs (use slice and reshape)',
    );
  }
  const { begin, end, strides } = tf.slice_util.sliceInfo(
    shape,
    [...(call.numbers('begin') ?? [])],
    [...(call.numbers('end') ?? [])],
    [...(call.numbers('strides') ?? [])],
    call.number('beginMask', 0),
    call.number('endMask', 0),
    call.number('ellipsisMask', 0),
    call.number('newAxisMask', 0),
    call.number('shrinkAxisMask', 0),
  );
  const axes = begin.map((_, axis) => axis);
  // An end before the first element is -1, which ONNX would count from the back.
  const ends = end.map((e, axis) => ((strides[axis] ?? 1) < 0 && e < 0 ? -(2 ** 31) : e));
  return g.reshape(g.slice(call.input('x'), begin, ends, axes, strides), call.output.shape);
};
